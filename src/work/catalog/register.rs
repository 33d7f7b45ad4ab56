//! Entering a model or a document into the catalog.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{blob_uri, in_the_trash, now_ns, present, put_card_over, put_variant_over};
use crate::format::record::Record;
use crate::format::record::entry::UsedRecord;
use crate::ledger::catalog::Belongings;
use crate::ledger::{Entries, Tables, Tx};
use crate::vocabulary::entry::By;
use crate::vocabulary::{
    Card, Digest, Entry, Error, ErrorKind, Evidence, Key, Name, Result, State, Trust, Usage, Variant,
};
use crate::work::Context;
use crate::work::names::{self, Target};

/// One file of what is registered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewVariant {
    /// What it is called within its entry; empty for the one that stands for the whole.
    pub name: String,
    /// The blob or name in the store that it is; `None` for bytes that are not there (yet).
    pub target: Option<Target>,
    /// The digest that somebody said it has.
    pub expected: Option<Digest>,
    /// Its length in bytes, where the store does not have it.
    pub size_bytes: Option<u64>,
    /// Its media type.
    pub content_type: String,
    /// Where its bytes are, where the store does not have them.
    pub uri: String,
}

/// What is registered: an entry as its maker describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Which model or document it is.
    pub key: Key,
    /// What people call it.
    pub title: String,
    /// Where it came from, without credentials.
    pub source: String,
    /// Its media type.
    pub content_type: String,
    /// The run that brought it in.
    pub run: String,
    /// Anything else that is known of it.
    pub metadata: BTreeMap<String, String>,
    /// Words to find it by.
    pub tags: BTreeSet<String>,
    /// What people wrote about it.
    pub notes: String,
    /// Where its bill of materials is.
    pub sbom: String,
    /// Where its signature is.
    pub signature: String,
    /// Its files.
    pub variants: Vec<NewVariant>,
    /// What was found about its bytes just now, by whoever hashed them on the way into the store.
    pub hashed_by: Option<String>,
}

impl Registration {
    /// A registration of `key` of which nothing else is known.
    pub fn new(key: Key) -> Self {
        Registration {
            key,
            title: String::new(),
            source: String::new(),
            content_type: String::new(),
            run: String::new(),
            metadata: BTreeMap::new(),
            tags: BTreeSet::new(),
            notes: String::new(),
            sbom: String::new(),
            signature: String::new(),
            variants: Vec::new(),
            hashed_by: None,
        }
    }

    /// Refuses what no record takes, as registering it where there is nothing of this key would: for whoever does more
    /// before that.
    pub fn check(&self) -> Result<()> {
        let card = Card {
            title: self.title.clone(),
            source: self.source.clone(),
            content_type: self.content_type.clone(),
            run: self.run.clone(),
            metadata: self.metadata.clone(),
            tags: self.tags.clone(),
            notes: self.notes.clone(),
            sbom: self.sbom.clone(),
            signature: self.signature.clone(),
            ..Card::new(self.key.clone(), 0)
        };
        card.check()?;
        self.variants.iter().try_for_each(|variant| Variant::new(variant.name.as_str(), 0).check())
    }
}

/// What became of a registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// The entry as it is on record now.
    pub entry: Entry,
    /// Whether it was made now.
    pub new: bool,
}

/// What is to be done where there is an entry of this key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfThere {
    /// Refuse it ([`ErrorKind::Taken`]).
    Refuse,
    /// Give back the one that there is, unchanged (R42, R94).
    Keep,
    /// Put what is registered on it: text that is not empty, metadata and tags beside those that there are, variants in the
    /// place of those of the same names.
    Merge,
}

/// Registers many entries, each for itself, in one transaction: all of them are on record after it, or none (R73, R89).
///
/// A variant's target must be in the store, and its blob is kept from then on. [`ErrorKind::NotFound`] for one that is not,
/// [`ErrorKind::Damaged`] for one whose file is not what was recorded, [`ErrorKind::Invalid`] for text that no record takes,
/// and for more entries than one transaction holds: [`register_each`] takes any number.
pub fn register(ctx: &Context<'_>, all: Vec<Registration>, if_there: IfThere) -> Result<Vec<Registered>> {
    ctx.ledger.transact(move |tx| {
        let mut done = Vec::with_capacity(all.len());
        for one in all {
            done.push(register_one(tx, one, if_there)?);
            if tx.is_too_large() {
                let reason = "they do not fit one transaction: register fewer at a time, or each for itself";
                return Err(Error::new(ErrorKind::Invalid, "register so many entries at once", reason));
            }
        }
        Ok(done)
    })
}

/// Registers any number of entries, each standing or falling for itself, with as many in one frame as it takes: the way to
/// bring in many. What became of each is given back in their order, once all are on record.
///
/// An error is what ended it: entries of earlier frames are on record then, and with [`IfThere::Keep`] or
/// [`IfThere::Merge`] the same call can be made again.
pub fn register_each(ctx: &Context<'_>, all: Vec<Registration>, if_there: IfThere) -> Result<Vec<Result<Registered>>> {
    let mut outcomes = Vec::with_capacity(all.len());
    let mut waiting: VecDeque<Registration> = all.into();
    while !waiting.is_empty() {
        let mut taken = std::mem::take(&mut waiting);
        let (done, rest) = ctx.ledger.transact(move |tx| {
            let mut done = Vec::new();
            while tx.has_room()
                && let Some(one) = taken.pop_front()
            {
                done.push(tx.part(|tx| register_one(tx, one, if_there)));
            }
            Ok((done, taken))
        })?;
        outcomes.extend(done);
        waiting = rest;
    }
    Ok(outcomes)
}

/// As [`register`], as a part of a transaction.
pub fn register_one(tx: &mut Tx<'_>, what: Registration, if_there: IfThere) -> Result<Registered> {
    register_with(tx, what, if_there, None)
}

/// A variant whose bytes are kept by the very transaction that registers it: nobody can look at them yet.
pub(in crate::work) struct KeptHere {
    /// The variant.
    pub(in crate::work) variant: String,
    /// Its digest.
    pub(in crate::work) digest: Digest,
    /// Its length in bytes.
    pub(in crate::work) size_bytes: u64,
    /// The name that it gets.
    pub(in crate::work) name: Option<Name>,
}

/// As [`register_one`]; the bytes of one variant are what `kept` says.
pub(in crate::work) fn register_with(
    tx: &mut Tx<'_>,
    what: Registration,
    if_there: IfThere,
    kept: Option<&KeptHere>,
) -> Result<Registered> {
    let key = what.key.clone();
    let id = key.id();
    let (mut before, mut there) = (tx.card(&key)?, tx.belongings(&id)?);
    let new = match &before {
        None => true,
        Some(card) if there.trashed_ns.is_some() => {
            take_out(tx, &there.clone().of(card.clone()))?;
            (before, there) = (None, Belongings::default());
            true
        }
        Some(_) if if_there == IfThere::Refuse => {
            let reason = format!("it is registered already (entry:{id})");
            return Err(Error::new(ErrorKind::Taken, format!("register {key}"), reason));
        }
        Some(card) if if_there == IfThere::Keep => {
            return Ok(Registered { entry: there.of(card.clone()), new: false });
        }
        Some(_) => false,
    };
    let card = before.clone().unwrap_or_else(|| Card::new(key.clone(), now_ns(tx)));
    let (card, variants) = describe(tx, card, what, &there.variants, kept)?;
    put_card_over(tx, card.clone(), before.as_ref())?;
    for variant in variants {
        let place = there.variants.binary_search_by(|known| known.name.as_bytes().cmp(variant.name.as_bytes()));
        put_variant_over(tx, id, variant.clone(), place.ok().map(|at| &there.variants[at]))?;
        match place {
            Ok(at) => there.variants[at] = variant,
            Err(at) => there.variants.insert(at, variant),
        }
    }
    // Of an entry whose card was lost with a stretch of the journal this may still be on record.
    if there.trashed_ns.is_some() {
        return Err(in_the_trash(&key));
    }
    let entry = there.of(card);
    entry.check()?;
    Ok(Registered { entry, new })
}

/// Registering what is in the trash begins anew: what was thrown away is gone.
pub(super) fn take_out(tx: &mut Tx<'_>, entry: &Entry) -> Result<()> {
    super::remove::drop_entry(tx, entry, "registered again")
}

/// The card and the variants that a registration makes of a card and of the variants that are there.
fn describe(
    tx: &Tx<'_>,
    mut card: Card,
    what: Registration,
    there: &[Variant],
    kept: Option<&KeptHere>,
) -> Result<(Card, Vec<Variant>)> {
    let now_ns = now_ns(tx);
    let texts = [
        (&mut card.title, what.title),
        (&mut card.source, what.source),
        (&mut card.content_type, what.content_type),
        (&mut card.run, what.run),
        (&mut card.notes, what.notes),
        (&mut card.sbom, what.sbom),
        (&mut card.signature, what.signature),
    ];
    for (place, text) in texts {
        if !text.is_empty() {
            *place = text;
        }
    }
    card.metadata.extend(what.metadata);
    card.tags.extend(what.tags);
    card.updated_ns = now_ns;
    let mut variants = Vec::new();
    for new in what.variants {
        let here = kept.filter(|kept| kept.variant == new.name);
        let before = there.iter().find(|variant| variant.name == new.name).cloned();
        variants.push(variant(tx, before, new, here, now_ns)?);
    }
    let same = |one: &Variant| there.iter().any(|before| before.name == one.name && before.digest == one.digest);
    let is_other = !there.is_empty() && !variants.iter().all(same);
    let others = there.iter().filter(|before| variants.iter().all(|one| one.name != before.name));
    let others: Vec<Variant> = others.cloned().collect();
    match what.hashed_by {
        Some(by) => judge(&mut card, &variants, &others, by, now_ns),
        None if is_other => nobody_knows(&mut card),
        None => {}
    }
    Ok((card.without_secrets(), variants.into_iter().map(Variant::without_secrets).collect()))
}

/// What was found about the bytes was found about others.
fn nobody_knows(card: &mut Card) {
    if card.state.may_become(State::Pending, By::Change) {
        card.state = State::Pending;
    }
    (card.trust, card.evidence, card.verified_ns) = (Trust::Unverified, None, None);
}

fn variant(
    tx: &Tx<'_>,
    before: Option<Variant>,
    new: NewVariant,
    kept: Option<&KeptHere>,
    now_ns: u64,
) -> Result<Variant> {
    let mut variant = before.unwrap_or_else(|| Variant::new(new.name.clone(), now_ns));
    variant.expected = new.expected.or(variant.expected);
    variant.size_bytes = new.size_bytes.or(variant.size_bytes);
    if !new.content_type.is_empty() {
        variant.content_type = new.content_type;
    }
    if !new.uri.is_empty() {
        variant.uri = new.uri;
    }
    if let Some(kept) = kept {
        variant.digest = Some(kept.digest);
        variant.size_bytes = Some(kept.size_bytes);
        variant.uri = blob_uri(&kept.digest);
        variant.alias.clone_from(&kept.name);
        return Ok(variant);
    }
    let Some(target) = new.target else { return Ok(variant) };
    let digest = names::resolve(tx, &target)?;
    variant.digest = Some(digest);
    variant.size_bytes = Some(names::in_place(tx, &digest)?.stamp.size_bytes);
    variant.uri = blob_uri(&digest);
    variant.alias = name_of(tx, &target, &digest)?;
    Ok(variant)
}

/// The name that a variant has in the store: the one that was pointed at, or the blob's first one.
fn name_of(tables: &impl Tables, target: &Target, digest: &Digest) -> Result<Option<Name>> {
    match target {
        Target::Name(name) => Ok(Some(name.clone())),
        Target::Digest(_) => Ok(tables.names_of(digest)?.into_iter().next()),
    }
}

/// What bytes that were hashed just now say of their entry, which has these other variants besides. One that is wrong makes
/// the whole wrong, and what is retired stays that.
pub(in crate::work) fn judge(card: &mut Card, variants: &[Variant], others: &[Variant], by: String, now_ns: u64) {
    let is_wrong = |v: &&Variant| v.expected.is_some() && v.digest.is_some() && v.expected != v.digest;
    let wrong = variants.iter().find(is_wrong).or_else(|| others.iter().find(is_wrong));
    let hashed = !variants.is_empty() && variants.iter().all(|variant| variant.digest.is_some());
    if wrong.is_none() && !hashed {
        return;
    }
    let shows = wrong.or(variants.first());
    card.evidence = Some(Evidence {
        expected: shows.and_then(|variant| variant.expected),
        found: shows.and_then(|variant| variant.digest),
        when_ns: now_ns,
        by,
    });
    let told = variants.iter().chain(others).all(|variant| variant.expected.is_some());
    let (state, trust) = match (wrong, told) {
        (Some(_), _) => (State::Failed, Trust::Unverified),
        (None, true) => (State::Active, Trust::Verified),
        (None, false) => (State::Active, Trust::Warned),
    };
    if card.state.may_become(state, By::Verification) {
        card.state = state;
    }
    card.trust = trust;
    if wrong.is_none() {
        card.verified_ns = Some(now_ns);
    }
}

/// Records that an entry was used once more, so that it is on record after the call (R56).
pub fn touch(ctx: &Context<'_>, key: &Key) -> Result<Entry> {
    let key = key.clone();
    ctx.ledger.transact(move |tx| {
        let entry = present(tx, &key)?;
        let once = Usage { count: 1, last_ns: now_ns(tx) };
        let usage = tx.usage(&entry.id())?.and(once);
        tx.push(Record::Used(UsedRecord { entry: entry.id(), usage }));
        present(tx, &key)
    })
}
