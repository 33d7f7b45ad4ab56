//! Digests of bytes and files, and the workers that compute many of them at once.

pub mod digests;
pub mod file;
pub mod parts;
pub mod sealed;
pub mod tree;
pub mod windows;
pub mod workers;

pub use digests::{Absorb, Digests, Hasher, Sha256};
pub use file::{digest_file, digest_path, verify_digest};
pub use parts::{HashState, PartHasher};
pub use sealed::digest_sealed;
pub use tree::{Tree, TreeHasher};
pub use windows::{Grown, Reading, grow, locate};
pub use workers::Workers;
