//! The tables of the catalog, read as what they hold.

use std::collections::BTreeSet;

use super::tables::Rows;
use super::{Snapshot, Tables, Tx};
use crate::format::record::entry::TrashRow;
use crate::format::table::{self, Table};
use crate::parts::catalog::{Catalog, Totals};
use crate::parts::index::View;
use crate::vocabulary::entry::Term;
use crate::vocabulary::{
    Card, Digest, Entry, EntryId, EntryKind, Error, ErrorKind, Key, Query, Result, State, Usage, Variant,
};

/// What an entry is beside its card.
#[derive(Clone, Debug, Default)]
pub struct Belongings {
    /// Its files, in order of their names.
    pub variants: Vec<Variant>,
    /// How often it was used.
    pub usage: Usage,
    /// When it was put into the trash; `None` for one that is not there.
    pub trashed_ns: Option<u64>,
}

impl Belongings {
    /// The entry that a card makes with them.
    pub fn of(self, card: Card) -> Entry {
        let Belongings { variants, usage, trashed_ns } = self;
        Entry { card, variants, usage, trashed_ns }
    }
}

/// Whatever the catalog can be read from: a snapshot, or a transaction under way.
pub trait Entries: Tables {
    /// What is on the card of a key, in the trash or not.
    fn card(&self, key: &Key) -> Result<Option<Card>> {
        self.row(Table::Entry, &key.to_bytes())
    }

    /// The whole entry of a key, in the trash or not.
    fn entry(&self, key: &Key) -> Result<Option<Entry>> {
        self.card(key)?.map(|card| self.whole(card)).transpose()
    }

    /// A card with all that belongs to it.
    fn whole(&self, card: Card) -> Result<Entry> {
        Ok(self.belongings(&card.id())?.of(card))
    }

    /// All that belongs to the card of an entry, whether or not there is one.
    fn belongings(&self, entry: &EntryId) -> Result<Belongings> {
        let variants = self.variants(entry)?;
        let usage = self.usage(entry)?;
        let trashed_ns = self.trashed(entry)?.map(|row| row.since.time_ns);
        Ok(Belongings { variants, usage, trashed_ns })
    }

    /// The variants of an entry, in order of their names.
    fn variants(&self, entry: &EntryId) -> Result<Vec<Variant>> {
        let rows = self.view().prefix(&table::variant_key(entry, ""));
        rows.map(|row| decode(&row?.1, Table::Variant)).collect()
    }

    /// One variant of an entry.
    fn variant(&self, entry: &EntryId, name: &str) -> Result<Option<Variant>> {
        let row = self.view().get(&table::variant_key(entry, name))?;
        row.map(|value| decode(&value, Table::Variant)).transpose()
    }

    /// How often an entry was used, as far as it is on record.
    fn usage(&self, entry: &EntryId) -> Result<Usage> {
        Ok(self.row(Table::Use, entry.as_bytes())?.unwrap_or_default())
    }

    /// What put an entry into the trash.
    fn trashed(&self, entry: &EntryId) -> Result<Option<TrashRow>> {
        self.row(Table::Trash, entry.as_bytes())
    }

    /// The key of an identity.
    fn key_of(&self, entry: &EntryId) -> Result<Option<Key>> {
        self.view().get(&Table::EntryId.key(entry.as_bytes()))?.map(|bytes| key(&bytes)).transpose()
    }

    /// The entries that have a variant of this digest, each once, with the names of those variants.
    fn entries_of(&self, digest: &Digest) -> Result<Vec<(EntryId, String)>> {
        let prefix = Table::Keeps.key(digest.as_bytes());
        let rows = self.view().prefix(&prefix).map(|row| {
            let (key, _) = row?;
            let (entry, name) = key[prefix.len()..].split_at_checked(16).ok_or_else(|| damaged(Table::Keeps))?;
            let entry = entry.try_into().map(EntryId::from_bytes).map_err(|_| damaged(Table::Keeps))?;
            let name = String::from_utf8(name.to_vec()).map_err(|_| damaged(Table::Keeps))?;
            Ok((entry, name))
        });
        rows.collect()
    }

    /// The cards of all entries whose keys begin with `prefix`, from behind `after` on, in order of keys.
    fn cards<'a>(&'a self, prefix: &[u8], after: Option<&Key>) -> Rows<'a, Key, Card> {
        let rows = self.rows_of_keys(Table::Entry.key(prefix), after);
        Box::new(rows.map(|row| {
            let (bytes, value) = row?;
            Ok((key(&bytes[1..])?, decode(&value, Table::Entry)?))
        }))
    }

    /// The keys of all entries that have a term and begin with `prefix`, from behind `after` on, in order.
    fn keys_with<'a>(
        &'a self,
        term: &Term,
        prefix: &[u8],
        after: Option<&Key>,
    ) -> Box<dyn Iterator<Item = Result<Key>> + 'a> {
        let start = table::term_key(term, &[]);
        let skip = start.len();
        let rows =
            self.rows_behind(table::term_key(term, prefix), after.map(|key| table::term_key(term, &key.to_bytes())));
        Box::new(rows.map(move |row| key(&row?.0[skip..])))
    }

    /// Every entry in the trash, in order of identities.
    fn all_trashed(&self) -> Rows<'_, EntryId, TrashRow> {
        Box::new(self.view().prefix(&Table::Trash.key(&[])).map(|row| {
            let (key, value) = row?;
            let entry = key[1..].try_into().map(EntryId::from_bytes).map_err(|_| damaged(Table::Trash))?;
            Ok((entry, decode(&value, Table::Trash)?))
        }))
    }

    #[doc(hidden)]
    fn rows_of_keys<'a>(&'a self, prefix: Vec<u8>, after: Option<&Key>) -> Rows<'a, Vec<u8>, Vec<u8>> {
        let after = after.map(|key| {
            let mut bytes = vec![prefix[0]];
            bytes.extend_from_slice(&key.to_bytes());
            bytes
        });
        self.rows_behind(prefix, after)
    }

    #[doc(hidden)]
    fn rows_behind<'a>(&'a self, prefix: Vec<u8>, after: Option<Vec<u8>>) -> Rows<'a, Vec<u8>, Vec<u8>> {
        // The least key behind another one is that with a zero byte more.
        let behind = after.map(|mut key| {
            key.push(0);
            key
        });
        Box::new(self.view().prefix_from(&prefix, behind.as_deref().unwrap_or_default()))
    }
}

/// The embedded catalog: the journal's own index answers.
impl Catalog for Snapshot {
    fn entry(&self, key: &Key) -> Result<Option<Entry>> {
        Entries::entry(self, key)
    }

    fn keys_of_ids(&self, first: &str, most: usize) -> Result<Vec<Key>> {
        let rows = self.view.prefix(&Table::EntryId.key(&whole_bytes(first)));
        let begins = |id: &[u8]| id.try_into().is_ok_and(|id| EntryId::from_bytes(id).to_string().starts_with(first));
        let mut keys = Vec::new();
        for row in rows {
            let (id, value) = row?;
            if keys.len() == most {
                break;
            }
            if begins(&id[1..]) {
                keys.push(key(&value)?);
            }
        }
        Ok(keys)
    }

    fn entries_of(&self, digest: &Digest) -> Result<Vec<(EntryId, String)>> {
        Entries::entries_of(self, digest)
    }

    fn page(&self, query: &Query, after: Option<&Key>, limit: usize) -> Result<Vec<Entry>> {
        let prefix = query.key_prefix();
        let candidates: Box<dyn Iterator<Item = Result<Card>>> = match (&query.digest, query.terms().first()) {
            (Some(digest), _) => Box::new(self.cards_of(digest, after)?.into_iter().map(Ok)),
            (None, Some(term)) => Box::new(self.keys_with(term, &prefix, after).filter_map(|key| {
                let card = key.and_then(|key| self.card(&key));
                card.transpose()
            })),
            (None, None) => Box::new(self.cards(&prefix, after).map(|row| row.map(|(_, card)| card))),
        };
        let mut page = Vec::new();
        for card in candidates {
            if page.len() == limit {
                break;
            }
            let entry = self.whole(card?)?;
            if query.admits(&entry) {
                page.push(entry);
            }
        }
        Ok(page)
    }

    fn totals(&self) -> Result<Totals> {
        let mut totals = Totals::default();
        let mut states = [0; State::ALL.len()];
        let mut trashed = BTreeSet::new();
        for row in self.all_trashed() {
            trashed.insert(row?.0);
        }
        for row in self.cards(&[], None) {
            let (key, card) = row?;
            if trashed.contains(&key.id()) {
                totals.trashed += 1;
                continue;
            }
            match key.kind() {
                EntryKind::Model => totals.models += 1,
                EntryKind::Document => totals.documents += 1,
            }
            states[State::ALL.iter().position(|state| *state == card.state).expect("all states are listed")] += 1;
        }
        totals.by_state = State::ALL.into_iter().zip(states).collect();
        self.total_variants(&trashed, &mut totals)?;
        Ok(totals)
    }
}

impl Snapshot {
    /// The cards of the entries that have a variant of this digest, from behind `after` on, in order of keys.
    fn cards_of(&self, digest: &Digest, after: Option<&Key>) -> Result<Vec<Card>> {
        let mut cards = Vec::new();
        let mut last = None;
        for (entry, _) in Entries::entries_of(self, digest)? {
            if last.replace(entry) == Some(entry) {
                continue;
            }
            if let Some(key) = self.key_of(&entry)?.filter(|key| after.is_none_or(|after| key > after)) {
                cards.extend(self.card(&key)?);
            }
        }
        cards.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(cards)
    }

    /// One pass over what keeps blobs, in order of digests: the same blob is counted once.
    fn total_variants(&self, trashed: &BTreeSet<EntryId>, totals: &mut Totals) -> Result<()> {
        for row in self.view.prefix(&Table::Variant.key(&[])) {
            totals.variants += u64::from(!trashed.contains(&entry_of(row?.0.get(1..17))?));
        }
        let mut last: Option<Vec<u8>> = None;
        for row in self.view.prefix(&Table::Keeps.key(&[])) {
            let (bytes, _) = row?;
            let (digest, rest) = bytes[1..].split_at_checked(32).ok_or_else(|| damaged(Table::Keeps))?;
            let (entry, name) = rest.split_at_checked(16).ok_or_else(|| damaged(Table::Keeps))?;
            let entry = entry_of(Some(entry))?;
            if last.as_deref() == Some(digest) || trashed.contains(&entry) {
                continue;
            }
            let name = std::str::from_utf8(name).map_err(|_| damaged(Table::Keeps))?;
            if let Some(size) = self.variant(&entry, name)?.and_then(|variant| variant.size_bytes) {
                totals.bytes = totals.bytes.saturating_add(size);
                last = Some(digest.to_vec());
            }
        }
        Ok(())
    }
}

fn entry_of(bytes: Option<&[u8]>) -> Result<EntryId> {
    let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
    bytes.map(EntryId::from_bytes).ok_or_else(|| damaged(Table::Variant))
}

/// The bytes that whole pairs of these hexadecimal digits stand for.
fn whole_bytes(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().chunks_exact(2);
    pairs.map_while(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

impl Entries for View {}
impl Entries for Snapshot {}
impl Entries for Tx<'_> {}

fn key(bytes: &[u8]) -> Result<Key> {
    Key::from_bytes(bytes).ok_or_else(|| damaged(Table::Entry))
}

fn decode<T: serde::de::DeserializeOwned>(value: &[u8], table: Table) -> Result<T> {
    table::decode(value).map_err(|_| damaged(table))
}

fn damaged(table: Table) -> Error {
    Error::new(ErrorKind::Damaged, format!("read a row of the index (table {table:?})"), "it cannot be decoded")
}
