//! Digests of bytes and files, and the workers that compute many of them at once.

pub mod digests;
pub mod file;
pub mod workers;

pub use digests::{Digests, Hasher};
pub use file::{digest_file, digest_path, verify_digest};
pub use workers::Workers;
