//! The tail of the journal as it was read, before its rows are put in order.
//!
//! A process that starts to look one name up would put all rows of the tail in order for it, which takes longer than
//! everything else that it does. A record has the digest or the name that it is about in it byte for byte, so whether any is
//! about a key is seen by a search through bytes.

use std::sync::atomic::{AtomicUsize, Ordering};

use memchr::memmem;

use super::replay::apply;
use crate::format::frame::Frame;
use crate::format::record::{self, Record};
use crate::format::table;
use crate::parts::index::{Asked, Overlay, Unsorted, View};
use crate::vocabulary::limits::TAIL_MAX_RECORDS;

/// Searches through the bytes that take about as long as putting all in order.
const SEARCHES: usize = 32;

/// Frames with the bytes that are looked for, at most: their records are read again.
const FRAMES: usize = 16;

/// Frames of the tail as they are encoded. Their records were read once: none of them is malformed.
#[derive(Default)]
struct Tail {
    /// The payloads of all frames, one after the other.
    bytes: Vec<u8>,
    frames: Vec<Encoded>,
    /// The tables that any of the frames may change.
    tables: u32,
    records: usize,
    searches: AtomicUsize,
}

/// One frame of the tail.
struct Encoded {
    /// Where its payload ends.
    end: usize,
    /// The tables that it may change.
    tables: u32,
}

/// A view while frames are read over it: what lies over nothing but runs is not put in order yet, unless it is much.
pub(super) struct Over {
    view: View,
    unsorted: Option<Tail>,
}

impl Over {
    /// Over this view.
    pub(super) fn of(view: View) -> Self {
        Over { unsorted: view.is_runs_alone().then(Tail::default), view }
    }

    /// Takes one more frame, whose records these are.
    pub(super) fn push(&mut self, frame: &Frame, records: &[Record]) {
        if let Some(tail) = self.unsorted.as_mut().filter(|tail| tail.records + records.len() <= TAIL_MAX_RECORDS) {
            return tail.push(frame, records);
        }
        if let Some(tail) = self.unsorted.take() {
            tail.apply(&mut self.view);
        }
        apply(&mut self.view, records);
    }

    /// The view with all of them.
    pub(super) fn view(self) -> View {
        match self.unsorted.filter(|tail| tail.records > 0) {
            Some(tail) => self.view.with_unsorted(Box::new(tail)),
            None => self.view,
        }
    }
}

impl Tail {
    fn push(&mut self, frame: &Frame, records: &[Record]) {
        self.bytes.extend_from_slice(&frame.payload);
        let tables = records.iter().fold(0, |tables, record| tables | table::touched(record));
        self.frames.push(Encoded { end: self.bytes.len(), tables });
        self.tables |= tables;
        self.records += records.len();
    }

    fn apply(&self, view: &mut View) {
        let all: Vec<Record> = (0..self.frames.len()).flat_map(|frame| self.records_of(frame)).collect();
        apply(view, &all);
    }

    /// The bit of the table of a key; none where the key has none.
    fn bit(key: &[u8]) -> u32 {
        key.first().map_or(0, |table| 1_u32.checked_shl((*table).into()).unwrap_or(0))
    }

    /// The frames that have `sought` in them, in order; `None` where they are too many.
    fn frames_with(&self, sought: &[u8]) -> Option<Vec<usize>> {
        let (mut frames, mut from) = (Vec::new(), 0);
        while let Some(at) = memmem::find(&self.bytes[from..], sought) {
            let frame = self.frames.partition_point(|frame| frame.end <= from + at);
            if frames.len() == FRAMES {
                return None;
            }
            frames.push(frame);
            // What is found next begins in a later frame: bytes of two may have looked like what is sought.
            from = self.frames[frame].end;
        }
        Some(frames)
    }

    fn records_of(&self, frame: usize) -> Vec<Record> {
        let from = frame.checked_sub(1).map_or(0, |before| self.frames[before].end);
        record::decode(&self.bytes[from..self.frames[frame].end]).expect("it was read before")
    }
}

impl Unsorted for Tail {
    fn get(&self, key: &[u8]) -> Asked {
        let bit = Self::bit(key);
        if self.tables & bit == 0 {
            return Asked::Row(None);
        }
        let sought = table::verbatim(key).filter(|sought| !sought.is_empty());
        let Some(sought) = sought.filter(|_| self.searches.fetch_add(1, Ordering::Relaxed) < SEARCHES) else {
            return Asked::Sort;
        };
        let Some(frames) = self.frames_with(sought) else { return Asked::Sort };
        let mut found = None;
        for frame in frames.into_iter().filter(|frame| self.frames[*frame].tables & bit != 0) {
            for record in self.records_of(frame) {
                table::effects(&record, |(of, value)| {
                    if of == key {
                        found = Some(value);
                    }
                });
            }
        }
        Asked::Row(found)
    }

    fn may_begin(&self, prefix: &[u8]) -> bool {
        if prefix.is_empty() {
            return true;
        }
        let sought = table::verbatim(prefix).unwrap_or_default();
        self.tables & Self::bit(prefix) != 0 && (sought.is_empty() || memmem::find(&self.bytes, sought).is_some())
    }

    fn sorted(&self) -> Overlay {
        let mut view = View::default();
        self.apply(&mut view);
        view.overlay().clone()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::format::record::tests::samples;
    use crate::format::record::{AliasRecord, BlobRecord, Moment, PinRecord, RemovedRecord, Replaced, UnaliasRecord};
    use crate::vocabulary::{Blake3, Digest, Name, Stamp};

    fn frame(records: &[Record]) -> Frame {
        let payload = record::encode(records);
        Frame { sequence: 1, synced_through: 0, time_ns: 0, previous: [0; 32], payload }
    }

    /// These records in frames of so many, unsorted and in order.
    fn both(records: &[Record], in_a_frame: usize) -> (Tail, Overlay) {
        let (mut tail, mut view) = (Tail::default(), View::default());
        for part in records.chunks(in_a_frame) {
            tail.push(&frame(part), part);
            apply(&mut view, part);
        }
        (tail, view.overlay().clone())
    }

    /// The keys of all rows that these records change, others that are nearly the same, and those of no row.
    fn keys(records: &[Record]) -> Vec<Vec<u8>> {
        let mut keys: Vec<Vec<u8>> = (0..=255).map(|table| vec![table]).collect();
        records.iter().for_each(|record| table::effects(record, |(key, _)| keys.push(key)));
        let longer = |key: &Vec<u8>| [&**key, b"z"].concat();
        keys.extend(keys.iter().map(longer).collect::<Vec<_>>());
        keys
    }

    /// How many keys were answered without putting anything in order.
    fn compare(records: &[Record], in_a_frame: usize) -> usize {
        let mut answered = 0;
        for key in keys(records) {
            let (tail, sorted) = both(records, in_a_frame);
            let expected = sorted.get(&key).map(|value| value.map(<[u8]>::to_vec));
            if let Asked::Row(found) = tail.get(&key) {
                assert_eq!(found, expected, "{key:?} of {records:?}");
                answered += 1;
            }
            if expected.is_some() {
                let begins = (0..=key.len()).all(|bytes| tail.may_begin(&key[..bytes]));
                assert!(begins, "{key:?} of {records:?}");
            }
            let (ours, theirs) = (tail.sorted(), sorted.seek(&[]));
            assert_eq!(ours.len(), sorted.len());
            assert_eq!(rows(ours.seek(&[])), rows(theirs));
        }
        answered
    }

    fn rows(mut cursor: crate::parts::index::OverlayCursor) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        use crate::parts::index::Source;
        let mut rows = Vec::new();
        while let Some(key) = cursor.key() {
            rows.push((key.to_vec(), cursor.value().map(<[u8]>::to_vec)));
            cursor.advance().unwrap();
        }
        rows
    }

    #[test]
    fn every_kind_of_record_is_found_unsorted_as_it_is_in_order() {
        let records = samples();
        let answered: usize = [1, 3, records.len()].into_iter().map(|in_a_frame| compare(&records, in_a_frame)).sum();
        assert!(answered > 3 * 256, "{answered}");
    }

    #[test]
    fn what_is_asked_for_often_is_put_in_order() {
        let (tail, _) = both(&samples(), 1);
        let key = table::Table::Alias.key(b"a/b");
        let answers: Vec<Asked> = (0..=SEARCHES).map(|_| tail.get(&key)).collect();
        assert!(matches!(answers[SEARCHES - 1], Asked::Row(Some(Some(_)))) && answers[SEARCHES] == Asked::Sort);
    }

    #[test]
    fn what_becomes_too_much_is_put_in_order_with_what_came_before() {
        let pin = |number: usize| {
            let digest = Digest::from_bytes(*blake3::hash(&number.to_le_bytes()).as_bytes());
            Record::Pin(PinRecord { digest, note: String::new(), since: Moment::default() })
        };
        for frames in [1, 2, 3] {
            let records: Vec<Record> = (0..frames * TAIL_MAX_RECORDS / 2).map(pin).collect();
            let (mut over, mut sorted) = (Over::of(View::default()), View::default());
            records.chunks(TAIL_MAX_RECORDS / 2).for_each(|part| over.push(&frame(part), part));
            apply(&mut sorted, &records);
            assert_eq!(over.unsorted.is_some(), frames < 3);
            assert_eq!(rows(over.view().overlay().seek(&[])), rows(sorted.overlay().seek(&[])));
        }
    }

    fn one((kind, digest, name): (u8, u8, usize)) -> Record {
        let digest = Digest::from_bytes([digest; 32]);
        let name = Name::new(["a", "a/b", "A", "ab", "a/b/A"][name]).unwrap();
        let moment = Moment { sequence: kind.into(), time_ns: 1 };
        let stamp = Stamp { size_bytes: 2 << 20, mtime_ns: 0, inode: 1, mode: 0o444, ctime_ns: 0 };
        let was = Replaced { digest: Digest::from_bytes([3; 32]), hardlinked: false, inode: 1 };
        match kind {
            0 => Record::Blob(BlobRecord { digest, blake3: Blake3::UNKNOWN, stamp, added: moment }),
            1 | 2 => Record::Alias(AliasRecord {
                name,
                digest,
                size_bytes: 1,
                hardlinked: false,
                executable: false,
                mtime_ns: 0,
                replaces: (kind == 2).then_some(was),
                added: moment,
            }),
            3 => Record::Unalias(UnaliasRecord {
                name,
                was: Replaced { digest, ..was },
                rule: "rm".into(),
                when: moment,
            }),
            4 => Record::Pin(PinRecord { digest, note: "a/b".into(), since: moment }),
            5 => Record::Unpin(digest),
            _ => Record::Removed(RemovedRecord { digest, size_bytes: 2 << 20, rule: "gc".into(), when: moment }),
        }
    }

    proptest! {
        #[test]
        fn the_last_record_about_a_key_is_the_one_that_is_found(
            records in prop::collection::vec((0_u8..7, 0_u8..4, 0_usize..5).prop_map(one), 1..24), in_a_frame in 1_usize..5,
        ) {
            compare(&records, in_a_frame);
        }
    }
}
