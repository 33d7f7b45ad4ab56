//! Entries as lines of JSON: what `export-manifest` writes and `import-manifest` reads, and what downloaders wrote
//! before there was a catalog. `docs/manifest.md` lists the fields.

mod fields;
mod read;
mod write;

pub use fields::Unusable;
pub use read::{Line, Listed, Place, parse_line};
pub use write::{fields, line};
