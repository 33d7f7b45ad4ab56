//! The engines of the catalog beside each other: histories of calls played into one store that both follow, and every
//! answer compared, page by page, also behind crashes, lost files and a journal that goes back.
#![cfg(feature = "sqlite")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::engines::{self, DATABASE, Obvious, Opened, Place, Questions, bare, open, same, sqlite, sqlite_without_log};
use larder::ledger::Engine;
use larder::parts::catalog::sqlite::{Place as At, Sqlite};
use larder::work::catalog::register::{IfThere, NewVariant, Registration, register_each, touch};
use larder::work::catalog::{change, remove, verify};
use larder::work::ingest::{AddOptions, Source, add};
use larder::work::names::Target;
use larder::{Digest, Entry, ErrorKind, Key, Name, Query, Silent, State};
use proptest::prelude::*;

/// The file and what SQLite keeps beside it.
fn files(database: &Path) -> [PathBuf; 4] {
    ["", "-wal", "-shm", "-journal"].map(|suffix| PathBuf::from(format!("{}{suffix}", database.display())))
}

/// The file and its log, as a process that is killed leaves them.
type Left = [Option<Vec<u8>>; 2];

fn left(database: &Path) -> Left {
    let [file, log, ..] = files(database);
    [fs::read(file).ok(), fs::read(log).ok()]
}

/// Puts these in the place of the database of a store that nobody has open.
fn put_back(database: &Path, left: &Left) {
    fs::create_dir_all(database.parent().unwrap()).unwrap();
    for path in files(database) {
        let _ = fs::remove_file(path);
    }
    for (path, bytes) in files(database).iter().zip(left) {
        if let Some(bytes) = bytes {
            fs::write(path, bytes).unwrap();
        }
    }
}

/// What a power cut may take back: the records, but not the database.
fn copy_records(from: &Path, to: &Path) {
    for part in ["journal", "index"] {
        let _ = fs::remove_dir_all(to.join(part));
        fs::create_dir_all(to.join(part)).unwrap();
        for entry in fs::read_dir(from.join(part)).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), to.join(part).join(entry.file_name())).unwrap();
        }
    }
    fs::write(to.join("lock"), fs::read(from.join("lock")).unwrap()).unwrap();
}

#[derive(Clone, Debug)]
enum Step {
    Register {
        who: usize,
        tags: Vec<usize>,
        blobs: Vec<usize>,
        merge: bool,
    },
    Tag {
        who: usize,
        add: usize,
        remove: usize,
    },
    Note {
        who: usize,
        word: usize,
    },
    Describe {
        who: usize,
        word: usize,
        there: bool,
    },
    State {
        who: usize,
        to: usize,
    },
    Touch {
        who: usize,
    },
    Verify {
        who: usize,
    },
    Remove {
        who: usize,
    },
    Trash {
        who: usize,
        back: bool,
    },
    /// By the handle that SQLite follows, or by another one, as another process would.
    Otherwise,
    Compare,
    Reopen,
    Compact,
    Rebuild,
    /// The process is killed, and of SQLite's log so many parts of 256 are left.
    Kill {
        log: u8,
    },
    Save,
    /// The database that was saved comes back.
    Older,
    /// The records that were saved come back, and the database stays.
    PowerCut,
    Delete,
    OfAnotherStore,
    Garbage,
}

const WORDS: [&str; 6] = ["a", "Ä", "b c", "🦀", "x%_", "O'Neill"];

fn key(who: usize) -> Key {
    match who % 2 {
        0 => Key::model("hf", WORDS[who % WORDS.len()], ["", "v1"][who / 4 % 2]).unwrap(),
        _ => Key::document(WORDS[who % WORDS.len()], "https://example.org/a", ["", "web"][who / 4 % 2]).unwrap(),
    }
}

fn steps() -> impl Strategy<Value = Step> {
    let who = || 0..8_usize;
    let word = || 0..WORDS.len();
    let register =
        (who(), proptest::collection::vec(word(), 0..3), proptest::collection::vec(0..3_usize, 0..3), any::<bool>());
    prop_oneof![
        6 => register.prop_map(|(who, tags, blobs, merge)| Step::Register { who, tags, blobs, merge }),
        3 => (who(), word(), word()).prop_map(|(who, add, remove)| Step::Tag { who, add, remove }),
        1 => (who(), word()).prop_map(|(who, word)| Step::Note { who, word }),
        1 => (who(), word(), any::<bool>()).prop_map(|(who, word, there)| Step::Describe { who, word, there }),
        1 => (who(), 0..4_usize).prop_map(|(who, to)| Step::State { who, to }),
        1 => who().prop_map(|who| Step::Touch { who }),
        1 => who().prop_map(|who| Step::Verify { who }),
        2 => who().prop_map(|who| Step::Remove { who }),
        2 => (who(), any::<bool>()).prop_map(|(who, back)| Step::Trash { who, back }),
        1 => Just(Step::Otherwise),
        4 => Just(Step::Compare),
        1 => Just(Step::Reopen),
        1 => Just(Step::Compact),
        1 => Just(Step::Rebuild),
        2 => any::<u8>().prop_map(|log| Step::Kill { log }),
        2 => Just(Step::Save),
        1 => Just(Step::Older),
        2 => Just(Step::PowerCut),
        1 => Just(Step::Delete),
        1 => Just(Step::OfAnotherStore),
        1 => Just(Step::Garbage),
    ]
}

/// A store with a few blobs, the handles that are open, and what was saved.
struct Play {
    place: Place,
    engine: Engine,
    follows: Option<Opened>,
    beside: Option<Opened>,
    otherwise: bool,
    blobs: Vec<Digest>,
    saved: Option<(tempfile::TempDir, Left)>,
    foreign: Left,
}

impl Play {
    fn new(engine: Engine) -> Self {
        let foreign = {
            let place = Place::new();
            let store = place.open(sqlite());
            store.put(vec![bare(key(0)), bare(key(3))]);
            store.catalog();
            drop(store);
            left(&place.database())
        };
        let mut play = Play {
            place: Place::new(),
            engine,
            follows: None,
            beside: None,
            otherwise: false,
            blobs: Vec::new(),
            saved: None,
            foreign,
        };
        play.open();
        for byte in 0..3_u8 {
            let path = play.place.store().with_extension(format!("blob-{byte}"));
            fs::write(&path, [byte; 10]).unwrap();
            let options =
                AddOptions { name: Some(Name::new(format!("blob-{byte}")).unwrap()), ..AddOptions::default() };
            add(&play.store().ctx(), &[Source { path }], &options, &Silent).unwrap();
            play.blobs.push(larder::hashing::Digests::of(&[byte; 10]).digest);
        }
        play
    }

    fn open(&mut self) {
        self.follows = Some(self.place.open(self.engine.clone()));
        self.beside = Some(self.place.open(Engine::Embedded));
    }

    fn close(&mut self) {
        (self.follows, self.beside) = (None, None);
    }

    fn store(&self) -> &Opened {
        if self.otherwise { self.beside.as_ref().unwrap() } else { self.follows.as_ref().unwrap() }
    }

    fn compare(&self, what: &str) {
        let embedded = self.beside.as_ref().unwrap().ledger.embedded_catalog().unwrap();
        let mut entries = embedded.page(&Query::default(), None, 100).unwrap();
        entries.extend(embedded.page(&Query { trashed: true, ..Query::default() }, None, 100).unwrap());
        let mut questions = Questions::about(&entries);
        questions.keys.extend((0..8).map(key));
        questions.digests.extend(&self.blobs);
        questions.queries.extend(WORDS.map(|word| Query { tags: vec![word.into()], ..Query::default() }));
        same(what, embedded.as_ref(), self.follows.as_ref().unwrap().catalog().as_ref(), &questions);
    }

    fn play(&mut self, step: &Step) {
        match step {
            Step::Register { .. }
            | Step::Tag { .. }
            | Step::Note { .. }
            | Step::Describe { .. }
            | Step::State { .. }
            | Step::Touch { .. }
            | Step::Verify { .. }
            | Step::Remove { .. }
            | Step::Trash { .. } => self.call(step),
            Step::Otherwise => self.otherwise = !self.otherwise,
            Step::Compare => self.compare("on the way"),
            Step::Compact => drop(self.store().ledger.compact().unwrap()),
            Step::Rebuild => drop(self.store().ledger.rebuild().unwrap()),
            trouble => self.trouble(trouble),
        }
    }

    /// One call of the catalog; that it is refused is as good an answer as any.
    fn call(&self, step: &Step) {
        let ctx = self.store().ctx();
        let refused = match step {
            Step::Register { who, tags, blobs, merge } => {
                let what = self.registration(*who, tags, blobs);
                let if_there = if *merge { IfThere::Merge } else { IfThere::Refuse };
                register_each(&ctx, vec![what], if_there).unwrap().remove(0).map(drop)
            }
            Step::Tag { who, add, remove } => {
                let word = |at: &usize| BTreeSet::from([WORDS[*at].to_owned()]);
                change::tag(&ctx, &key(*who), word(add), word(remove)).map(drop)
            }
            Step::Note { who, word } => change::note(&ctx, &key(*who), WORDS[*word].into()).map(drop),
            Step::Describe { who, word, there } => {
                let value = there.then(|| "value".to_owned());
                change::describe(&ctx, &key(*who), BTreeMap::from([(WORDS[*word].to_owned(), value)])).map(drop)
            }
            Step::State { who, to } => change::set_state(&ctx, &key(*who), State::ALL[*to]).map(drop),
            Step::Touch { who } => touch(&ctx, &key(*who)).map(drop),
            Step::Verify { who } => verify::verify(&ctx, &key(*who), None, None, "test", &Silent).map(drop),
            Step::Remove { who } => remove::remove(&ctx, &key(*who)).map(drop),
            Step::Trash { who, back } => {
                self.trash(&key(*who), *back);
                Ok(())
            }
            _ => unreachable!("the others are no calls"),
        };
        if let Err(e) = refused {
            let kinds = [ErrorKind::NotFound, ErrorKind::Taken, ErrorKind::IllegalTransition, ErrorKind::Invalid];
            assert!(kinds.contains(&e.kind()), "{step:?}: {e}");
        }
    }

    fn registration(&self, who: usize, tags: &[usize], blobs: &[usize]) -> Registration {
        let mut what = Registration::new(key(who));
        what.tags = tags.iter().map(|tag| WORDS[*tag].to_owned()).collect();
        what.run = WORDS[who % 3].into();
        what.notes = format!("of {who}");
        let names: BTreeSet<usize> = blobs.iter().copied().collect();
        what.variants = names
            .into_iter()
            .map(|blob| NewVariant {
                name: WORDS[blob].into(),
                target: Some(Target::Digest(self.blobs[(blob + who) % 3])),
                expected: who.is_multiple_of(3).then(|| self.blobs[blob]),
                ..NewVariant::default()
            })
            .collect();
        what
    }

    fn trash(&self, key: &Key, back: bool) {
        let store = self.store();
        let Some(entry) = store.ledger.embedded_catalog().unwrap().entry(key).unwrap() else { return };
        store.put(vec![Entry { trashed_ns: (!back).then_some(9), ..entry }]);
    }

    fn trouble(&mut self, step: &Step) {
        let database = self.place.database();
        let now = left(&database);
        let saves = matches!(step, Step::Save);
        if saves {
            let copy = tempfile::tempdir().unwrap();
            copy_records(&self.place.store(), copy.path());
            self.saved = Some((copy, now));
            return;
        }
        self.close();
        match (step, &self.saved) {
            (Step::Reopen, _) => {}
            (Step::Kill { log }, _) => {
                let [file, whole] = now;
                let cut = whole.map(|whole| whole[..whole.len() * usize::from(*log) / 255].to_vec());
                put_back(&database, &[file, cut]);
            }
            (Step::Older, Some((_, older))) => put_back(&database, older),
            (Step::PowerCut, Some((records, _))) => copy_records(records.path(), &self.place.store()),
            (Step::Delete, _) => put_back(&database, &[None, None]),
            (Step::OfAnotherStore, _) => put_back(&database, &self.foreign),
            (Step::Garbage, _) => put_back(&database, &[Some(vec![0x5a; 5000]), None]),
            _ => {}
        }
        self.open();
        self.compare(&format!("behind {step:?}"));
    }
}

fn play(engine: Engine, history: &[Step]) {
    let mut play = Play::new(engine);
    for step in history {
        play.play(step);
    }
    play.compare("at the end");
    play.close();
    play.open();
    play.compare("opened again");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn both_engines_give_the_same_answers_whatever_happens(
        history in proptest::collection::vec(steps(), 1..30),
        log in any::<bool>(),
    ) {
        play(if log { sqlite() } else { sqlite_without_log() }, &history);
    }
}

/// The database alone, without the journal that it follows.
fn alone(root: &Path) -> Sqlite {
    let at = At {
        root: root.to_owned(),
        path: root.join(DATABASE),
        mode: 0o644,
        directory_mode: 0o755,
        wal: true,
        wait: Duration::from_secs(5),
    };
    Sqlite::new(engines::machine(), at)
}

/// Plays a few changes, and says what the catalog was behind each frame, and what is left of the database at the end when
/// the process is killed.
fn frames_of(place: &Place) -> (BTreeMap<u64, Obvious>, Left) {
    let store = place.open(sqlite());
    store.catalog();
    let mut states = BTreeMap::new();
    let mut now = Obvious::default();
    let reached = |store: &Opened| store.ledger.known().cursor.sequence;
    states.insert(reached(&store), now.clone());
    for i in 0..12_usize {
        let mut entry = bare(key(i % 5));
        entry.card.title = format!("{i}");
        entry.card.notes = "n".repeat(3000 * (i % 3));
        entry.card.tags = BTreeSet::from([WORDS[i % 4].to_owned(), "all".to_owned()]);
        entry.variants = (0..i % 3).map(|v| larder::Variant::new(format!("{v}"), i as u64)).collect();
        store.put(vec![entry.clone()]);
        now.0.insert(entry.card.key.clone(), entry);
        states.insert(reached(&store), now.clone());
    }
    let left = left(&place.database());
    (states, left)
}

#[test]
fn whatever_of_the_log_is_lost_what_is_left_is_of_one_frame() {
    let place = Place::new();
    let (states, [file, log]) = frames_of(&place);
    let (file, log) = (file.unwrap(), log.unwrap());
    let questions = Questions::about(&states.values().last().unwrap().0.values().cloned().collect::<Vec<_>>());
    let mut seen = BTreeSet::new();
    // The log is a header of 32 bytes, then pages of 4096 with 24 bytes before each.
    for cut in (32..=log.len()).step_by(24 + 4096) {
        let copy = tempfile::tempdir().unwrap();
        put_back(&copy.path().join(DATABASE), &[Some(file.clone()), Some(log[..cut].to_vec())]);
        let database = alone(copy.path());
        let Some(reached) = database.reached().unwrap() else { continue };
        let sequence = reached.reach.sequence;
        let right = states.get(&sequence).unwrap_or_else(|| panic!("there is no frame {sequence}"));
        same(&format!("{cut} bytes of the log"), right, &database.view().unwrap(), &questions);
        seen.insert(sequence);
    }
    assert!(seen.len() > 8, "only {} frames were seen: {seen:?}", seen.len());
}

#[test]
fn frames_that_a_power_cut_took_are_taken_back_from_the_database() {
    let place = Place::new();
    let store = place.open(sqlite());
    store.put(vec![bare(key(0))]);
    let saved = tempfile::tempdir().unwrap();
    copy_records(&place.store(), saved.path());
    let lost = |title: &str| {
        let mut entry = bare(key(1));
        entry.card.title = title.into();
        entry
    };
    store.put(vec![lost("never synced")]);
    store.put(vec![bare(key(2))]);
    assert_eq!(store.catalog().totals().unwrap().documents, 1);
    drop(store);
    copy_records(saved.path(), &place.store());
    // The journal goes on otherwise, past the number that the database reaches.
    let other = place.open(Engine::Embedded);
    for i in 3..6 {
        other.put(vec![bare(key(i))]);
    }
    let right = other.ledger.embedded_catalog().unwrap();
    let entries = right.page(&Query::default(), None, 100).unwrap();
    assert_eq!(entries.len(), 4);
    let questions = Questions::about(&[entries, vec![lost("never synced"), bare(key(2))]].concat());
    same("behind a power cut", right.as_ref(), place.open(sqlite()).catalog().as_ref(), &questions);
}

#[test]
fn a_transaction_that_was_broken_off_leaves_what_there_was() {
    let place = Place::new();
    let (states, _) = frames_of(&place);
    let (sequence, right) = states.last_key_value().unwrap();
    let questions = Questions::about(&right.0.values().cloned().collect::<Vec<_>>());
    let database = alone(&place.store());
    let mut write = database.write().unwrap();
    write.clear().unwrap();
    // More than it holds in memory: some of it is in the log already.
    for i in 0..6000 {
        let mut entry = bare(Key::model("hf", &format!("{i}"), "").unwrap());
        entry.card.notes = "n".repeat(3000);
        let record = larder::format::record::entry::EntryRecord { card: entry.card, dropped: Vec::new() };
        write.apply(&larder::format::record::Record::Entry(Box::new(record))).unwrap();
    }
    let killed = left(&place.database());
    assert!(killed[1].as_ref().unwrap().len() > 1 << 20, "nothing of it is in the log");
    let copy = tempfile::tempdir().unwrap();
    put_back(&copy.path().join(DATABASE), &killed);
    let after = alone(copy.path());
    assert_eq!(after.reached().unwrap().unwrap().reach.sequence, *sequence);
    same("killed half way", right, &after.view().unwrap(), &questions);
    drop(write);
    same("given up half way", right, &database.view().unwrap(), &questions);
}

#[test]
fn a_file_that_goes_while_it_is_open_is_made_anew() {
    let place = Place::new();
    let store = place.open(sqlite());
    store.put(vec![bare(key(0))]);
    put_back(&place.database(), &[None, None]);
    store.put(vec![bare(key(1))]);
    assert!(place.database().exists());
    let found = store.catalog().page(&Query::default(), None, 10).unwrap();
    assert_eq!(found.len(), 2);
}

#[test]
fn a_database_that_is_none_is_kept_and_made_anew() {
    let place = Place::new();
    fs::create_dir_all(place.database().parent().unwrap()).unwrap();
    fs::write(place.database(), b"somebody's notes, and no database at all").unwrap();
    let store = place.open(sqlite());
    store.put(vec![bare(key(0))]);
    assert_eq!(store.catalog().totals().unwrap().models, 1);
    let kept: Vec<Vec<u8>> = fs::read_dir(place.store().join("quarantine"))
        .unwrap()
        .map(|entry| fs::read(entry.unwrap().path()).unwrap())
        .collect();
    assert!(kept.iter().any(|bytes| bytes.starts_with(b"somebody's notes")), "{} files", kept.len());
}

#[test]
fn the_database_is_as_readable_as_the_store_and_no_link_is_followed() {
    use std::os::unix::fs::{MetadataExt, symlink};
    let place = Place::new();
    let store = place.open(sqlite());
    store.put(vec![bare(key(0))]);
    store.catalog();
    for path in files(&place.database()).iter().filter(|path| path.exists()) {
        assert_eq!(fs::metadata(path).unwrap().mode() & 0o777, 0o644, "{}", path.display());
    }
    drop(store);
    let elsewhere = place.store().with_extension("elsewhere");
    fs::write(&elsewhere, b"").unwrap();
    put_back(&place.database(), &[None, None]);
    symlink(&elsewhere, place.database()).unwrap();
    let refused = place.open(sqlite()).ledger.catalog().err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::Refused, "{refused}");
    assert!(fs::read(&elsewhere).unwrap().is_empty());
    // Nor one in the place of its directory: the index answers then.
    fs::remove_dir_all(place.database().parent().unwrap()).unwrap();
    let outside = tempfile::tempdir().unwrap();
    symlink(outside.path(), place.database().parent().unwrap()).unwrap();
    assert_eq!(place.open(sqlite()).ledger.catalog().unwrap().totals().unwrap().models, 1);
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[test]
fn several_processes_worth_of_handles_follow_one_database() {
    let place = Place::new();
    let count = 40;
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let store = place.store();
            scope.spawn(move || {
                let handle = open(&store, sqlite());
                for i in 0..count {
                    handle.put(vec![bare(Key::model("hf", &format!("{worker}-{i}"), "").unwrap())]);
                    let found = handle.catalog().entry(&Key::model("hf", &format!("{worker}-{i}"), "").unwrap());
                    assert!(found.unwrap().is_some(), "what was just registered is there");
                }
            });
        }
    });
    assert_eq!(place.open(sqlite()).catalog().totals().unwrap().models, 4 * count);
}
