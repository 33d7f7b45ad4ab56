//! The options of a store that may be changed: what they are called, what they may be, and what they are.
//!
//! One table says it all; `docs/options.md` is held to it. What somebody chose is a [`Chosen`], with nothing in it for what
//! nobody did; several of those, the strongest last, make the [`Options`] that hold.

mod chosen;
mod key;
mod value;

pub use chosen::{Chosen, Unusable};
pub use key::{OptionKey, Takes};
pub use value::OptionValue;

/// What holds blobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StorageBackend {
    /// Files of this machine.
    Fs,
    /// Objects of an S3-compatible store.
    S3,
}

/// What path a finished file gets (R8, R14).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathLayout {
    /// A name that people can read, beside its blob.
    PolicyPath,
    /// That of its blob alone.
    Cas,
}

/// What holds the catalog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CatalogBackend {
    /// The journal and the index of the store.
    Embedded,
    /// A SQLite database.
    Sqlite,
}

/// Where and how bytes are kept (R105 to R112).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageOptions {
    /// What holds blobs.
    pub backend: StorageBackend,
    /// What path a finished file gets.
    pub layout: PathLayout,
    /// Whether names are hardlinks to their blobs unless a call says otherwise; else they are counted.
    pub hardlink_dedup: bool,
    /// The bucket; empty for none.
    pub s3_bucket: String,
    /// What the keys of objects begin with.
    pub s3_prefix: String,
    /// The class that objects are put with.
    pub s3_storage_class: String,
}

/// What the catalog does (R113 to R119).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogOptions {
    /// Whether finished files are registered.
    pub enabled: bool,
    /// What holds it.
    pub backend: CatalogBackend,
    /// The file of a database, below the store directory.
    pub path: String,
    /// Whether a database writes ahead.
    pub wal_mode: bool,
    /// Whether reading back hashes files that stay where they are. What the store takes in is always hashed.
    pub compute_sha256: bool,
    /// Whether the bytes of what is registered are read back and hashed.
    pub verify_on_register: bool,
    /// How old entries become before retention takes them, in days; 0 keeps them.
    pub retention_days: u64,
    /// How long a file that no record knows is left alone, in days.
    pub orphan_ttl_days: u64,
}

/// How much the store may take up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitOptions {
    /// Most bytes that blobs may take up; 0 is no limit.
    pub max_bytes: u64,
    /// Bytes that are to stay free on the filesystem; 0 is no limit.
    pub min_free: u64,
    /// How long the trash keeps what was evicted, in days.
    pub trash_ttl_days: u64,
}

/// The options that hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Where and how bytes are kept.
    pub storage: StorageOptions,
    /// What the catalog does.
    pub catalog: CatalogOptions,
    /// How much the store may take up.
    pub limits: LimitOptions,
}

impl Default for Options {
    fn default() -> Self {
        Options::of(&Chosen::default())
    }
}

impl Options {
    /// What holds where this was chosen: the defaults for the rest.
    pub fn of(chosen: &Chosen) -> Self {
        let word = |key| chosen.value(key).to_string();
        let switch = |key| chosen.value(key) == OptionValue::Switch(true);
        let number = |key| match chosen.value(key) {
            OptionValue::Number(number) => number,
            _ => 0,
        };
        Options {
            storage: StorageOptions {
                backend: match word(OptionKey::StorageBackend).as_str() {
                    "s3" => StorageBackend::S3,
                    _ => StorageBackend::Fs,
                },
                layout: match word(OptionKey::StorageLayout).as_str() {
                    "cas" => PathLayout::Cas,
                    _ => PathLayout::PolicyPath,
                },
                hardlink_dedup: switch(OptionKey::StorageHardlinkDedup),
                s3_bucket: word(OptionKey::StorageS3Bucket),
                s3_prefix: word(OptionKey::StorageS3Prefix),
                s3_storage_class: word(OptionKey::StorageS3StorageClass),
            },
            catalog: CatalogOptions {
                enabled: switch(OptionKey::CatalogEnabled),
                backend: match word(OptionKey::CatalogBackend).as_str() {
                    "sqlite" => CatalogBackend::Sqlite,
                    _ => CatalogBackend::Embedded,
                },
                path: word(OptionKey::CatalogPath),
                wal_mode: switch(OptionKey::CatalogWalMode),
                compute_sha256: switch(OptionKey::CatalogComputeSha256),
                verify_on_register: switch(OptionKey::CatalogVerifyOnRegister),
                retention_days: number(OptionKey::CatalogRetentionDays),
                orphan_ttl_days: number(OptionKey::CatalogOrphanTtlDays),
            },
            limits: LimitOptions {
                max_bytes: number(OptionKey::LimitsMaxBytes),
                min_free: number(OptionKey::LimitsMinFree),
                trash_ttl_days: number(OptionKey::LimitsTrashTtlDays),
            },
        }
    }
}

#[cfg(test)]
mod tests;
