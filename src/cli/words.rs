//! The words that arguments are made of, and what they mean to the library.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use bytesize::ByteSize;
use clap::ValueEnum;
use clap::builder::{OsStringValueParser, TypedValueParser};
use larder::store;
use larder::work::catalog::register::IfThere;
use larder::work::ingest::AliasKind;
use larder::work::lease::Leased;
use larder::work::materialize;
use larder::work::names::Target;
use larder::{Digest, EntryTarget, Error, ErrorKind, Name, Prefix};

/// How aliases are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Alias {
    /// As files under names/, hardlinks to the blobs
    Hardlinked,
    /// In the index alone
    Counted,
}

impl From<Alias> for AliasKind {
    fn from(word: Alias) -> AliasKind {
        match word {
            Alias::Hardlinked => AliasKind::Hardlinked,
            Alias::Counted => AliasKind::Counted,
        }
    }
}

/// The word for a kind of alias.
pub(crate) fn alias(kind: AliasKind) -> &'static str {
    match kind {
        AliasKind::Hardlinked => "hardlinked",
        AliasKind::Counted => "counted",
    }
}

/// When what is acknowledged is synced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Durability {
    /// Once for many files, acknowledged after that
    #[default]
    Batch,
    /// Every file by itself
    Each,
    /// Never: a scratch store, which a power cut may damage
    None,
}

impl From<Durability> for store::Durability {
    fn from(word: Durability) -> store::Durability {
        match word {
            Durability::Batch => store::Durability::Batch,
            Durability::Each => store::Durability::Each,
            Durability::None => store::Durability::None,
        }
    }
}

/// The word for a durability.
pub(crate) fn durability(durability: store::Durability) -> &'static str {
    match durability {
        store::Durability::Batch => "batch",
        store::Durability::Each => "each",
        store::Durability::None => "none",
    }
}

/// Who may read the blobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shared {
    /// The owner alone (mode 0400)
    None,
    /// The owner and the group (mode 0440)
    Group,
    /// Everybody (mode 0444)
    World,
}

impl From<Shared> for store::Shared {
    fn from(word: Shared) -> store::Shared {
        match word {
            Shared::None => store::Shared::None,
            Shared::Group => store::Shared::Group,
            Shared::World => store::Shared::World,
        }
    }
}

/// How a file outside the store is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// A second name of the blob: read-only, takes no space
    Hardlink,
    /// A private file that shares its blocks with the blob until it is written to
    Reflink,
    /// A private copy, holes kept
    Copy,
    /// A symbolic link to the blob
    Symlink,
}

impl From<Mode> for materialize::Mode {
    fn from(word: Mode) -> materialize::Mode {
        match word {
            Mode::Hardlink => materialize::Mode::Hardlink,
            Mode::Reflink => materialize::Mode::Reflink,
            Mode::Copy => materialize::Mode::Copy,
            Mode::Symlink => materialize::Mode::Symlink,
        }
    }
}

/// What becomes of an entry that is registered already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum IfRegistered {
    /// It stays as it is
    #[default]
    Keep,
    /// It is added to: what is said now goes before what was said, tags and metadata stay beside each other
    Merge,
    /// It is refused
    Refuse,
}

impl From<IfRegistered> for IfThere {
    fn from(word: IfRegistered) -> IfThere {
        match word {
            IfRegistered::Keep => IfThere::Keep,
            IfRegistered::Merge => IfThere::Merge,
            IfRegistered::Refuse => IfThere::Refuse,
        }
    }
}

/// What `ls` sorts by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sort {
    /// By name
    #[default]
    Name,
    /// The largest first
    Size,
    /// The youngest first
    Age,
}

/// A span of time: `0s`, `90m`, `1day 12h`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text.trim()).map_err(|e| format!("{e}; a time is written 30s, 5m, 12h, 7d"))
}

/// A size in bytes: `4096`, `10MiB`, `1.5GB`. A unit with an i is a power of 1024, one without a power of 1000.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let size = text.trim().parse::<ByteSize>();
    size.map(|size| size.as_u64()).map_err(|_| "a size is written 4096, 10MiB, 1.5GB".to_owned())
}

/// The parser of a name; one `./` before it is left out.
pub(crate) fn name() -> impl TypedValueParser<Value = Name> {
    OsStringValueParser::new().try_map(|text| Name::new(plain(&text)))
}

/// The parser of a name with everything below it; `.` is everything.
pub(crate) fn prefix() -> impl TypedValueParser<Value = Prefix> {
    OsStringValueParser::new().try_map(|text| read_prefix(&text))
}

/// The parser of a name or digest: what begins with `sha256:` is a digest.
pub(crate) fn target() -> impl TypedValueParser<Value = Target> {
    OsStringValueParser::new().try_map(|text| read_target(&text))
}

/// The parser of what `show` takes: an entry, a name or a digest.
pub(crate) fn thing() -> impl TypedValueParser<Value = Thing> {
    OsStringValueParser::new().try_map(|text| match meant_as_entry(&text) {
        Some(entry) => entry.parse().map(Thing::Entry),
        None => read_target(&text).map(Thing::Blob),
    })
}

/// What `show` is pointed at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Thing {
    /// An entry of the catalog.
    Entry(EntryTarget),
    /// A blob.
    Blob(Target),
}

/// The parser of what `verify` takes: an entry, a digest, or a name with everything below it.
pub(crate) fn verifiable() -> impl TypedValueParser<Value = Verifiable> {
    OsStringValueParser::new().try_map(|text| match meant_as_entry(&text) {
        Some(entry) => entry.parse().map(Verifiable::Entry),
        None => read_scope(&text).map(Verifiable::Blobs),
    })
}

/// What `verify` is pointed at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verifiable {
    /// An entry of the catalog.
    Entry(EntryTarget),
    /// Blobs.
    Blobs(Scope),
}

fn meant_as_entry(text: &OsStr) -> Option<&str> {
    text.to_str().filter(|text| EntryTarget::is_meant(text))
}

/// The parser of a digest, or a name with everything below it.
pub(crate) fn scope() -> impl TypedValueParser<Value = Scope> {
    OsStringValueParser::new().try_map(|text| read_scope(&text))
}

fn read_scope(text: &OsStr) -> Result<Scope, Error> {
    if is_digest(text) { read_digest(text).map(Scope::Digest) } else { read_prefix(text).map(Scope::Names) }
}

/// Blobs, as they are pointed at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// One blob.
    Digest(Digest),
    /// A name and everything below it.
    Names(Prefix),
}

/// Digests and names apart, as the library takes them.
pub(crate) fn split(what: &[Scope]) -> (Vec<Target>, Vec<Prefix>) {
    let (mut digests, mut prefixes) = (Vec::new(), Vec::new());
    for scope in what {
        match scope {
            Scope::Digest(digest) => digests.push(Target::Digest(*digest)),
            Scope::Names(prefix) => prefixes.push(prefix.clone()),
        }
    }
    (digests, prefixes)
}

/// What `lease` keeps for it.
pub(crate) fn leased(scope: &Scope) -> Leased {
    match scope {
        Scope::Digest(digest) => Leased::Blob(*digest),
        Scope::Names(prefix) => Leased::Names(prefix.clone()),
    }
}

fn read_target(text: &OsStr) -> Result<Target, Error> {
    if is_digest(text) { read_digest(text).map(Target::Digest) } else { Name::new(plain(text)).map(Target::Name) }
}

fn read_prefix(text: &OsStr) -> Result<Prefix, Error> {
    if text.is_empty() {
        return Err(Error::new(ErrorKind::Invalid, "use nothing as a name", "`.` is everything"));
    }
    if is_digest(text) {
        let attempt = format!("use {text:?} as a name");
        let reason = "a digest is no name here; `larder where` tells its names, ./sha256:… is a name that begins so";
        return Err(Error::new(ErrorKind::Invalid, attempt, reason));
    }
    Prefix::new(plain(text))
}

fn read_digest(text: &OsStr) -> Result<Digest, Error> {
    text.to_string_lossy().parse()
}

fn is_digest(text: &OsStr) -> bool {
    text.as_bytes().starts_with(b"sha256:")
}

/// The bytes of a name as the user wrote it: `./` before it says that it is a name and no digest.
fn plain(text: &OsStr) -> &[u8] {
    let bytes = text.as_bytes();
    bytes.strip_prefix(b"./").filter(|rest| !rest.is_empty()).unwrap_or(bytes)
}

/// What a target is called in words.
pub(crate) fn spoken(target: &Target) -> String {
    match target {
        Target::Name(name) => super::text::name(name),
        Target::Digest(digest) => digest.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_begins_with_sha256_is_a_digest_and_all_else_a_name() {
        let read = |text: &str| read_target(OsStr::new(text));
        assert_eq!(read(&Digest::EMPTY.to_string()).unwrap(), Target::Digest(Digest::EMPTY));
        assert_eq!(read("a/b").unwrap(), Target::Name(Name::new("a/b").unwrap()));
        assert_eq!(read("./sha256:x").unwrap(), Target::Name(Name::new("sha256:x").unwrap()));
        for bad in ["sha256:abcd", "", ".", "./", "../a", "/a", "././a"] {
            assert_eq!(read(bad).unwrap_err().kind(), ErrorKind::Invalid, "{bad}");
        }
        let odd = OsStr::from_bytes(b"caf\xe9");
        assert_eq!(read_target(odd).unwrap(), Target::Name(Name::new(b"caf\xe9".to_vec()).unwrap()));
    }

    #[test]
    fn a_prefix_is_everything_or_a_name_but_no_digest() {
        let read = |text: &str| read_prefix(OsStr::new(text));
        assert_eq!(read(".").unwrap(), Prefix::Everything);
        assert_eq!(read("a/").unwrap(), Prefix::Below(Name::new("a").unwrap()));
        assert_eq!(read("./a").unwrap(), Prefix::Below(Name::new("a").unwrap()));
        assert!(read("").is_err());
        assert!(read("sha256:abcd").is_err());
    }

    #[test]
    fn sizes_and_times_are_read_as_people_write_them() {
        assert_eq!(size("4096"), Ok(4096));
        assert_eq!(size("10MiB"), Ok(10 << 20));
        assert_eq!(size("1.5 GB"), Ok(1_500_000_000));
        assert_eq!(size("1k"), Ok(1000));
        for bad in ["", "x", "-1", "5 parsecs"] {
            assert!(size(bad).is_err(), "{bad}");
        }
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
        assert_eq!(duration("1day 12h"), Ok(Duration::from_secs(36 * 3600)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        for bad in ["", "soon", "-1s", "5"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn digests_and_names_go_their_own_ways() {
        let name = Prefix::Below(Name::new("a").unwrap());
        let what = [Scope::Names(name.clone()), Scope::Digest(Digest::EMPTY)];
        assert_eq!(split(&what), (vec![Target::Digest(Digest::EMPTY)], vec![name]));
        assert_eq!(split(&[]), (vec![], vec![]));
    }
}
