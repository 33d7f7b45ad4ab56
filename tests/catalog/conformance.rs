//! What every engine of the catalog must answer, written against the trait and held against a slow and obvious one; run on
//! the tables of the index and on SQLite.

use std::collections::{BTreeMap, BTreeSet};

use crate::engines::{self, Obvious, Opened, Place, Questions, bare, same};
use larder::ledger::Engine;
use larder::parts::catalog::{PAGE_ENTRIES, every};
use larder::{Digest, Entry, Evidence, Key, Name, Query, State, Trust, Usage, Variant};

/// Every engine that this program has.
fn engines() -> Vec<(&'static str, Engine)> {
    let mut all = vec![("embedded", Engine::Embedded)];
    if cfg!(feature = "sqlite") {
        all.push(("sqlite", engines::sqlite()));
        all.push(("sqlite without a log", engines::sqlite_without_log()));
    }
    all
}

/// Runs a part of the suite on a new store of each engine.
fn on_each(test: impl Fn(&str, &Opened)) {
    for (name, engine) in engines() {
        test(name, &Place::new().open(engine));
    }
}

fn digest(byte: u8) -> Digest {
    Digest::from_bytes([byte; 32])
}

fn variant(name: &str, byte: u8, size_bytes: Option<u64>) -> Variant {
    Variant { digest: Some(digest(byte)), size_bytes, ..Variant::new(name, 5) }
}

/// Text of every kind that a line may have: case that changes length, marks that combine, other directions, signs that SQL
/// and globs give a meaning, and what looks like SQL.
const WORDS: [&str; 16] = [
    "plain",
    "Straße",
    "STRASSE",
    "İstanbul",
    "e\u{301}tude",
    "étude",
    "שלום",
    "模型",
    "🦀🦀",
    "a%b_c",
    "it's",
    "x'; DROP TABLE entries; --",
    "back\\slash",
    "[set]*?",
    " space ",
    "\u{10ffff}\u{e000}",
];

/// Two entries of each word, one of each kind, that differ in everything that a query asks for.
fn many() -> Vec<Entry> {
    let mut entries = Vec::new();
    for (i, word) in WORDS.into_iter().enumerate() {
        let provider = ["hf", "file", "ü"][i % 3];
        for key in [
            Key::model(provider, word, ["", "v1"][i % 2]).unwrap(),
            Key::document(word, &format!("https://example.org/{i}"), ["", "web"][i % 2]).unwrap(),
        ] {
            entries.push(filled(key, i, word));
        }
    }
    entries
}

fn filled(key: Key, i: usize, word: &str) -> Entry {
    let mut entry = bare(key);
    let step = i as u64;
    let card = &mut entry.card;
    card.registered_ns = [step * 1000, u64::MAX - step, 0, 1 << 63][i % 4];
    card.updated_ns = card.registered_ns.saturating_add(1);
    card.state = State::ALL[i % 4];
    card.trust = Trust::ALL[i % 3];
    card.content_type = ["", "application/pdf", "model/gguf"][i % 3].into();
    card.run = ["run-1", "", "Run-1"][i % 3].into();
    card.title = word.into();
    card.source = format!("https://example.org/{word}");
    card.notes = format!("{word}\nsecond line\tof {i}");
    card.tags = BTreeSet::from([word.to_owned(), "all".to_owned(), format!("of-{}", i % 5)]);
    card.metadata = BTreeMap::from([(word.to_owned(), "value".to_owned()), ("i".to_owned(), i.to_string())]);
    if i % 2 == 1 {
        card.verified_ns = Some(u64::MAX - 5);
        card.sbom = "larder:sbom".into();
        card.signature = "file:///sig".into();
        let (expected, found) = (Some(digest(i as u8)), (i % 4 == 1).then(|| digest(7)));
        card.evidence = Some(Evidence { expected, found, when_ns: 9, by: "verify".into() });
    }
    entry.usage = Usage { count: step % 3, last_ns: [0, step, u64::MAX][i % 3] };
    entry.trashed_ns = (i % 7 == 3).then_some(77 + step);
    entry.variants = (0..i % 4).map(|v| variant(&format!("{word} {v}"), (i + v) as u8, Some(100 * step))).collect();
    if i.is_multiple_of(5) {
        let name = Name::new(format!("names/{i}").into_bytes()).unwrap();
        entry.variants.insert(0, Variant { alias: Some(name), uri: "larder:x".into(), ..variant("", 200, None) });
    }
    entry.variants.sort_by(|a, b| a.name.cmp(&b.name));
    entry
}

#[test]
fn an_empty_catalog_says_nothing() {
    on_each(|name, store| {
        let questions = Questions::about(&many());
        same(name, &Obvious::default(), store.catalog().as_ref(), &questions);
    });
}

#[test]
fn every_question_is_answered_as_the_obvious_way_does() {
    let entries = many();
    let questions = Questions::about(&entries);
    on_each(|name, store| {
        store.put(entries.clone());
        same(name, &Obvious::of(&entries), store.catalog().as_ref(), &questions);
    });
}

#[test]
fn questions_of_several_parts_are_answered_as_the_obvious_way_does() {
    let entries = many();
    let alone = Questions::about(&entries);
    let mut queries = Vec::new();
    for (at, one) in alone.queries.iter().enumerate() {
        let other = &alone.queries[(at * 7 + 3) % alone.queries.len()];
        let mut both = one.clone();
        both.state = both.state.or(other.state);
        both.trust = both.trust.or(other.trust);
        both.run = both.run.or(other.run.clone());
        both.digest = both.digest.or(other.digest);
        both.since_ns = both.since_ns.or(other.since_ns);
        both.max_bytes = both.max_bytes.or(other.max_bytes);
        both.tags.extend(other.tags.clone());
        both.text.extend(other.text.clone());
        queries.push(both);
    }
    let questions = Questions { queries, ..Questions::default() };
    on_each(|name, store| {
        store.put(entries.clone());
        same(name, &Obvious::of(&entries), store.catalog().as_ref(), &questions);
    });
}

#[test]
fn keys_come_in_the_order_of_their_bytes() {
    let references = ["B", "a", "b", "Z", "ä", "z", "é", "e\u{301}", "a/b", "a-b", "a b", "~", "🦀", "ａ"];
    let entries: Vec<Entry> =
        references.iter().map(|reference| bare(Key::model("hf", reference, "").unwrap())).collect();
    let mut sorted = references.to_vec();
    sorted.sort_unstable_by_key(|reference| format!("{reference}\0").into_bytes());
    on_each(|name, store| {
        store.put(entries.clone());
        let mut found = Vec::new();
        every(store.catalog().as_ref(), &Query::default(), &mut |entry| {
            found.push(entry.card.key.reference().to_owned());
            Ok(())
        })
        .unwrap();
        assert_eq!(found, sorted, "{name}");
    });
}

#[test]
fn a_page_ends_where_its_limit_is_and_the_next_goes_on_behind_it() {
    let count = PAGE_ENTRIES + 3;
    let entries: Vec<Entry> = (0..count)
        .map(|i| {
            let mut entry = bare(Key::document(&format!("{i:05}"), "u", "").unwrap());
            entry.card.tags.extend(i.is_multiple_of(2).then(|| "even".to_owned()));
            entry
        })
        .collect();
    on_each(|name, store| {
        store.put(entries.clone());
        let catalog = store.catalog();
        let page = catalog.page(&Query::default(), None, PAGE_ENTRIES).unwrap();
        assert_eq!(page.len(), PAGE_ENTRIES, "{name}");
        let rest = catalog.page(&Query::default(), page.last().map(|last| &last.card.key), PAGE_ENTRIES).unwrap();
        assert_eq!(rest, entries[PAGE_ENTRIES..], "{name}");
        let tagged = Query { tags: vec!["even".into()], ..Query::default() };
        let mut seen = 0;
        every(catalog.as_ref(), &tagged, &mut |_| {
            seen += 1;
            Ok(())
        })
        .unwrap();
        assert_eq!(seen, count.div_ceil(2), "{name}");
        // A key that is not there is a place all the same.
        let between = Key::document("00001x", "u", "").unwrap();
        assert_eq!(catalog.page(&Query::default(), Some(&between), 1).unwrap(), entries[2..3], "{name}");
    });
}

#[test]
fn what_is_changed_thrown_away_taken_back_and_removed_is_found_as_it_then_is() {
    on_each(|name, store| {
        let mut entries = many();
        store.put(entries.clone());
        let questions = Questions::about(&entries);
        same(name, &Obvious::of(&entries), store.catalog().as_ref(), &questions);
        let count = entries.len();
        for i in 0..count {
            let other = filled(entries[i].card.key.clone(), (i + 5) % WORDS.len(), WORDS[(i + 5) % WORDS.len()]);
            entries[i] = other;
        }
        store.put(entries.clone());
        let after = Questions::about(&entries);
        for questions in [&questions, &after] {
            same(name, &Obvious::of(&entries), store.catalog().as_ref(), questions);
        }
        for entry in entries.drain(..count / 2) {
            store.remove(entry.card.key);
        }
        for questions in [&questions, &after] {
            same(name, &Obvious::of(&entries), store.catalog().as_ref(), questions);
        }
    });
}

#[test]
fn the_same_blob_is_counted_once_and_the_trash_not_at_all() {
    on_each(|name, store| {
        let model = |reference: &str, variants| Entry { variants, ..bare(Key::model("hf", reference, "").unwrap()) };
        let mut entries = vec![
            model("a", vec![variant("one", 1, Some(10)), variant("two", 1, Some(10))]),
            model("b", vec![variant("", 1, Some(10)), variant("q4", 2, Some(5)), variant("q8", 3, None)]),
            model("c", vec![variant("", 4, Some(1000))]),
        ];
        entries[2].trashed_ns = Some(1);
        store.put(entries.clone());
        let totals = store.catalog().totals().unwrap();
        let counts = (totals.models, totals.documents, totals.variants, totals.bytes, totals.trashed);
        assert_eq!(counts, (2, 0, 5, 15, 1), "{name}");
        // Two sizes for one digest are somebody's mistake: every engine makes the same of it.
        entries[0].variants[0].size_bytes = Some(11);
        entries[1].variants[0].size_bytes = Some(12);
        store.put(entries.clone());
        same(name, &Obvious::of(&entries), store.catalog().as_ref(), &Questions::about(&entries));
    });
}

#[test]
fn what_is_answered_is_of_one_moment_where_it_can_be() {
    on_each(|name, store| {
        let entry = |i: usize| bare(Key::model("hf", &format!("{i}"), "").unwrap());
        store.put((0..4).map(entry).collect());
        let before = store.catalog();
        let first = before.page(&Query::default(), None, 2).unwrap();
        store.put(vec![entry(9)]);
        let rest = before.page(&Query::default(), Some(&first[1].card.key), 10).unwrap();
        // Without a log, who reads would keep everybody from writing: each page is of its own moment.
        let expected = if name.contains("without") { 3 } else { 2 };
        assert_eq!(rest.len(), expected, "{name}");
        assert_eq!(store.catalog().totals().unwrap().models, 5, "{name}");
    });
}
