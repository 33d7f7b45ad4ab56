//! Bytes to values and back. Every reader here is a total function on a slice of bytes: it never panics, and it
//! bounds every length before it believes it. `docs/format.md` is normative for all of it.

pub mod checkpoint;
pub mod current;
mod fields;
pub mod filter;
pub mod frame;
pub mod header;
pub mod hint;
pub mod layout;
pub mod manifest;
pub mod options;
pub mod page;
pub mod record;
pub mod run;
pub mod session;
pub mod settings;
pub mod table;
pub mod totals;
pub mod tree;
pub mod uses;

/// Why bytes are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// There are fewer bytes than it takes.
    #[error("it ends too early")]
    Short,
    /// It does not begin as it must.
    #[error("it does not begin with the right magic number")]
    Magic,
    /// A later version than this program knows.
    #[error("it is of a later format version")]
    Version,
    /// A length or count is beyond its bound.
    #[error("a length is beyond its bound")]
    Length,
    /// The checksum does not agree with the bytes.
    #[error("its checksum is wrong")]
    Checksum,
    /// What must be zero is not, and the checksum is right: a later program wrote it.
    #[error("fields are in use that this program does not know")]
    Reserved,
    /// The fields cannot be read as what they should be.
    #[error("its fields cannot be decoded")]
    Fields,
}
