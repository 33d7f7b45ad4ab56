//! Proving from the frames of the journal, and not from the index, that nothing keeps a blob.

use std::collections::{HashMap, HashSet};

use super::{damaged, refused};
use crate::format::frame::Frame;
use crate::format::record::Record;
use crate::format::record::entry::VariantRemovedRecord;
use crate::ledger::Ledger;
use crate::parts::journal::chain::{Place, is_outgrown};
use crate::vocabulary::limits::ROOTS_BLOBS;
use crate::vocabulary::{Digest, EntryId, ErrorKind, Name, Result};

/// How often the frames are read again when the journal is compacted meanwhile.
const READ_TRIES: usize = 8;

/// Of `candidates`, those for which the frames of the journal, from the base on, show a root. Any bad frame is an
/// error: then nothing is removed. Memory is that of [`ROOTS_BLOBS`] candidates, and of what kept them at the same time: with
/// more the frames are read several times.
pub(super) fn roots_in_frames(ledger: &Ledger, candidates: &[Digest]) -> Result<HashSet<Digest>> {
    roots_of_parts(ledger, candidates.chunks(ROOTS_BLOBS))
}

fn roots_of_parts<'a>(ledger: &Ledger, parts: impl Iterator<Item = &'a [Digest]>) -> Result<HashSet<Digest>> {
    let mut rooted = HashSet::new();
    for part in parts {
        let mut live = Live::default();
        read(ledger, part, &mut live)?;
        rooted.extend(live.rooted());
    }
    Ok(rooted)
}

fn read(ledger: &Ledger, candidates: &[Digest], live: &mut Live) -> Result<()> {
    let mut tries = 0;
    let reading = loop {
        live.begin(candidates);
        let reading = ledger.journal.read_all(0, &mut |_: &Frame, records: &[Record], _: Place<'_>| {
            records.iter().for_each(|record| live.follow(record));
            Ok(())
        });
        tries += 1;
        match reading {
            // Somebody has compacted meanwhile: what was read was journal, and is not any more.
            Err(e) if (is_outgrown(&e) || e.kind() == ErrorKind::NotFound) && tries < READ_TRIES => {}
            reading => break reading,
        }
    };
    let reading = reading.map_err(|e| refused(format!("the journal cannot be read whole: {e}")))?;
    match reading.damage.first() {
        Some(damage) => Err(damaged(&damage.reason)),
        None => Ok(()),
    }
}

/// What keeps a blob.
enum Root<'a> {
    Name(&'a Name),
    Variant(&'a EntryId, &'a str),
    Pin,
}

/// The roots of some blobs, at the frame that was read last.
#[derive(Default)]
struct Live {
    /// How many each blob has.
    counts: HashMap<Digest, u32>,
    /// Each of them by half of its BLAKE3: names may be long, and all that a blob ever had are there for a while.
    roots: HashSet<[u8; 16]>,
}

impl Live {
    fn begin(&mut self, candidates: &[Digest]) {
        self.counts = candidates.iter().map(|digest| (*digest, 0)).collect();
        self.roots.clear();
    }

    fn follow(&mut self, record: &Record) {
        match record {
            Record::Alias(r) => {
                if let Some(was) = &r.replaces {
                    self.lose(&was.digest, &Root::Name(&r.name));
                }
                self.gain(&r.digest, &Root::Name(&r.name));
            }
            Record::Unalias(r) => self.lose(&r.was.digest, &Root::Name(&r.name)),
            Record::Variant(r) => {
                let root = Root::Variant(&r.entry, &r.variant.name);
                if let Some(was) = &r.was {
                    self.lose(was, &root);
                }
                if let Some(digest) = &r.variant.digest {
                    self.gain(digest, &root);
                }
            }
            Record::VariantRemoved(VariantRemovedRecord { entry, name, was: Some(was) }) => {
                self.lose(was, &Root::Variant(entry, name));
            }
            Record::Pin(r) => self.gain(&r.digest, &Root::Pin),
            Record::Unpin(digest) => self.lose(digest, &Root::Pin),
            _ => {}
        }
    }

    fn gain(&mut self, digest: &Digest, root: &Root<'_>) {
        if let Some(count) = self.counts.get_mut(digest) {
            *count += u32::from(self.roots.insert(hash(digest, root)));
        }
    }

    fn lose(&mut self, digest: &Digest, root: &Root<'_>) {
        if let Some(count) = self.counts.get_mut(digest) {
            *count -= u32::from(self.roots.remove(&hash(digest, root)));
        }
    }

    fn rooted(&self) -> impl Iterator<Item = Digest> + '_ {
        self.counts.iter().filter(|(_, count)| **count > 0).map(|(digest, _)| *digest)
    }
}

fn hash(digest: &Digest, root: &Root<'_>) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(digest.as_bytes());
    match root {
        Root::Name(name) => hasher.update(b"n").update(name.as_bytes()),
        Root::Variant(entry, name) => hasher.update(b"v").update(entry.as_bytes()).update(name.as_bytes()),
        Root::Pin => hasher.update(b"p"),
    };
    let mut half = [0; 16];
    hasher.finalize_xof().fill(&mut half);
    half
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use crate::format::record::entry::VariantRecord;
    use crate::format::record::{AliasRecord, Moment, PinRecord, Replaced, UnaliasRecord};
    use crate::machine::simulated::World;
    use crate::vocabulary::Variant;
    use crate::work::fixture::{Fixture, n};

    fn digest(number: u8) -> Digest {
        Digest::from_bytes([number; 32])
    }

    /// What names, variants and pins there are: what records are made of, and the slow answer.
    #[derive(Default)]
    struct Kept {
        names: BTreeMap<u8, u8>,
        variants: BTreeMap<(u8, u8), u8>,
        pins: HashSet<u8>,
    }

    impl Kept {
        fn record(&mut self, what: u8, which: u8, of: u8) -> Option<Record> {
            let (name, entry, variant) = (n(&format!("name-{which}")), which / 2, which % 2);
            let entry_id = EntryId::from_bytes([entry; 16]);
            let meant = |number| Replaced { digest: digest(number), hardlinked: false, inode: 0 };
            Some(match what {
                0 => Record::Alias(AliasRecord {
                    name,
                    digest: digest(of),
                    size_bytes: 1,
                    hardlinked: false,
                    executable: false,
                    mtime_ns: 0,
                    replaces: self.names.insert(which, of).map(meant),
                    added: Moment::default(),
                }),
                1 => {
                    let was = meant(self.names.remove(&which)?);
                    Record::Unalias(UnaliasRecord { name, was, rule: "rm".to_owned(), when: Moment::default() })
                }
                2 => {
                    let was = self.variants.insert((entry, variant), of).map(digest);
                    let variant = Variant { digest: Some(digest(of)), ..Variant::new(variant.to_string(), 0) };
                    Record::Variant(Box::new(VariantRecord { entry: entry_id, variant, was }))
                }
                3 => {
                    let was = self.variants.remove(&(entry, variant)).map(digest);
                    let removed = VariantRemovedRecord { entry: entry_id, name: variant.to_string(), was };
                    Record::VariantRemoved(removed)
                }
                4 => {
                    self.pins.insert(of);
                    Record::Pin(PinRecord { digest: digest(of), note: String::new(), since: Moment::default() })
                }
                _ => {
                    self.pins.remove(&of);
                    Record::Unpin(digest(of))
                }
            })
        }

        fn rooted(&self) -> HashSet<Digest> {
            let all = self.names.values().chain(self.variants.values()).chain(&self.pins);
            all.map(|number| digest(*number)).collect()
        }
    }

    proptest! {
        /// However many candidates are proved at once.
        #[test]
        fn frames_show_the_roots_that_there_are(
            steps in proptest::collection::vec((0u8..6, 0u8..4, 0u8..4), 0..60),
            at_once in 1usize..5,
        ) {
            let (mut kept, world) = (Kept::default(), World::new(1));
            let store = Fixture::new(world.process("a"), Path::new("/s"));
            let records: Vec<Record> = steps.into_iter().filter_map(|(what, which, of)| kept.record(what, which, of)).collect();
            for frame in records.chunks(7) {
                store.ledger.hold(|hold| hold.commit(frame)).unwrap();
            }
            let candidates: Vec<Digest> = (0..3).map(digest).collect();
            let shown = roots_of_parts(&store.ledger, candidates.chunks(at_once)).unwrap();
            let mut rooted = kept.rooted();
            rooted.retain(|digest| candidates.contains(digest));
            prop_assert_eq!(shown, rooted);
        }
    }
}
