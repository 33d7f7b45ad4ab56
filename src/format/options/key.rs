//! The table of options.

use super::value::{OptionValue, bytes};
use crate::format::layout::Layout;

/// One option.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the table below says what each is")]
pub enum OptionKey {
    StorageBackend,
    StorageRootDir,
    StorageLayout,
    StorageCasPrefix,
    StorageHardlinkDedup,
    StorageS3Bucket,
    StorageS3Prefix,
    StorageS3StorageClass,
    CatalogEnabled,
    CatalogBackend,
    CatalogPath,
    CatalogWalMode,
    CatalogComputeSha256,
    CatalogVerifyOnRegister,
    CatalogRetentionDays,
    CatalogOrphanTtlDays,
    LimitsMaxBytes,
    LimitsMinFree,
    LimitsTrashTtlDays,
}

/// What an option may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// One of these words.
    Word(&'static [&'static str]),
    /// `true` or `false`.
    Switch,
    /// A number of days.
    Days,
    /// A number of bytes.
    Bytes,
    /// A bucket's name, or nothing.
    Bucket,
    /// Upper-case letters, digits and `_`.
    Class,
    /// The beginning of the keys of objects.
    KeyPrefix,
    /// A path below the store directory.
    PathBelow,
    /// A directory.
    Directory,
}

struct Row {
    key: OptionKey,
    section: &'static str,
    name: &'static str,
    takes: Takes,
    default: &'static str,
    /// Whether it says what a store is, and not only what is done with it.
    fixed: bool,
}

/// Longest text of an option, in bytes: the longest key of an object.
const TEXT_BYTES: usize = 1024;
/// Most days: past this, nanoseconds of them do not fit 64 bits.
const DAYS_MOST: u64 = 100_000;
/// Most bytes: what a number in TOML holds.
const BYTES_MOST: u64 = i64::MAX as u64;

const fn row(
    key: OptionKey,
    section: &'static str,
    name: &'static str,
    takes: Takes,
    default: &'static str,
    fixed: bool,
) -> Row {
    Row { key, section, name, takes, default, fixed }
}

const FIXED: bool = true;
const OPEN: bool = false;

const TABLE: [Row; 19] = [
    row(OptionKey::StorageBackend, "storage", "backend", Takes::Word(&["fs", "s3"]), "fs", FIXED),
    row(OptionKey::StorageRootDir, "storage", "root_dir", Takes::Directory, "", OPEN),
    row(OptionKey::StorageLayout, "storage", "layout", Takes::Word(&["policy_path", "cas"]), "policy_path", OPEN),
    row(OptionKey::StorageCasPrefix, "storage", "cas_prefix", Takes::Word(&["sha256"]), "sha256", FIXED),
    row(OptionKey::StorageHardlinkDedup, "storage", "hardlink_dedup", Takes::Switch, "true", OPEN),
    row(OptionKey::StorageS3Bucket, "storage", "s3_bucket", Takes::Bucket, "", FIXED),
    row(OptionKey::StorageS3Prefix, "storage", "s3_prefix", Takes::KeyPrefix, "docs/", FIXED),
    row(OptionKey::StorageS3StorageClass, "storage", "s3_storage_class", Takes::Class, "STANDARD", OPEN),
    row(OptionKey::CatalogEnabled, "catalog", "enabled", Takes::Switch, "true", OPEN),
    row(OptionKey::CatalogBackend, "catalog", "backend", Takes::Word(&["embedded", "sqlite"]), "embedded", FIXED),
    row(OptionKey::CatalogPath, "catalog", "path", Takes::PathBelow, "state/catalog.sqlite", FIXED),
    row(OptionKey::CatalogWalMode, "catalog", "wal_mode", Takes::Switch, "true", OPEN),
    row(OptionKey::CatalogComputeSha256, "catalog", "compute_sha256", Takes::Switch, "true", OPEN),
    row(OptionKey::CatalogVerifyOnRegister, "catalog", "verify_on_register", Takes::Switch, "false", OPEN),
    row(OptionKey::CatalogRetentionDays, "catalog", "retention_days", Takes::Days, "0", OPEN),
    row(OptionKey::CatalogOrphanTtlDays, "catalog", "orphan_ttl_days", Takes::Days, "7", OPEN),
    row(OptionKey::LimitsMaxBytes, "limits", "max_bytes", Takes::Bytes, "0", OPEN),
    row(OptionKey::LimitsMinFree, "limits", "min_free", Takes::Bytes, "0", OPEN),
    row(OptionKey::LimitsTrashTtlDays, "limits", "trash_ttl_days", Takes::Days, "7", OPEN),
];

impl OptionKey {
    /// All of them, in the order of the file.
    pub fn all() -> impl Iterator<Item = OptionKey> {
        TABLE.iter().map(|row| row.key)
    }

    /// The option of this name: `catalog.backend`.
    pub fn of(name: &str) -> Option<OptionKey> {
        let (section, name) = name.split_once('.')?;
        TABLE.iter().find(|row| row.section == section && row.name == name).map(|row| row.key)
    }

    fn row(self) -> &'static Row {
        TABLE.iter().find(|row| row.key == self).expect("every option has its row")
    }

    /// The section of `larder.toml` that it stands in.
    pub fn section(self) -> &'static str {
        self.row().section
    }

    /// What it is called in its section.
    pub fn short_name(self) -> &'static str {
        self.row().name
    }

    /// What it is called: `catalog.backend`.
    pub fn name(self) -> String {
        format!("{}.{}", self.row().section, self.row().name)
    }

    /// The variable of the environment that programs read it from: `LARDER_CATALOG_BACKEND`.
    pub fn environment(self) -> String {
        format!("LARDER_{}_{}", self.row().section, self.row().name).to_ascii_uppercase()
    }

    /// Whether it is settled when a store is made: it says what the store is.
    pub fn is_fixed(self) -> bool {
        self.row().fixed
    }

    /// Whether it can stand in a store's own file; that file cannot say where it is.
    pub fn is_in_file(self) -> bool {
        self != OptionKey::StorageRootDir
    }

    /// What it may be.
    pub fn takes(self) -> Takes {
        self.row().takes
    }

    /// What it may be, in words.
    pub fn allowed(self) -> String {
        match self.takes() {
            Takes::Word([one]) => (*one).to_owned(),
            Takes::Word(words) => words.join(" or "),
            Takes::Switch => "true or false".to_owned(),
            Takes::Days => format!("a number of days, at most {DAYS_MOST}"),
            Takes::Bytes => "a number of bytes, as 4096, 10MiB or 10MB; 0 is no limit".to_owned(),
            Takes::Bucket => "letters, digits, `.`, `_` and `-`, or nothing".to_owned(),
            Takes::Class => "upper-case letters, digits and `_`".to_owned(),
            Takes::KeyPrefix => format!("text without control characters, at most {TEXT_BYTES} bytes"),
            Takes::PathBelow => {
                "a path below the store directory, without `..`, and none of the store's own".to_owned()
            }
            Takes::Directory => "a directory".to_owned(),
        }
    }

    /// What it is where nobody chose anything.
    pub fn default_value(self) -> OptionValue {
        let text = self.row().default;
        self.read(text).unwrap_or_else(|| OptionValue::Text(text.to_owned()))
    }

    /// What this text sets it to; `None` if it may not be that.
    pub fn read(self, text: &str) -> Option<OptionValue> {
        self.checked(match self.takes() {
            Takes::Switch => OptionValue::Switch(text.parse().ok()?),
            Takes::Days => OptionValue::Number(text.parse().ok()?),
            Takes::Bytes => OptionValue::Number(bytes(text)?),
            _ => OptionValue::Text(text.to_owned()),
        })
    }

    /// `value`, if it may be that. Numbers of bytes may be written with a unit.
    pub fn checked(self, value: OptionValue) -> Option<OptionValue> {
        let good = match (&value, self.takes()) {
            (OptionValue::Switch(_), takes) => takes == Takes::Switch,
            (OptionValue::Number(days), Takes::Days) => *days <= DAYS_MOST,
            (OptionValue::Number(bytes), Takes::Bytes) => *bytes <= BYTES_MOST,
            (OptionValue::Number(_), _) => false,
            (OptionValue::Text(text), Takes::Bytes) => return bytes(text).map(OptionValue::Number),
            (OptionValue::Text(text), takes) => is_text(takes, text),
        };
        good.then_some(value)
    }
}

fn is_text(takes: Takes, text: &str) -> bool {
    let plain = text.len() <= TEXT_BYTES && !text.chars().any(char::is_control);
    let bucket = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let class = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    // What cannot be read in that place is moved away, and what can is written over.
    let below = || !Layout::is_own(text) && text.split('/').all(|part| !matches!(part, "" | "." | ".."));
    plain
        && match takes {
            Takes::Word(words) => words.contains(&text),
            Takes::Bucket => text.chars().all(bucket),
            Takes::Class => !text.is_empty() && text.chars().all(class),
            Takes::KeyPrefix => true,
            Takes::PathBelow => below(),
            Takes::Directory => !text.is_empty(),
            Takes::Switch | Takes::Days | Takes::Bytes => false,
        }
}
