//! The tables of the index, read as what they hold.

use crate::format::record::Moment;
use crate::format::record::copies::{CarrierRow, SourceStampRow, SourcesRow};
use crate::format::record::scrub::{FindingRow, PassRecord, SuspectRow, VerifiedRow, WishRecord, Wrong};
use crate::format::table::{
    self, AliasRow, BlobRow, DamagedRow, DepartedRow, FenceRow, GoneRow, NameFindingRow, OrphanRow, PinRow, Table,
};
use crate::parts::index::View;
use crate::vocabulary::{Digest, Error, ErrorKind, Name, Prefix, Result};

/// Rows of one table, each with its key.
pub type Rows<'a, K, V> = Box<dyn Iterator<Item = Result<(K, V)>> + 'a>;

/// Whatever the tables can be read from: a snapshot, or a transaction under way.
pub trait Tables: Sized {
    /// The view underneath.
    fn view(&self) -> &View;

    /// The record of a blob.
    fn blob(&self, digest: &Digest) -> Result<Option<BlobRow>> {
        self.row(Table::Blob, digest.as_bytes())
    }

    /// The record of an alias.
    fn alias(&self, name: &Name) -> Result<Option<AliasRow>> {
        self.row(Table::Alias, name.as_bytes())
    }

    /// The pin of a blob.
    fn pin(&self, digest: &Digest) -> Result<Option<PinRow>> {
        self.row(Table::Pin, digest.as_bytes())
    }

    /// When a blob lost its last root.
    fn unrooted(&self, digest: &Digest) -> Result<Option<Moment>> {
        self.row(Table::Unrooted, digest.as_bytes())
    }

    /// When a blob was condemned.
    fn condemned(&self, digest: &Digest) -> Result<Option<Moment>> {
        self.row(Table::Condemned, digest.as_bytes())
    }

    /// What is known of a file that no record knows.
    fn orphan(&self, digest: &Digest) -> Result<Option<OrphanRow>> {
        self.row(Table::Orphan, digest.as_bytes())
    }

    /// What removed a blob.
    fn gone(&self, digest: &Digest) -> Result<Option<GoneRow>> {
        self.row(Table::Gone, digest.as_bytes())
    }

    /// What took a name away from a blob last.
    fn departure(&self, digest: &Digest, name: &Name) -> Result<Option<DepartedRow>> {
        let mut key = digest.as_bytes().to_vec();
        key.extend_from_slice(name.as_bytes());
        self.row(Table::Departed, &key)
    }

    /// The names that a blob had until something took them away, in order.
    fn departed(&self, digest: &Digest) -> Result<Vec<(Name, DepartedRow)>> {
        let prefix = Table::Departed.key(digest.as_bytes());
        let rows = self.view().prefix(&prefix).map(|row| {
            let (key, value) = row?;
            Ok((name_of(&key[prefix.len()..])?, decode(&value, Table::Departed)?))
        });
        rows.collect()
    }

    /// The blobs that a name meant until something took it away, in order of digests.
    fn meant(&self, name: &Name) -> Result<Vec<Digest>> {
        let prefix = table::meant_prefix(name);
        let digest = |bytes: &[u8]| bytes.try_into().map(Digest::from_bytes).map_err(|_| damaged(Table::Meant));
        self.view().prefix(&prefix).map(|row| digest(&row?.0[prefix.len()..])).collect()
    }

    /// What is wrong with a blob: the mark that it is damaged, or that reading it has found other bytes, which then stands
    /// for a mark of sequence zero.
    fn damaged(&self, digest: &Digest) -> Result<Option<DamagedRow>> {
        if let Some(marked) = self.row(Table::Damaged, digest.as_bytes())? {
            return Ok(Some(marked));
        }
        let found = self.finding(digest, 0)?.filter(|found| found.wrong == Wrong::Corrupt);
        Ok(found.map(|found| {
            let since = Moment { sequence: 0, time_ns: found.first_ns };
            DamagedRow { inode: 0, reason: found.reason, quarantined: false, since }
        }))
    }

    /// Whether anything at all is on record as wrong with any blob or carrier; where nothing is, [`Tables::damaged`] and
    /// [`Tables::finding`] say nothing of any.
    fn anything_wrong(&self) -> Result<bool> {
        Ok(self.all_damaged().next().transpose()?.is_some() || self.all_findings().next().transpose()?.is_some())
    }

    /// When a blob was last read and found right.
    fn verified(&self, digest: &Digest) -> Result<Option<VerifiedRow>> {
        self.row(Table::Verified, digest.as_bytes())
    }

    /// What reading a blob, or a carrier of it, has found wrong; carrier zero is its own file.
    fn finding(&self, digest: &Digest, carrier: u32) -> Result<Option<FindingRow>> {
        self.view().get(&table::finding_key(digest, carrier))?.map(|value| decode(&value, Table::Finding)).transpose()
    }

    /// Every finding about a blob and its carriers, by their numbers.
    fn findings_of(&self, digest: &Digest) -> Result<Vec<(u32, FindingRow)>> {
        let prefix = Table::Finding.key(digest.as_bytes());
        let rows = self.view().prefix(&prefix).map(|row| {
            let (key, value) = row?;
            Ok((carrier_number(&key[prefix.len()..])?, decode(&value, Table::Finding)?))
        });
        rows.collect()
    }

    /// Every finding about the bytes of blobs and carriers, in the order of digests and numbers.
    fn all_findings(&self) -> Rows<'_, (Digest, u32), FindingRow> {
        Box::new(self.view().prefix(&Table::Finding.key(&[])).map(|row| {
            let (key, value) = row?;
            let (digest, number) = key[1..].split_at_checked(32).ok_or_else(|| damaged(Table::Finding))?;
            let digest = digest.try_into().map(Digest::from_bytes).map_err(|_| damaged(Table::Finding))?;
            Ok(((digest, carrier_number(number)?), decode(&value, Table::Finding)?))
        }))
    }

    /// What a look at a blob's file has shown changed.
    fn suspect(&self, digest: &Digest) -> Result<Option<SuspectRow>> {
        self.row(Table::Suspect, digest.as_bytes())
    }

    /// Every blob whose file was seen changed.
    fn all_suspects(&self) -> Rows<'_, Digest, SuspectRow> {
        self.by_digest(Table::Suspect, &FIRST)
    }

    /// The last pass over the blobs.
    fn scrub_pass(&self) -> Result<Option<PassRecord>> {
        self.row(Table::Scrub, &[table::SCRUB_PASS])
    }

    /// What somebody wants of passes.
    fn scrub_wish(&self) -> Result<WishRecord> {
        Ok(self.row(Table::Scrub, &[table::SCRUB_WISH])?.unwrap_or_default())
    }

    /// The files that a blob was added from.
    fn sources(&self, digest: &Digest) -> Result<Option<SourcesRow>> {
        self.row(Table::Sources, digest.as_bytes())
    }

    /// The file that a name was given to.
    fn source_stamp(&self, name: &Name) -> Result<Option<SourceStampRow>> {
        self.row(Table::SourceStamp, name.as_bytes())
    }

    /// The further inodes of a blob, by their numbers.
    fn carriers(&self, digest: &Digest) -> Result<Vec<(u32, CarrierRow)>> {
        let prefix = Table::Carrier.key(digest.as_bytes());
        let rows = self.view().prefix(&prefix).map(|row| {
            let (key, value) = row?;
            Ok((carrier_number(&key[prefix.len()..])?, decode(&value, Table::Carrier)?))
        });
        rows.collect()
    }

    /// Whether any blob has a carrier: most stores have none, and need not ask for each name.
    fn has_carriers(&self) -> Result<bool> {
        Ok(self.all_carriers().next().transpose()?.is_some())
    }

    /// Every further inode of every blob, in the order of digests and numbers.
    fn all_carriers(&self) -> Rows<'_, (Digest, u32), CarrierRow> {
        Box::new(self.view().prefix(&Table::Carrier.key(&[])).map(|row| {
            let (key, value) = row?;
            let (digest, number) = key[1..].split_at_checked(32).ok_or_else(|| damaged(Table::Carrier))?;
            let digest = digest.try_into().map(Digest::from_bytes).map_err(|_| damaged(Table::Carrier))?;
            Ok(((digest, carrier_number(number)?), decode(&value, Table::Carrier)?))
        }))
    }

    /// Why a name could not be applied.
    fn name_finding(&self, name: &Name) -> Result<Option<NameFindingRow>> {
        self.row(Table::NameFinding, name.as_bytes())
    }

    /// Every name of a blob, in order.
    fn names_of(&self, digest: &Digest) -> Result<Vec<Name>> {
        let prefix = Table::Reference.key(digest.as_bytes());
        self.view().prefix(&prefix).map(|row| name_of(&row?.0[prefix.len()..])).collect()
    }

    /// Whether a blob has a name other than `but`.
    fn has_other_name(&self, digest: &Digest, but: &Name) -> Result<bool> {
        let prefix = Table::Reference.key(digest.as_bytes());
        for row in self.view().prefix(&prefix) {
            if &row?.0[prefix.len()..] != but.as_bytes() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether a blob has any root on record: a name, a pin or an entry.
    fn is_rooted(&self, digest: &Digest) -> Result<bool> {
        Ok(self.has_name(digest)? || self.is_kept(digest)?)
    }

    /// Whether a blob has any name.
    fn has_name(&self, digest: &Digest) -> Result<bool> {
        Ok(self.view().prefix(&Table::Reference.key(digest.as_bytes())).next().transpose()?.is_some())
    }

    /// Whether a blob has a root other than its names: a pin or an entry.
    fn is_kept(&self, digest: &Digest) -> Result<bool> {
        Ok(self.pin(digest)?.is_some() || self.has_entry(digest)?)
    }

    /// Whether an entry has a variant of this digest.
    fn has_entry(&self, digest: &Digest) -> Result<bool> {
        Ok(self.view().prefix(&Table::Keeps.key(digest.as_bytes())).next().transpose()?.is_some())
    }

    /// Whether a large blob of this size is on record.
    fn has_size(&self, size_bytes: u64) -> Result<bool> {
        Ok(!self.of_size(size_bytes, 1)?.is_empty())
    }

    /// The large blobs of this size, the first `most` of them.
    fn of_size(&self, size_bytes: u64, most: usize) -> Result<Vec<Digest>> {
        let prefix = Table::Size.key(&size_bytes.to_be_bytes());
        let digest = |bytes: &[u8]| bytes.try_into().map(Digest::from_bytes).map_err(|_| damaged(Table::Size));
        self.view().prefix(&prefix).take(most).map(|row| digest(&row?.0[prefix.len()..])).collect()
    }

    /// The names that differ from `name` by case only.
    fn same_but_for_case(&self, name: &Name) -> Result<Vec<Name>> {
        let Some(folded) = name.folded() else { return Ok(Vec::new()) };
        let prefix = table::fold_prefix(&folded);
        let mut found = Vec::new();
        for row in self.view().prefix(&prefix) {
            found.push(name_of(&row?.0[prefix.len()..])?);
        }
        if folded.as_bytes() != name.as_bytes()
            && let Ok(lower) = Name::new(folded)
            && self.alias(&lower)?.is_some()
        {
            found.push(lower);
        }
        found.retain(|other| other != name);
        Ok(found)
    }

    /// A name that would have to be a directory for `name` to be a file, or the other way round.
    fn clash(&self, name: &Name) -> Result<Option<Name>> {
        for above in name.ancestors() {
            if self.alias(&above)?.is_some() {
                return Ok(Some(above));
            }
        }
        let mut below = Table::Alias.key(name.as_bytes());
        below.push(b'/');
        self.view().prefix(&below).next().map(|row| name_of(&row?.0[1..])).transpose()
    }

    /// Every alias in a set of names, in order.
    fn aliases<'a>(&'a self, prefix: &'a Prefix) -> Rows<'a, Name, AliasRow> {
        let from = match prefix {
            Prefix::Everything => Table::Alias.key(&[]),
            Prefix::Below(name) => Table::Alias.key(name.as_bytes()),
        };
        let rows = self.view().prefix(&from).map(|row| {
            let (key, value) = row?;
            Ok((name_of(&key[1..])?, decode(&value, Table::Alias)?))
        });
        Box::new(rows.filter(|row: &Result<(Name, AliasRow)>| match row {
            Ok((name, _)) => prefix.contains(name),
            Err(_) => true,
        }))
    }

    /// Every blob on record from `from` on, in order of digests.
    fn blobs(&self, from: &Digest) -> Rows<'_, Digest, BlobRow> {
        self.by_digest(Table::Blob, from)
    }

    /// Every blob without a root.
    fn all_unrooted(&self) -> Rows<'_, Digest, Moment> {
        self.by_digest(Table::Unrooted, &FIRST)
    }

    /// Every condemned blob.
    fn all_condemned(&self) -> Rows<'_, Digest, Moment> {
        self.by_digest(Table::Condemned, &FIRST)
    }

    /// Every file that no record knows.
    fn all_orphans(&self) -> Rows<'_, Digest, OrphanRow> {
        self.by_digest(Table::Orphan, &FIRST)
    }

    /// Every damaged blob.
    fn all_damaged(&self) -> Rows<'_, Digest, DamagedRow> {
        self.by_digest(Table::Damaged, &FIRST)
    }

    /// Every pin.
    fn all_pins(&self) -> Rows<'_, Digest, PinRow> {
        self.by_digest(Table::Pin, &FIRST)
    }

    /// Every removed blob that is still remembered.
    fn all_gone(&self) -> Rows<'_, Digest, GoneRow> {
        self.by_digest(Table::Gone, &FIRST)
    }

    /// Every name that could not be applied.
    fn all_name_findings(&self) -> Rows<'_, Name, NameFindingRow> {
        Box::new(self.view().prefix(&Table::NameFinding.key(&[])).map(|row| {
            let (key, value) = row?;
            Ok((name_of(&key[1..])?, decode(&value, Table::NameFinding)?))
        }))
    }

    /// Every fence, by its first sequence.
    fn all_fences(&self) -> Rows<'_, u64, FenceRow> {
        Box::new(self.view().prefix(&Table::Fence.key(&[])).map(|row| {
            let (key, value) = row?;
            let from = key[1..].try_into().map(u64::from_be_bytes).map_err(|_| damaged(Table::Fence))?;
            Ok((from, decode(&value, Table::Fence)?))
        }))
    }

    /// Whether collection is fenced.
    fn is_fenced(&self) -> Result<bool> {
        Ok(self.all_fences().next().transpose()?.is_some())
    }

    /// One row.
    fn row<T: serde::de::DeserializeOwned>(&self, table: Table, key: &[u8]) -> Result<Option<T>> {
        row(self.view(), table, key)
    }

    /// The rows of a table whose keys are digests, from `from` on.
    fn by_digest<T: serde::de::DeserializeOwned + 'static>(&self, table: Table, from: &Digest) -> Rows<'_, Digest, T> {
        Box::new(self.view().prefix_from(&table.key(&[]), &table.key(from.as_bytes())).map(move |row| {
            let (key, value) = row?;
            let digest = key[1..].try_into().map(Digest::from_bytes).map_err(|_| damaged(table))?;
            Ok((digest, decode(&value, table)?))
        }))
    }
}

impl Tables for View {
    fn view(&self) -> &View {
        self
    }
}

impl Tables for super::Snapshot {
    fn view(&self) -> &View {
        &self.view
    }
}

const FIRST: Digest = Digest::from_bytes([0; 32]);

fn row<T: serde::de::DeserializeOwned>(view: &View, table: Table, key: &[u8]) -> Result<Option<T>> {
    view.get(&table.key(key))?.map(|value| decode(&value, table)).transpose()
}

fn decode<T: serde::de::DeserializeOwned>(value: &[u8], table: Table) -> Result<T> {
    table::decode(value).map_err(|_| damaged(table))
}

fn carrier_number(bytes: &[u8]) -> Result<u32> {
    bytes.try_into().map(u32::from_be_bytes).map_err(|_| damaged(Table::Carrier))
}

fn name_of(bytes: &[u8]) -> Result<Name> {
    Name::new(bytes).map_err(|_| damaged(Table::Alias))
}

/// A row whose page was good and that yet cannot be read: the index is of no use, and is made anew from the journal.
fn damaged(table: Table) -> Error {
    Error::new(ErrorKind::Damaged, format!("read a row of the index (table {table:?})"), "it cannot be decoded")
}
