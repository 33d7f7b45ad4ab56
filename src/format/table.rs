//! The tables of the index, and what each record does to them (format.md, "Tables").
//!
//! An effect is a pure function of its record. So the index is the journal replayed, from any point, in any process.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Malformed;
use super::record::copies::{CarrierRow, SourceStampRow, SourcesRow};
use super::record::entry::{EntryRecord, EntryRemovedRecord, TrashRow, VariantRecord};
use super::record::{
    AliasRecord, BlobRecord, DamagedRecord, FenceRecord, Moment, NameFindingRecord, OrphanRecord, Record, Replaced,
};
use crate::vocabulary::entry::Term;
use crate::vocabulary::limits::SMALL_FILE_BYTES;
use crate::vocabulary::{Blake3, Digest, EntryId, Name, Stamp};

/// A table; its number is the first byte of its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Table {
    /// Blobs by digest.
    Blob = 1,
    /// Aliases by name.
    Alias = 2,
    /// Names by digest: the digest, then the name; no value.
    Reference = 3,
    /// Pins by digest.
    Pin = 4,
    /// Blobs without a root, by digest.
    Unrooted = 5,
    /// Condemned blobs by digest.
    Condemned = 6,
    /// Files that no record knows, by digest.
    Orphan = 7,
    /// Names with an upper-case letter, by a hash of their lower case, and the name; no value.
    Fold = 8,
    /// Large blobs by size (big-endian) and digest; no value.
    Size = 9,
    /// Removed blobs by digest.
    Gone = 10,
    /// Damaged blobs by digest.
    Damaged = 11,
    /// Names that could not be applied.
    NameFinding = 12,
    /// Fences by their first sequence (big-endian).
    Fence = 13,
    /// The files that blobs were added from, by digest.
    Sources = 14,
    /// Further inodes of blobs, by digest and number (big-endian).
    Carrier = 15,
    /// Names that a blob had until something took them away: the digest, then the name.
    Departed = 16,
    /// The same by name: the name, a zero byte (which no name has), then the digest; no value.
    Meant = 17,
    /// Entries by key.
    Entry = 18,
    /// Keys of entries by identity.
    EntryId = 19,
    /// Variants by the identity of their entry and their name.
    Variant = 20,
    /// Entries by what they are found by: the term, then the key; no value.
    Term = 21,
    /// Variants by digest: the digest, the identity of the entry, the variant's name; no value.
    Keeps = 22,
    /// How often an entry was used, by its identity.
    Use = 23,
    /// Entries in the trash, by identity.
    Trash = 24,
    /// When blobs were last read and found right, by digest.
    Verified = 25,
    /// What is wrong with blobs and carriers: the digest, then the number of the carrier (big-endian; zero is the blob's own
    /// file).
    Finding = 26,
    /// Blobs whose file is not as it was recorded, by digest.
    Suspect = 27,
    /// One byte: [`SCRUB_PASS`] or [`SCRUB_WISH`].
    Scrub = 28,
    /// The files that names were given to, by name.
    SourceStamp = 29,
}

/// The rest of the key of the row that says how far a pass over the blobs has come.
pub const SCRUB_PASS: u8 = 0;
/// And of the one that says what somebody wants of it.
pub const SCRUB_WISH: u8 = 1;

impl Table {
    /// The key of `rest` in this table.
    pub fn key(self, rest: &[u8]) -> Vec<u8> {
        let mut key = Vec::with_capacity(rest.len() + 1);
        key.push(self as u8);
        key.extend_from_slice(rest);
        key
    }

    /// The key of `first` and `second` in this table.
    pub fn key2(self, first: &[u8], second: &[u8]) -> Vec<u8> {
        let mut key = self.key(first);
        key.extend_from_slice(second);
        key
    }
}

/// How many bytes of a key are what rows of its table are asked for together: of a digest, of an entry, of a size. The
/// filter of a run knows of these, too. `None` in a table that is not asked so.
pub fn group_bytes(key: &[u8]) -> Option<usize> {
    const OF_DIGEST: [u8; 4] =
        [Table::Reference as u8, Table::Carrier as u8, Table::Departed as u8, Table::Keeps as u8];
    const OF_HASH: [u8; 2] = [Table::Fold as u8, Table::Variant as u8];
    let table = *key.first()?;
    let bytes = match table {
        _ if OF_DIGEST.contains(&table) => 33,
        _ if OF_HASH.contains(&table) => 17,
        _ if table == Table::Size as u8 => 9,
        _ => return None,
    };
    (key.len() >= bytes).then_some(bytes)
}

/// A blob's row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobRow {
    /// Its BLAKE3, or [`Blake3::UNKNOWN`].
    pub blake3: Blake3,
    /// What its file looked like.
    pub stamp: Stamp,
    /// When it was first kept.
    pub added: Moment,
}

impl BlobRow {
    /// Whether somebody has hashed its bytes: not so where it was taken from the disk alone.
    pub fn is_verified(&self) -> bool {
        self.blake3 != Blake3::UNKNOWN
    }
}

/// An alias's row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AliasRow {
    /// The blob.
    pub digest: Digest,
    /// Its length in bytes.
    pub size_bytes: u64,
    /// Whether there is a file under `names/`.
    pub hardlinked: bool,
    /// Whether the source was executable.
    pub executable: bool,
    /// Modification time of the source, nanoseconds since the epoch.
    pub mtime_ns: i64,
    /// When it was given.
    pub added: Moment,
}

impl AliasRow {
    /// The record that says of `name` what this row does, in place of what it meant before.
    pub fn record(&self, name: Name, replaces: Option<Replaced>) -> AliasRecord {
        let AliasRow { digest, size_bytes, hardlinked, executable, mtime_ns, added } = *self;
        AliasRecord { name, digest, size_bytes, hardlinked, executable, mtime_ns, replaces, added }
    }
}

/// A pin's row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinRow {
    /// What the user said about it.
    pub note: String,
    /// When.
    pub since: Moment,
}

/// The row of a file that no record knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrphanRow {
    /// Whether it is certainly larder's own.
    pub own: bool,
    /// When it was first seen.
    pub since: Moment,
}

/// What removed a blob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoneRow {
    /// Its length in bytes.
    pub size_bytes: u64,
    /// What removed it.
    pub rule: String,
    /// When.
    pub when: Moment,
}

/// The row of a name that was taken away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DepartedRow {
    /// What took it away.
    pub rule: String,
    /// When.
    pub when: Moment,
}

/// A damaged blob's row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DamagedRow {
    /// The inode that was bad; zero if the file was missing.
    pub inode: u64,
    /// What was found.
    pub reason: String,
    /// Whether it is in quarantine.
    pub quarantined: bool,
    /// When.
    pub since: Moment,
}

/// The row of a name that could not be applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameFindingRow {
    /// Why.
    pub reason: String,
    /// When.
    pub since: Moment,
}

/// A fence's row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FenceRow {
    /// The last sequence that may be lost.
    pub to: u64,
    /// What was found.
    pub reason: String,
    /// When.
    pub since: Moment,
}

/// The bytes of a row.
pub fn encode<T: Serialize>(row: &T) -> Vec<u8> {
    postcard::to_allocvec(row).expect("rows hold nothing that postcard cannot write to memory")
}

/// Reads a row, which must be the whole of `bytes`.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Malformed> {
    match postcard::take_from_bytes(bytes) {
        Ok((row, [])) => Ok(row),
        _ => Err(Malformed::Fields),
    }
}

/// One change of a table: the key, and the value or its absence.
pub type Effect = (Vec<u8>, Option<Vec<u8>>);

/// What goes with a blob when it is removed. Its carriers are removed by records of their own, in the same frame.
const OF_A_BLOB: [Table; 8] = [
    Table::Blob,
    Table::Unrooted,
    Table::Condemned,
    Table::Orphan,
    Table::Damaged,
    Table::Sources,
    Table::Verified,
    Table::Suspect,
];

/// The piece of a key, or of the beginning of one, that each record with an effect on such a row has in it byte for byte
/// when it is encoded; `None` where that cannot be said. It is empty where nothing of it is in the key.
pub fn verbatim(key: &[u8]) -> Option<&[u8]> {
    const BY_DIGEST: [Table; 15] = [
        Table::Blob,
        Table::Reference,
        Table::Pin,
        Table::Unrooted,
        Table::Condemned,
        Table::Orphan,
        Table::Gone,
        Table::Damaged,
        Table::Sources,
        Table::Carrier,
        Table::Departed,
        Table::Keeps,
        Table::Verified,
        Table::Finding,
        Table::Suspect,
    ];
    const BY_NAME: [Table; 3] = [Table::Alias, Table::NameFinding, Table::SourceStamp];
    let (table, rest) = key.split_first()?;
    let is = |known: &Table| *known as u8 == *table;
    match table {
        _ if BY_DIGEST.iter().any(is) => Some(&rest[..rest.len().min(32)]),
        _ if BY_NAME.iter().any(is) => Some(rest),
        _ if is(&Table::Size) => Some(rest.get(8..).unwrap_or_default()),
        _ if is(&Table::Fold) => Some(rest.get(16..).unwrap_or_default()),
        _ if is(&Table::Meant) => rest.split(|byte| *byte == 0).next(),
        _ if is(&Table::Variant) => Some(&rest[..rest.len().min(16)]),
        _ => None,
    }
}

/// The tables that `record` may have an effect on: for each a bit, by its number.
pub fn touched(record: &Record) -> u32 {
    use Table::*;
    let named = [Alias, Reference, NameFinding, Fold];
    let departed = [Departed, Meant];
    let rooted = [Unrooted, Condemned];
    let blob = [Blob, Size, Orphan, Gone, Damaged];
    let tables: &[&[Table]] = match record {
        Record::Blob(_) => &[&blob, &rooted],
        Record::Alias(_) => &[&named, &departed, &rooted],
        Record::Unalias(_) => &[&named, &departed, &[SourceStamp]],
        Record::Departed(_) => &[&departed],
        Record::Damaged(_) => &[&[Damaged]],
        Record::Pin(_) => &[&[Pin], &rooted],
        Record::Unpin(_) => &[&[Pin]],
        Record::Unrooted(_) => &[&[Unrooted]],
        Record::Condemned(_) => &[&[Condemned]],
        Record::Orphan(_) => &[&[Orphan]],
        Record::NameFinding(_) | Record::NameMended(_) => &[&[NameFinding]],
        Record::Fence(_) | Record::FenceLifted(_) => &[&[Fence]],
        Record::Healed(_) => &[&blob, &rooted, &[Finding, Verified, Suspect]],
        Record::Removed(_) => &[&OF_A_BLOB, &[Gone, Size, Finding]],
        Record::Sources(_) => &[&[Sources]],
        Record::Carrier(_) | Record::CarrierRemoved(_) => &[&[Carrier, Finding]],
        Record::Entry(_) | Record::EntryRemoved(_) => &[&[Entry, EntryId, Term, Use, Trash]],
        Record::Variant(_) | Record::VariantRemoved(_) => &[&[Variant, Keeps], &rooted],
        Record::Used(_) => &[&[Use]],
        Record::Trashed(_) | Record::Untrashed(_) => &[&[Trash]],
        Record::Verified(_) => &[&[Verified, Suspect]],
        Record::Finding(_) | Record::FindingMended(_) => &[&[Finding, Suspect]],
        Record::Suspect(_) => &[&[Suspect]],
        Record::Pass(_) | Record::Wish(_) => &[&[Scrub]],
        Record::SourceStamp(_) => &[&[SourceStamp]],
        Record::End(_) => &[],
    };
    tables.iter().flat_map(|some| some.iter()).fold(0, |bits, table| bits | 1 << *table as u8)
}

/// What `record` does to the tables, in order.
pub fn effects(record: &Record, mut change: impl FnMut(Effect)) {
    let mut put = |key: Vec<u8>, value: Vec<u8>| change((key, Some(value)));
    match record {
        Record::Blob(r) => blob_effects(r, change),
        Record::Alias(r) => alias_effects(r, change),
        Record::Damaged(r) => put(Table::Damaged.key(r.digest.as_bytes()), damaged_row(r)),
        Record::Pin(r) => {
            put(Table::Pin.key(r.digest.as_bytes()), encode(&PinRow { note: r.note.clone(), since: r.since }));
            rooted(&r.digest, change);
        }
        Record::Unrooted(r) => put(Table::Unrooted.key(r.digest.as_bytes()), encode(&r.since)),
        Record::Condemned(r) => put(Table::Condemned.key(r.digest.as_bytes()), encode(&r.since)),
        Record::Orphan(r) => put(Table::Orphan.key(r.digest.as_bytes()), orphan_row(r)),
        Record::NameFinding(r) => put(Table::NameFinding.key(r.name.as_bytes()), name_finding_row(r)),
        Record::Fence(r) => put(Table::Fence.key(&r.from.to_be_bytes()), fence_row(r)),
        Record::Healed(r) => {
            let (digest, blake3, stamp, added) = (r.digest, r.blake3, r.good, r.added);
            // What was known of the file that was there before says nothing of this one.
            change((finding_key(&digest, 0), None));
            change((Table::Verified.key(digest.as_bytes()), None));
            change((Table::Suspect.key(digest.as_bytes()), None));
            blob_effects(&BlobRecord { digest, blake3, stamp, added }, change);
        }
        Record::Removed(r) => {
            let gone = GoneRow { size_bytes: r.size_bytes, rule: r.rule.clone(), when: r.when };
            put(Table::Gone.key(r.digest.as_bytes()), encode(&gone));
            for table in OF_A_BLOB {
                change((table.key(r.digest.as_bytes()), None));
            }
            change((size_key(r.size_bytes, &r.digest), None));
            change((finding_key(&r.digest, 0), None));
        }
        Record::Unalias(r) => {
            unname(&r.name, &r.was.digest, &mut change);
            departed(&r.name, &r.was.digest, &r.rule, r.when, change);
        }
        Record::Departed(r) => departed(&r.name, &r.digest, &r.rule, r.when, change),
        Record::Unpin(digest) => change((Table::Pin.key(digest.as_bytes()), None)),
        Record::NameMended(name) => change((Table::NameFinding.key(name.as_bytes()), None)),
        Record::FenceLifted(from) => change((Table::Fence.key(&from.to_be_bytes()), None)),
        Record::Sources(r) => {
            let row = SourcesRow { files: r.files.clone(), since: r.since };
            put(Table::Sources.key(r.digest.as_bytes()), encode(&row));
        }
        Record::Carrier(r) => {
            let row = CarrierRow { stamp: r.stamp, since: r.since };
            put(carrier_key(&r.digest, r.number), encode(&row));
            change((finding_key(&r.digest, r.number), None));
        }
        Record::CarrierRemoved(r) => {
            change((carrier_key(&r.digest, r.number), None));
            change((finding_key(&r.digest, r.number), None));
        }
        Record::Entry(r) => entry_effects(r, change),
        Record::Variant(r) => variant_effects(r, change),
        Record::VariantRemoved(r) => {
            change((variant_key(&r.entry, &r.name), None));
            r.was.iter().for_each(|was| change((keeps_key(was, &r.entry, &r.name), None)));
        }
        Record::EntryRemoved(r) => entry_removed_effects(r, change),
        Record::Used(r) => put(Table::Use.key(r.entry.as_bytes()), encode(&r.usage)),
        Record::Trashed(r) => {
            let row = TrashRow { rule: r.rule.clone(), since: r.since };
            put(Table::Trash.key(r.entry.as_bytes()), encode(&row));
        }
        Record::Untrashed(entry) => change((Table::Trash.key(entry.as_bytes()), None)),
        Record::Verified(r) => {
            put(Table::Verified.key(r.digest.as_bytes()), encode(&r.row));
            change((Table::Suspect.key(r.digest.as_bytes()), None));
        }
        Record::Finding(r) => {
            put(finding_key(&r.digest, r.carrier), encode(&r.row));
            if r.carrier == 0 {
                change((Table::Suspect.key(r.digest.as_bytes()), None));
            }
        }
        Record::FindingMended(r) => change((finding_key(&r.digest, r.carrier), None)),
        Record::Suspect(r) => put(Table::Suspect.key(r.digest.as_bytes()), encode(&r.row)),
        Record::Pass(r) => put(Table::Scrub.key(&[SCRUB_PASS]), encode(r)),
        Record::Wish(r) => put(Table::Scrub.key(&[SCRUB_WISH]), encode(r)),
        Record::SourceStamp(r) => {
            let row = SourceStampRow { digest: r.digest, source: r.source };
            put(Table::SourceStamp.key(r.name.as_bytes()), encode(&row));
        }
        Record::End(_) => {}
    }
}

fn entry_effects(r: &EntryRecord, mut change: impl FnMut(Effect)) {
    let key = r.card.key.to_bytes();
    r.dropped.iter().for_each(|term| change((term_key(term, &key), None)));
    change((Table::Entry.key(&key), Some(encode(&r.card))));
    change((Table::EntryId.key(r.card.id().as_bytes()), Some(key.clone())));
    r.card.each_term(|kind, value| {
        let mut of_term = Vec::with_capacity(value.len() + key.len() + 3);
        of_term.push(Table::Term as u8);
        Term::put_bytes(kind, value, &mut of_term);
        of_term.extend_from_slice(&key);
        change((of_term, Some(Vec::new())));
    });
}

fn entry_removed_effects(r: &EntryRemovedRecord, mut change: impl FnMut(Effect)) {
    let (key, id) = (r.key.to_bytes(), r.key.id());
    change((Table::Entry.key(&key), None));
    r.terms.iter().for_each(|term| change((term_key(term, &key), None)));
    for table in [Table::EntryId, Table::Use, Table::Trash] {
        change((table.key(id.as_bytes()), None));
    }
}

fn variant_effects(r: &VariantRecord, mut change: impl FnMut(Effect)) {
    let VariantRecord { entry, variant, was } = r;
    if let Some(was) = was.filter(|was| Some(*was) != variant.digest) {
        change((keeps_key(&was, entry, &variant.name), None));
    }
    change((variant_key(entry, &variant.name), Some(encode(variant))));
    if let Some(digest) = &variant.digest {
        change((keeps_key(digest, entry, &variant.name), Some(Vec::new())));
        rooted(digest, change);
    }
}

/// The key of a row that says by what an entry is found.
pub fn term_key(term: &Term, entry_key: &[u8]) -> Vec<u8> {
    Table::Term.key2(&term.to_bytes(), entry_key)
}

/// The key of a variant.
pub fn variant_key(entry: &EntryId, name: &str) -> Vec<u8> {
    Table::Variant.key2(entry.as_bytes(), name.as_bytes())
}

/// The key of a row that says which variant keeps a blob.
fn keeps_key(digest: &Digest, entry: &EntryId, name: &str) -> Vec<u8> {
    let mut key = Table::Keeps.key2(digest.as_bytes(), entry.as_bytes());
    key.extend_from_slice(name.as_bytes());
    key
}

fn blob_effects(r: &BlobRecord, mut change: impl FnMut(Effect)) {
    let row = BlobRow { blake3: r.blake3, stamp: r.stamp, added: r.added };
    change((Table::Blob.key(r.digest.as_bytes()), Some(encode(&row))));
    if r.stamp.size_bytes > SMALL_FILE_BYTES {
        change((size_key(r.stamp.size_bytes, &r.digest), Some(Vec::new())));
    }
    for table in [Table::Orphan, Table::Gone, Table::Damaged] {
        change((table.key(r.digest.as_bytes()), None));
    }
    rooted(&r.digest, change);
}

fn alias_effects(r: &AliasRecord, mut change: impl FnMut(Effect)) {
    if let Some(was) = r.replaces.filter(|was| was.digest != r.digest) {
        change((Table::Reference.key2(was.digest.as_bytes(), r.name.as_bytes()), None));
    }
    let row = AliasRow {
        digest: r.digest,
        size_bytes: r.size_bytes,
        hardlinked: r.hardlinked,
        executable: r.executable,
        mtime_ns: r.mtime_ns,
        added: r.added,
    };
    change((Table::Alias.key(r.name.as_bytes()), Some(encode(&row))));
    change((Table::Reference.key2(r.digest.as_bytes(), r.name.as_bytes()), Some(Vec::new())));
    change((Table::NameFinding.key(r.name.as_bytes()), None));
    if let Some(key) = fold_key(&r.name) {
        change((key, Some(Vec::new())));
    }
    if let Some(was) = r.replaces.filter(|was| was.digest != r.digest) {
        departed(&r.name, &was.digest, REPLACED, r.added, &mut change);
    }
    rooted(&r.digest, change);
}

/// What took the former meaning of a name away that got another one.
const REPLACED: &str = "replaced";

fn departed(name: &Name, digest: &Digest, rule: &str, when: Moment, mut change: impl FnMut(Effect)) {
    let row = DepartedRow { rule: rule.to_owned(), when };
    change((Table::Departed.key2(digest.as_bytes(), name.as_bytes()), Some(encode(&row))));
    let mut meant = meant_prefix(name);
    meant.extend_from_slice(digest.as_bytes());
    change((meant, Some(Vec::new())));
}

/// The prefix of the keys of all digests that a name meant.
pub fn meant_prefix(name: &Name) -> Vec<u8> {
    Table::Meant.key2(name.as_bytes(), &[0])
}

fn unname(name: &Name, digest: &Digest, mut change: impl FnMut(Effect)) {
    change((Table::Alias.key(name.as_bytes()), None));
    change((Table::Reference.key2(digest.as_bytes(), name.as_bytes()), None));
    change((Table::NameFinding.key(name.as_bytes()), None));
    change((Table::SourceStamp.key(name.as_bytes()), None));
    if let Some(key) = fold_key(name) {
        change((key, None));
    }
}

/// Whatever records, hits or roots a blob takes it off the list of those that may go.
fn rooted(digest: &Digest, mut change: impl FnMut(Effect)) {
    change((Table::Unrooted.key(digest.as_bytes()), None));
    change((Table::Condemned.key(digest.as_bytes()), None));
}

fn damaged_row(r: &DamagedRecord) -> Vec<u8> {
    encode(&DamagedRow { inode: r.inode, reason: r.reason.clone(), quarantined: r.quarantined, since: r.since })
}

fn orphan_row(r: &OrphanRecord) -> Vec<u8> {
    encode(&OrphanRow { own: r.own, since: r.since })
}

fn name_finding_row(r: &NameFindingRecord) -> Vec<u8> {
    encode(&NameFindingRow { reason: r.reason.clone(), since: r.since })
}

fn fence_row(r: &FenceRecord) -> Vec<u8> {
    encode(&FenceRow { to: r.to, reason: r.reason.clone(), since: r.since })
}

/// The key of one carrier of a blob.
pub fn carrier_key(digest: &Digest, number: u32) -> Vec<u8> {
    Table::Carrier.key2(digest.as_bytes(), &number.to_be_bytes())
}

/// The key of what is wrong with a carrier of a blob; number zero is the blob's own file.
pub fn finding_key(digest: &Digest, carrier: u32) -> Vec<u8> {
    Table::Finding.key2(digest.as_bytes(), &carrier.to_be_bytes())
}

/// The key under which a large blob is found by its size.
pub fn size_key(size_bytes: u64, digest: &Digest) -> Vec<u8> {
    Table::Size.key2(&size_bytes.to_be_bytes(), digest.as_bytes())
}

/// The prefix of the keys of all names whose lower case is `folded`: a hash of it, since the two together might be
/// longer than a key may be.
pub fn fold_prefix(folded: &str) -> Vec<u8> {
    Table::Fold.key(&blake3::hash(folded.as_bytes()).as_bytes()[..16])
}

/// The key of a name that is not its own lower case; `None` for one that is, or is not UTF-8.
fn fold_key(name: &Name) -> Option<Vec<u8>> {
    let folded = name.folded()?;
    if folded.as_bytes() == name.as_bytes() {
        return None;
    }
    let mut key = fold_prefix(&folded);
    key.extend_from_slice(name.as_bytes());
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocabulary::limits::{NAME_BYTES, RUN_KEY_BYTES};

    /// A key that no run takes would keep the tail from ever being folded, and so the store from being written to.
    #[test]
    fn the_keys_of_the_longest_name_fit_a_run() {
        for letter in ["A", "İ", "Ⱥ", "\u{1e9e}"] {
            let component = letter.repeat(255 / letter.len());
            let mut name = component.clone();
            while name.len() + 1 + component.len() <= NAME_BYTES {
                name = format!("{name}/{component}");
            }
            let key = fold_key(&Name::new(name).unwrap()).expect("it is not in lower case");
            assert!(key.len() <= RUN_KEY_BYTES, "{letter}: {} bytes", key.len());
        }
    }
}
