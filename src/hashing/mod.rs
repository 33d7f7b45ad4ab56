//! Digests of bytes and files, and the workers that compute many of them at once.

pub mod beside;
pub mod digests;
pub mod file;
pub mod parts;
pub mod sealed;
pub mod workers;

pub use beside::beside;
pub use digests::{Absorb, Digests, Hasher, Sha256};
pub use file::{digest_file, digest_path, verify_digest};
pub use parts::{HashState, PartHasher};
pub use sealed::digest_sealed;
pub use workers::Workers;
