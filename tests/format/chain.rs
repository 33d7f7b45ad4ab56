//! The rules by which segments are one journal (`docs/format.md`, "The chain"), on the frozen store of format 1 with one
//! thing changed in it at a time.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use larder::format::frame::Frame;
use larder::format::header::Header;
use larder::format::hint;
use larder::format::layout::{DIRECTORIES, Layout};
use larder::format::record::{self, Record};
use larder::format::settings::Durability;
use larder::ledger::{Engine, Ledger, Policy, Tables};
use larder::machine::Machine;
use larder::machine::simulated::World;
use larder::parts::journal::Journal;
use larder::parts::journal::chain::Reading;
use larder::{ErrorKind, Name};

const STORE: [u8; 16] = *b"a frozen store!!";
const BASE: &str = "0000000000000003-";
const FOURTH: &str = "0000000000000004-";
const NINTH: &str = "0000000000000009-";

/// The frozen store, on a disk where it can be changed.
struct Changed {
    world: World,
}

impl Changed {
    fn new() -> Self {
        crate::kit::plant();
        let world = World::new(1);
        for directory in DIRECTORIES {
            world.put_dir(Path::new("/store").join(directory));
        }
        let frozen = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/frozen/format-1");
        for file in fs::read_dir(frozen.join("journal")).unwrap() {
            let file = file.unwrap().path();
            world.put(Path::new("/store/journal").join(file.file_name().unwrap()), &fs::read(&file).unwrap());
        }
        world.put("/store/lock", &[]);
        world.put("/store/compaction", &[]);
        Changed { world }
    }

    fn path(&self, part: &str) -> PathBuf {
        let paths = self.world.tree().into_keys();
        paths.into_iter().find(|path| path.to_str().unwrap().contains(part)).expect("it is there")
    }

    fn bytes(&self, part: &str) -> Vec<u8> {
        self.world.read(self.path(part)).unwrap()
    }

    fn edit(&self, part: &str, change: impl FnOnce(&mut Vec<u8>)) -> &Self {
        let mut bytes = self.bytes(part);
        change(&mut bytes);
        self.world.put(self.path(part), &bytes);
        self
    }

    fn remove(&self, part: &str) -> &Self {
        self.world.process("remover").unlink(&self.path(part)).unwrap();
        self
    }

    fn read(&self, synced: u64) -> (Vec<u64>, Reading) {
        let journal = Journal::new(self.world.process("reader"), "/store/journal".into(), STORE);
        let mut read = Vec::new();
        let reading = journal.read_all(synced, &mut |frame, _, place| {
            if !place.base {
                read.push(frame.sequence);
            }
            Ok(())
        });
        (read, reading.unwrap())
    }

    /// The stretches that are damaged.
    fn damage(&self, synced: u64) -> Vec<(u64, u64)> {
        self.read(synced).1.damage.iter().map(|damage| (damage.from, damage.to)).collect()
    }

    fn open(&self) -> Ledger {
        let policy = Policy {
            store: STORE,
            durability: Durability::Batch,
            blob_mode: 0o444,
            directory_mode: 0o755,
            syncfs: true,
            lock_timeout: Duration::ZERO,
            writable: true,
            engine: Engine::Embedded,
        };
        Ledger::open(self.world.process("holder"), Layout::new("/store"), policy).unwrap()
    }

    fn quarantined(&self) -> Vec<(String, Vec<u8>)> {
        let paths = self.world.tree().into_keys().filter(|path| path.parent() == Some(Path::new("/store/quarantine")));
        let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
        paths.map(|path| (name(&path), self.world.read(&path).unwrap())).collect()
    }
}

#[test]
fn frames_beyond_what_a_successor_follows_are_not_journal() {
    let store = Changed::new();
    let (read, reading) = store.read(0);
    assert_eq!(read, [4, 5, 6, 7, 9]);
    assert_eq!(reading.damage, []);
    // Without the successor, the frame that it had left behind is the end again.
    assert_eq!(store.remove(NINTH).read(0).0, [4, 5, 6, 7, 8]);
}

#[test]
fn zeros_behind_the_last_frame_are_a_clean_end() {
    let store = Changed::new();
    store.edit(NINTH, |bytes| bytes.resize(5000, 0));
    let (read, reading) = store.read(0);
    assert_eq!((read.len(), reading.torn, reading.damage.len()), (5, None, 0));
}

#[test]
fn a_bad_end_is_torn_until_it_was_synced() {
    let store = Changed::new();
    store.edit(NINTH, |bytes| bytes.truncate(300));
    let (_, reading) = store.read(7);
    let torn = reading.torn.unwrap();
    assert_eq!((torn.offset, torn.segment.starts_with(NINTH), reading.damage), (160, true, vec![]));
    assert_eq!(store.damage(9), [(8, 9)], "it was synced, so it is damage");
    assert_eq!(store.read(9).1.torn, None);
}

#[test]
fn a_bad_frame_with_a_good_one_behind_it_is_damage_and_the_good_one_is_read() {
    let store = Changed::new();
    // Offset 552 is that of frame 5.
    store.edit(FOURTH, |bytes| bytes[552 + 96] ^= 1);
    let (read, reading) = store.read(0);
    assert_eq!(read, [4, 6, 7, 9]);
    assert_eq!(reading.damage.iter().map(|d| (d.from, d.to)).collect::<Vec<_>>(), [(5, 5)]);
    assert_eq!(reading.torn, None);
}

#[test]
fn a_missing_segment_and_a_bad_header_are_damage() {
    assert_eq!(Changed::new().remove(FOURTH).damage(0), [(4, 7)]);
    let store = Changed::new();
    store.edit(FOURTH, |bytes| bytes[40] ^= 1);
    let (read, reading) = store.read(0);
    assert_eq!(read, [9]);
    assert!(reading.damage.iter().any(|damage| (damage.from, damage.to) == (4, 7)), "{:?}", reading.damage);
}

#[test]
fn a_segment_of_another_store_is_not_taken_for_this_ones() {
    let store = Changed::new();
    let other = Header { store: [1; 16], ..Header::decode(&store.bytes(NINTH)).unwrap() };
    store.edit(NINTH, |bytes| bytes[..160].copy_from_slice(&other.encode()));
    assert_ne!(store.damage(0), []);
    assert_eq!(store.read(0).0, [4, 5, 6, 7, 8], "its frames are not taken for those of this store");
}

#[test]
fn a_base_without_its_closing_frame_is_no_base() {
    let store = Changed::new();
    store.edit(BASE, |bytes| bytes.truncate(560));
    let (read, reading) = store.read(0);
    assert_eq!(read, [4, 5, 6, 7, 9]);
    assert_eq!(reading.damage.iter().map(|d| (d.from, d.to)).collect::<Vec<_>>(), [(1, 3)], "there is no older one");
}

#[test]
fn names_that_are_no_segments_have_no_meaning() {
    let store = Changed::new();
    let base = store.bytes(BASE);
    for name in ["0000000000000008-0000000000000000.base.new", "8-0.base", "0000000000000008-000000000000000G.log", "x"]
    {
        store.world.put(Path::new("/store/journal").join(name), &base);
    }
    assert_eq!(store.read(0).0, [4, 5, 6, 7, 9]);
}

#[test]
fn of_two_segments_with_one_number_the_one_made_later_is_the_later() {
    let store = Changed::new();
    // What whoever cannot sync frame 9 again makes: a segment with the same first number and the frame at its head.
    let bytes = store.bytes(NINTH);
    let mut header = Header::decode(&bytes).unwrap();
    let (frame, _) = Frame::decode(&bytes[160..], &header.key(), 160).unwrap();
    (header.follows, header.follows_hash) = (8, frame.previous);
    header.salt[..4].copy_from_slice(&3u32.to_be_bytes());
    header.follows = 7;
    let name = |h: &Header| {
        let salt = u64::from_be_bytes(h.salt[..8].try_into().unwrap());
        format!("/store/journal/{:016x}-{salt:016x}.log", h.first)
    };
    let (copied, hash) = frame.encode(&header.key(), 160);
    let next = Frame {
        sequence: 10,
        synced_through: 9,
        time_ns: frame.time_ns + 1,
        previous: hash,
        payload: record::encode(&[Record::NameMended(Name::new("c/ü").unwrap())]),
    };
    let (next, _) = next.encode(&header.key(), 160 + copied.len() as u64);
    store.world.put(name(&header), &[&header.encode()[..], &copied, &next].concat());
    let (read, reading) = store.read(0);
    assert_eq!(read, [4, 5, 6, 7, 9, 10]);
    assert_eq!(reading.damage, []);
}

#[test]
fn whoever_holds_the_lock_cuts_a_torn_end_and_keeps_it_in_quarantine() {
    let store = Changed::new();
    store.edit(NINTH, |bytes| bytes.extend_from_slice(b"LFr1 and then the power went"));
    let ledger = store.open();
    assert_eq!(store.bytes(NINTH).len(), 420, "opening changes nothing");
    ledger.hold(|_| Ok(())).unwrap();
    assert_eq!(store.bytes(NINTH).len(), 392);
    let kept = store.quarantined();
    assert_eq!(kept.len(), 1);
    let segment = store.path(NINTH);
    let prefix = format!("torn-{}-392-", segment.file_name().unwrap().to_str().unwrap());
    assert!(kept[0].0.strip_prefix(&prefix).is_some_and(|random| random.len() == 16), "{}", kept[0].0);
    assert_eq!(kept[0].1, b"LFr1 and then the power went");
}

#[test]
fn whoever_holds_the_lock_fences_damage_in_a_segment_that_follows_what_was_synced() {
    let store = Changed::new();
    store.edit(FOURTH, |bytes| bytes[552 + 96] ^= 1);
    let ledger = store.open();
    assert!(!ledger.snapshot().unwrap().is_fenced().unwrap(), "a reader judges nothing");
    ledger.hold(|_| Ok(())).unwrap();
    let snapshot = ledger.snapshot().unwrap();
    assert!(snapshot.is_fenced().unwrap());
    let (from, fence) = snapshot.all_fences().next().unwrap().unwrap();
    assert_eq!((from, fence.to), (5, 5));
    let header = Header::decode(&store.bytes("000000000000000a-")).unwrap();
    assert_eq!((header.first, header.follows), (10, 9));
    // It is put up once.
    store.open().hold(|_| Ok(())).unwrap();
    assert_eq!(store.open().snapshot().unwrap().cursor.sequence, 10);
    assert_eq!(ledger.compact().unwrap_err().kind(), ErrorKind::Refused);
}

#[test]
fn the_hint_of_what_was_synced_makes_an_early_end_damage() {
    let store = Changed::new();
    store.edit("/store/lock", |bytes| {
        bytes.resize(544, 0);
        bytes[..32].copy_from_slice(&hint::encode(12));
        bytes[512..].copy_from_slice(&hint::encode(11));
    });
    let ledger = store.open();
    ledger.hold(|_| Ok(())).unwrap();
    let snapshot = ledger.snapshot().unwrap();
    assert_eq!(
        snapshot.all_fences().map(|fence| fence.map(|(from, f)| (from, f.to)).unwrap()).collect::<Vec<_>>(),
        [(10, 11)]
    );
    assert_eq!(snapshot.cursor.sequence, 13, "numbers that may have been used are not used again");
}

#[test]
fn the_next_holder_moves_the_hints_on() {
    let store = Changed::new();
    store.open().hold(|_| Ok(())).unwrap();
    let lock = store.bytes("/store/lock");
    assert_eq!(hint::decode(&lock[512..]), Ok(9), "the frame 9 was written again and synced");
}

#[test]
fn journal_time_never_goes_back_and_one_step_at_most_a_day() {
    let store = Changed::new();
    let ledger = Arc::new(store.open());
    let last = ledger.snapshot().unwrap().cursor.time_ns;
    let day = 86_400_000_000_000;
    for (clock, expected) in [(last - day, last), (last + 5, last + 5), (last + 3 * day, last + 5 + day)] {
        store.world.set_clock_ns(clock);
        let name = Name::new("c/ü").unwrap();
        ledger.hold(|hold| hold.commit(&[Record::NameMended(name)])).unwrap();
        let now = ledger.snapshot().unwrap().cursor.time_ns;
        assert!((expected..expected + 1_000_000).contains(&now), "{now} where {expected} was expected");
    }
}

/// A reserved field that is not zero, under a checksum that is right, is of a later program: it is neither damage nor cut.
#[test]
fn what_a_later_program_put_into_reserved_fields_is_left_alone() {
    for at in [9, 15, 96, 143] {
        let store = Changed::new();
        store.edit(NINTH, |bytes| {
            bytes[at] = 1;
            let sum = blake3::hash(&bytes[..144]);
            bytes[144..160].copy_from_slice(&sum.as_bytes()[..16]);
        });
        is_left_alone(&store, &format!("byte {at} of a header"));
    }
    let frame_bytes = Changed::new().bytes(NINTH).len() - 160;
    for at in [64, 79, frame_bytes - 1] {
        let store = Changed::new();
        store.edit(NINTH, |bytes| {
            let key = Header::decode(bytes).unwrap().key();
            let frame = &mut bytes[160..];
            assert_eq!(frame[at], 0, "byte {at} is reserved");
            frame[at] = 1;
            let mut hasher = blake3::Hasher::new_keyed(&key);
            hasher.update(&160u64.to_le_bytes()).update(&frame[..80]).update(&frame[96..]);
            let hash = hasher.finalize();
            frame[80..96].copy_from_slice(&hash.as_bytes()[..16]);
        });
        is_left_alone(&store, &format!("byte {at} of a frame"));
    }
}

fn is_left_alone(store: &Changed, what: &str) {
    let before = store.bytes(NINTH);
    let layout = Layout::new("/store");
    let policy = Changed::new().open().policy.clone();
    let opened = Ledger::open(store.world.process("holder"), layout, policy);
    let refused = opened.and_then(|ledger| ledger.hold(|_| Ok(())));
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Unsupported, "{what}");
    assert_eq!(store.bytes(NINTH), before, "{what}");
    assert_eq!(store.quarantined(), []);
}

#[test]
fn a_base_whose_count_of_records_is_wrong_is_not_whole() {
    let store = Changed::new();
    assert_eq!(store.damage(0), []);
    store.edit(BASE, |bytes| {
        let key = Header::decode(bytes).unwrap().key();
        let (mut at, mut last) = (160, None);
        while let Ok((frame, _)) = Frame::decode(&bytes[at..], &key, at as u64) {
            last = Some((at, frame));
            at += Frame::claim(&bytes[at..]).unwrap().frame_bytes;
        }
        let (at, mut frame) = last.unwrap();
        let mut records = record::decode(&frame.payload).unwrap();
        let [Record::End(end)] = &mut records[..] else { panic!("{records:?}") };
        end.records += 1;
        frame.payload = record::encode(&records);
        bytes.truncate(at);
        bytes.extend(frame.encode(&key, at as u64).0);
    });
    assert_eq!(store.damage(0), [(1, 3)]);
}

#[test]
fn every_flipped_byte_of_a_header_is_noticed() {
    for at in (0..160).filter(|at| !(9..16).contains(at) && !(96..144).contains(at)) {
        let store = Changed::new();
        store.edit(NINTH, |bytes| bytes[at] ^= 1);
        assert_ne!(store.damage(0), [], "byte {at}");
    }
}

/// The frame that a dead branch would have in its place is whole by itself, and follows another one.
#[test]
fn a_frame_that_follows_another_one_is_damage() {
    let store = Changed::new();
    store.edit(NINTH, |bytes| {
        let key = Header::decode(bytes).unwrap().key();
        let (mut frame, _) = Frame::decode(&bytes[160..], &key, 160).unwrap();
        frame.previous[0] ^= 1;
        bytes.truncate(160);
        bytes.extend(frame.encode(&key, 160).0);
    });
    assert_eq!(store.damage(0), [(9, 9)]);
}

/// A torn hint would make an end that is whole look as if frames were missing behind it.
#[test]
fn a_torn_hint_is_not_believed() {
    let store = Changed::new();
    let mut torn = hint::encode(9).to_vec();
    torn[0] = 99;
    store.world.put("/store/lock", &[&vec![0; 512][..], &torn].concat());
    let ledger = store.open();
    ledger.hold(|_| Ok(())).unwrap();
    assert_eq!(ledger.snapshot().unwrap().all_fences().count(), 0);
}
