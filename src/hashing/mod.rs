//! Digests of bytes and files, and the workers that compute many of them at once.

pub mod beside;
pub mod choice;
pub mod digests;
pub mod engine;
pub mod file;
pub mod memory;
pub mod parts;
pub mod sealed;
mod stream;
pub mod tree;
pub mod windows;
pub mod workers;

pub use beside::beside;
pub use digests::{Absorb, Digests, Hasher, Sha256};
pub use engine::{Hashed, Source, Sources, hash_all};
pub use file::{digest_file, digest_path, verify_digest};
pub use memory::{digest_many, sha256_many};
pub use parts::{HashState, PartHasher};
pub use sealed::digest_sealed;
pub use tree::{Tree, TreeHasher};
pub use windows::{Grown, Reading, grow, locate};
pub use workers::Workers;
