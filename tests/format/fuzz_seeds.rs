//! The seeds of the fuzz targets are what the encoders write today.
//!
//! A seed that no longer decodes would leave a target with nothing behind the first check. `LARDER_WRITE_SEEDS=1`
//! writes them anew after a change of the format.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use larder::format::checkpoint::{Checkpoint, SourceStamp};
use larder::format::current::{Current, Reach, RunMeta};
use larder::format::filter::{FilterBuilder, KeyHash};
use larder::format::frame::Frame;
use larder::format::header::{Header, SegmentKind};
use larder::format::options::Chosen;
use larder::format::page::{BOUNDS_LEVEL, PageBuilder};
use larder::format::record::copies::{CarrierRecord, CarrierRemovedRecord, SourceFile, SourcesRecord};
use larder::format::record::entry::{
    EntryRecord, EntryRemovedRecord, TrashedRecord, UsedRecord, VariantRecord, VariantRemovedRecord,
};
use larder::format::record::scrub::{
    FindingMendedRecord, FindingRecord, FindingRow, PassRecord, PassState, SuspectRecord, SuspectRow, VerifiedRecord,
    VerifiedRow, Wish, WishRecord, Wrong,
};
use larder::format::record::{
    self, AliasRecord, BlobRecord, DamagedRecord, DepartedRecord, EndRecord, FenceRecord, HealedRecord, Moment,
    NameFindingRecord, OrphanRecord, PinRecord, Record, RemovedRecord, Replaced, SinceRecord, UnaliasRecord,
};
use larder::format::run::{Footer, PageRef, RunId, RunKey, TablesHeld, encode_header};
use larder::format::session::{SessionFile, SessionKind};
use larder::format::settings::{Durability, FORMAT, Features, Settings};
use larder::format::{hint, manifest};
use larder::hashing::{HashState, Tree};
use larder::vocabulary::entry::{Term, TermKind};
use larder::{Blake3, Card, Digest, Entry, Evidence, Key, Name, Stamp, State, Trust, Usage, Variant};

/// What is committed stays small: a clone pays for it.
const MOST_BYTES: u64 = 200_000;

type Seeds = BTreeMap<(&'static str, String), Vec<u8>>;

#[test]
fn seeds_are_what_the_encoders_write() {
    let seeds = seeds();
    let write = std::env::var_os("LARDER_WRITE_SEEDS").is_some();
    for ((target, name), bytes) in &seeds {
        let path = corpus().join(target).join(format!("{name}.seed"));
        if write {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, bytes).unwrap();
        }
        let there = fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert!(there == *bytes, "{} is of another format than the one that is written", path.display());
    }
    let known: BTreeSet<PathBuf> =
        seeds.keys().map(|(target, name)| corpus().join(target).join(format!("{name}.seed"))).collect();
    let mut total = 0;
    for target in fs::read_dir(corpus()).unwrap() {
        for seed in fs::read_dir(target.unwrap().path()).unwrap() {
            let seed = seed.unwrap();
            // What a run of the fuzzer finds has other names, and is not committed.
            if seed.path().extension().is_some_and(|e| e == "seed") {
                assert!(known.contains(&seed.path()), "nothing writes {}", seed.path().display());
                total += seed.metadata().unwrap().len();
            }
        }
    }
    assert!(total < MOST_BYTES, "{total} bytes of seeds");
}

#[test]
fn every_target_has_seeds() {
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/Cargo.toml")).unwrap();
    let manifest: toml::Table = manifest.parse().unwrap();
    let targets = manifest["bin"].as_array().unwrap().iter().map(|bin| bin["name"].as_str().unwrap());
    let targets: BTreeSet<&str> = targets.collect();
    let seeded: BTreeSet<&str> = seeds().into_keys().map(|(target, _)| target).collect();
    assert_eq!(targets, seeded);
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus")
}

fn seeds() -> Seeds {
    let mut seeds = Seeds::new();
    let mut put = |target, name: &str, bytes: Vec<u8>| {
        assert!(seeds.insert((target, name.to_owned()), bytes).is_none(), "{target}/{name} twice");
    };
    put("header", "base", header(SegmentKind::Base).encode().to_vec());
    put("header", "later", header(SegmentKind::Later).encode().to_vec());
    put("frame", "empty", segment(&[]));
    put("frame", "one", segment(&[record::encode(&records()[..1])]));
    put("frame", "three", segment(&[record::encode(&records()), Vec::new(), record::encode(&records()[3..5])]));
    put("frame", "base", segment(&[record::encode(&records()), record::encode(&[end()])]));
    put("record", "none", record::encode(&[]));
    put("record", "all", record::encode(&records()));
    put("record", "reading", record::encode(&of_reading()));
    for (i, record) in records().into_iter().enumerate() {
        put("record", &format!("kind-{:02}", i + 1), record::encode(&[record]));
    }
    for (name, bytes) in long_names() {
        put("record", name, record::encode(&[alias(&bytes)]));
        put("name", name, bytes);
    }
    for runs in [0, 1, 3] {
        put("current", &format!("runs-{runs}"), current(runs).encode().unwrap());
    }
    for (name, bytes) in run_parts() {
        put("run_page", name, bytes);
    }
    for (name, bytes) in names() {
        put("name", name, bytes);
    }
    for (name, bytes) in small_files() {
        put("small", name, bytes);
    }
    let tree = Tree::new(3 * 1_048_576 + 5, (0..4).map(|n| [n; 32]).collect()).unwrap();
    put("tree", "four-groups", larder::format::tree::encode(&Digest::EMPTY, &tree));
    for (name, text) in references() {
        put("reference", name, text.into_bytes());
    }
    for (name, text) in manifests() {
        put("manifest", name, text.into_bytes());
    }
    for (name, lengths) in lane_lengths() {
        let message = |(i, length): (usize, u16)| [length.to_le_bytes()[0], length.to_le_bytes()[1], i as u8];
        put("lanes", name, lengths.into_iter().enumerate().flat_map(message).collect());
    }
    put("history", "first-choices", vec![0]);
    for number in 0..12u8 {
        let mut choices = vec![0; 48];
        blake3::Hasher::new().update(&[number]).finalize_xof().fill(&mut choices);
        put("history", &format!("chance-{number:02}"), choices);
    }
    seeds
}

/// Lengths of messages that are hashed together.
fn lane_lengths() -> [(&'static str, Vec<u16>); 4] {
    [
        ("none", Vec::new()),
        ("edges", vec![0, 1, 55, 56, 63, 64, 65, 119, 120, 127, 128, 129, 4095, 4096, 4097, 5000, 3]),
        ("one-long", [5000].into_iter().chain([10; 40]).collect()),
        ("same", vec![640; 33]),
    ]
}

fn header(kind: SegmentKind) -> Header {
    Header { kind, store: [7; 16], salt: [9; 16], first: 12, follows: 11, follows_hash: [3; 32] }
}

fn segment(payloads: &[Vec<u8>]) -> Vec<u8> {
    let header = header(SegmentKind::Later);
    let mut bytes = header.encode().to_vec();
    let mut previous = header.follows_hash;
    for (i, payload) in payloads.iter().enumerate() {
        let sequence = header.first + i as u64;
        let frame = Frame {
            sequence,
            synced_through: sequence - 1,
            time_ns: MOMENT.time_ns,
            previous,
            payload: payload.clone(),
        };
        let (frame, hash) = frame.encode(&header.key(), bytes.len() as u64);
        bytes.extend(frame);
        previous = hash;
    }
    bytes
}

const MOMENT: Moment = Moment { sequence: 300, time_ns: 1_790_000_000_000_000_000 };

fn name(bytes: &[u8]) -> Name {
    Name::new(bytes).unwrap()
}

fn alias(bytes: &[u8]) -> Record {
    Record::Alias(AliasRecord {
        name: name(bytes),
        digest: Digest::EMPTY,
        size_bytes: 7,
        hardlinked: true,
        executable: false,
        mtime_ns: -1,
        replaces: Some(Replaced { digest: Digest::from_bytes([1; 32]), hardlinked: true, inode: 9 }),
        added: MOMENT,
    })
}

fn end() -> Record {
    Record::End(EndRecord { through: 11, through_hash: [2; 32], synced_through: 11, time_ns: 5, records: 15 })
}

/// One of each kind, in the order of their numbers.
fn records() -> Vec<Record> {
    let (digest, since, blake3) = (Digest::EMPTY, MOMENT, Blake3::from_bytes([1; 32]));
    let stamp = Stamp { size_bytes: 2 << 20, mtime_ns: -2, inode: 3, mode: 0o444, ctime_ns: 5 };
    let was = Replaced { digest, hardlinked: true, inode: 9 };
    let reason = "found in a test".to_owned();
    vec![
        Record::Blob(BlobRecord { digest, blake3, stamp, added: since }),
        alias(b"models/Llama/7B.gguf"),
        Record::Unalias(UnaliasRecord { name: name(b"a"), was, rule: "rm".to_owned(), when: since }),
        Record::Pin(PinRecord { digest, note: "mine".to_owned(), since }),
        Record::Unpin(digest),
        Record::Unrooted(SinceRecord { digest, since }),
        Record::Condemned(SinceRecord { digest, since }),
        Record::Removed(RemovedRecord { digest, size_bytes: 3, rule: "gc".to_owned(), when: since }),
        Record::Orphan(OrphanRecord { digest, own: true, since }),
        Record::Healed(HealedRecord {
            digest,
            blake3,
            bad: Some(stamp),
            good: stamp,
            staged: "staging/x/1".to_owned(),
            added: since,
        }),
        Record::Damaged(DamagedRecord { digest, inode: 4, reason: reason.clone(), quarantined: true, since }),
        Record::NameFinding(NameFindingRecord { name: name(b"n\xff"), reason: reason.clone(), since }),
        Record::NameMended(name("ä/ß".as_bytes())),
        Record::Fence(FenceRecord { from: 1, to: 2, reason, since }),
        Record::FenceLifted(1),
        end(),
        Record::Sources(SourcesRecord { digest, files: vec![source_file()], since }),
        Record::Carrier(CarrierRecord { digest, number: 300, stamp, since }),
        Record::CarrierRemoved(CarrierRemovedRecord { digest, number: 300 }),
        Record::Departed(DepartedRecord { name: name(b"a"), digest, rule: "rm".to_owned(), when: since }),
        Record::Entry(Box::new(EntryRecord { card: card(), dropped: vec![Term::new(TermKind::State, "failed")] })),
        Record::Variant(Box::new(VariantRecord { entry: card().id(), variant: variant(), was: Some(Digest::EMPTY) })),
        Record::VariantRemoved(VariantRemovedRecord { entry: card().id(), name: "q4".into(), was: None }),
        Record::EntryRemoved(EntryRemovedRecord {
            key: Key::document("10.1/x", "https://example.org/x.pdf", "crossref").unwrap(),
            terms: vec![Term::new(TermKind::Provider, "crossref")],
            rule: "remove".into(),
            when: since,
        }),
        Record::Used(UsedRecord { entry: card().id(), usage: Usage { count: 300, last_ns: 5 } }),
        Record::Trashed(TrashedRecord { entry: card().id(), rule: "delete".into(), since }),
        Record::Untrashed(card().id()),
    ]
}

/// What reading the blobs has shown.
fn of_reading() -> Vec<Record> {
    let digest = Digest::EMPTY;
    vec![
        Record::Verified(VerifiedRecord { digest, row: VerifiedRow { sequence: 9, time_ns: 8, sha256_ns: 7 } }),
        Record::Finding(FindingRecord {
            digest,
            carrier: 300,
            row: FindingRow {
                wrong: Wrong::Corrupt,
                reason: "its bytes".into(),
                ranges: vec![(0, 4096), (8192, 300_000)],
                first_ns: 1,
                seen_ns: 2,
                sequence: 3,
            },
        }),
        Record::FindingMended(FindingMendedRecord { digest, carrier: 0 }),
        Record::Suspect(SuspectRecord { digest, row: SuspectRow { changed: 6, seen_ns: 9 } }),
        Record::Pass(PassRecord {
            number: 3,
            state: PassState::Open,
            begun: 9,
            begun_ns: 8,
            seen_ns: 7,
            sha256: false,
            max_age_ns: Some(7),
            sample_below: u64::MAX,
            blobs: 5,
            bytes: 6,
            findings: 7,
        }),
        Record::Wish(WishRecord { wish: Wish::Stop(3), since_ns: 5 }),
    ]
}

/// A model with something in every place.
fn card() -> Card {
    let mut card = Card::new(Key::model("hf", "org/repo", "v1").unwrap(), 7);
    (card.title, card.source) = ("A model".into(), "hf:org/repo@v1".into());
    (card.content_type, card.run) = ("application/x-gguf".into(), "r1".into());
    (card.state, card.trust, card.verified_ns) = (State::Active, Trust::Verified, Some(9));
    let digest = Some(Digest::EMPTY);
    card.evidence = Some(Evidence { expected: digest, found: digest, when_ns: 9, by: "verify".into() });
    card.metadata.insert("architecture".into(), "llama".into());
    card.tags.insert("small".into());
    (card.notes, card.sbom, card.signature) = ("two\nlines".into(), "file:/sbom".into(), "file:/sig".into());
    card
}

fn variant() -> Variant {
    let mut variant = Variant::new("q4", 8);
    (variant.expected, variant.digest) = (Some(Digest::EMPTY), Some(Digest::EMPTY));
    (variant.size_bytes, variant.uri) = (Some(300), "larder:x".into());
    (variant.content_type, variant.alias) = ("x".into(), Some(name(b"a/B")));
    variant
}

fn source_file() -> SourceFile {
    SourceFile { path: b"/src/a".to_vec(), size_bytes: 7, mtime_ns: -1, ctime_ns: 2, inode: 200, device: 3 }
}

/// As long as a name may be: in capitals that get longer as small letters, and as deep as it may be.
fn long_names() -> Vec<(&'static str, Vec<u8>)> {
    let capitals = vec!["Ⱥ".repeat(127); 12].join("/").into_bytes();
    let deep = vec!["dir"; 256].join("/").into_bytes();
    vec![("long-capitals", capitals), ("deep", deep)]
}

fn current(runs: u8) -> Current {
    let run = |n| RunMeta { id: RunId::from_bytes([n; 8]), size_bytes: 1000 + u64::from(n), records: n.into() };
    let reach = Reach {
        sequence: 77,
        hash: [2; 32],
        segment_first: 70,
        segment_salt: [3; 16],
        offset: 4096,
        synced_through: 78,
        last_offset: 4000,
        time_ns: 5,
    };
    Current { store: [1; 16], runs: (0..runs).map(run).collect(), reach }
}

/// Each behind the identity of its run and its offset, as the target takes them.
fn run_parts() -> Vec<(&'static str, Vec<u8>)> {
    const ID: [u8; 8] = [1, 2, 3, 4, 5, 6, 7, 8];
    const OFFSET: u64 = 4096;
    let (id, key) = (RunId::from_bytes(ID), RunKey::of(RunId::from_bytes(ID)));
    let at = |part: Vec<u8>| {
        // The target halves what stands there, so that no sum overflows.
        let mut bytes = [ID, (OFFSET * 2).to_le_bytes()].concat();
        bytes.extend(part);
        bytes
    };
    let page = |level, entries: &[(&[u8], Option<&[u8]>)]| {
        let mut builder = PageBuilder::new(level);
        for (key, value) in entries {
            builder.push(key, *value).unwrap();
        }
        builder.finish(&key, OFFSET)
    };
    let leaf: &[(&[u8], Option<&[u8]>)] =
        &[(b"\x02na/b", Some(b"1")), (b"\x02na/c", None), (b"\x02na/cd", Some(b"")), (b"\x02na/e", Some(b"four"))];
    let child = |offset| PageRef { offset, length: 90 }.encode();
    let mut filter = FilterBuilder::new(3);
    filter.insert(&KeyHash::of(b"a key"));
    let footer = Footer {
        records: 5,
        tombstones: 1,
        leaves: 1,
        filter_offset: 128,
        filter_blocks: 1,
        filter_probes: 6,
        root: PageRef { offset: 192, length: 90 },
        root_level: 0,
        bounds: PageRef { offset: 282, length: 60 },
        tables: TablesHeld::default(),
    };
    vec![
        ("leaf", at(page(0, leaf))),
        ("leaf-empty", at(page(0, &[]))),
        ("inner", at(page(1, &[(b"\x02na/b", Some(&child(192))), (b"\x03", Some(&child(282)))]))),
        ("bounds", at(page(BOUNDS_LEVEL, &[(b"\x02na/b", Some(b"")), (b"\x02na/e", Some(b""))]))),
        ("filter", at(filter.finish(&key, OFFSET))),
        ("footer", at(footer.encode(id, OFFSET))),
        ("header", at(encode_header(id).to_vec())),
        ("file-name", at(id.file_name().into_bytes())),
        ("page-ref", at(child(192).to_vec())),
        ("entries", at(b"\x03\x02abcxy\x83\x00abd\x05\x01abdefz\x01\x00b".repeat(3))),
    ]
}

fn names() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("plain", b"models/llama/7b.gguf".to_vec()),
        ("dots", b"a/../b/./...".to_vec()),
        ("absolute", b"/etc/passwd".to_vec()),
        ("control", "a\u{9b}31m\n".as_bytes().to_vec()),
        ("not-utf8", b"a\xff/\xc2".to_vec()),
        ("prefix", b"models/llama/\0models/llama/7b.gguf".to_vec()),
        ("prefix-itself", b"models\0models".to_vec()),
        ("on-disk", postcard::to_allocvec(&name(b"a/b")).unwrap()),
        ("url", b"https://example.org/w/model%20one.safetensors?download=true#x".to_vec()),
        ("digest", Digest::EMPTY.to_string().into_bytes()),
        ("digest-prefix", b"sha256:e3b0".to_vec()),
    ]
}

fn manifests() -> Vec<(&'static str, String)> {
    let download = r#"{"timestamp":"2025-10-21T08:00:00.5+02:00","artifact_id":"10.1/x","url":"https://u:p@h/a.pdf?token=s&id=1",
        "resolver":"r","status":"success","content_type":"application/pdf","bytes":"12","sha256":"@","path":"a/../b.pdf",
        "run_id":7,"extra":{"a":[1,2.5e3,null]},"variants":[{"variant":"text","storage_uri":"s3://b/k","bytes":3}]}"#;
    let model = r#"{"kind":"model","model_ref":"hf:org/repo@v1","local_path":"file:///m/x.gguf","tags":["a"],"usage":{"count":3}}"#;
    let catalog = r#"{"id":"llama","name":"Llama","source":"https://h/x","digest":"@","state":"Active","verified_at":1700000000}"#;
    let seeds = [
        ("download", download),
        ("model", model),
        ("catalog", catalog),
        ("failed", r#"{"artifact_id":"a","status":"error"}"#),
        ("document", r#"{"models":[{"id":"a","source":"b"}]}"#),
    ];
    let hex = "0123456789abcDEF".repeat(4);
    let mut all: Vec<_> = seeds.into_iter().map(|(name, text)| (name, text.replace('@', &hex))).collect();
    let entry =
        Entry { card: card(), variants: vec![variant()], usage: Usage { count: 2, last_ns: 9 }, trashed_ns: None };
    all.push(("own", manifest::line(&entry)));
    all
}

fn references() -> Vec<(&'static str, String)> {
    let seeds = [
        ("hub", "hf:TheBloke/Llama-2-7B/q4/x.gguf@refs/pr/7"),
        ("hub-official", "hf://datasets/o/r@v1.0/a%40b"),
        ("hub-site", "https://huggingface.co/o/r/resolve/main/x.gguf?download=true"),
        ("path", "../models/./a/../x y.gguf/"),
        ("file", "file://localhost/srv/%ff/x%20y"),
        ("user", "HTTPS://me:p%40ss@Example.ORG:443/a//b/..;jsessionid=1/?id=1&Token=2#x"),
        ("signed", "https://b.s3.amazonaws.com/k?X-Amz-Date=1&versionId=2;Expires=3&sig=4&se=5"),
        ("nested", "https://h/web/https://me:pw@g/x?u=https%3A%2F%2Fme%3Apw%40g"),
        ("nested-queries", "h/a?u=b?u=c/d?u=http:@g/x?u=https%3pw%40g?token=e"),
        ("run-together", "cannot read \"https/w@h/a?sig://me:p/w@h/a?sig=0\": no (http)."),
        ("address", "ssh://[2001:DB8::1]:22/ü"),
        ("opaque", "jdbc:pg://me:pw@h/x"),
        ("image", "oci://h:5000/a/b@sha256:00"),
        ("text", "cannot read \"https://me:p/w@h/a?sig=1\": no (https:/u@h)."),
    ];
    let mut seeds: Vec<_> = seeds.into_iter().map(|(name, text)| (name, text.to_owned())).collect();
    seeds.push(("blob", format!("larder:{}", Digest::EMPTY)));
    seeds.push(("object", "s3://b/k%20/..".to_owned()));
    seeds
}

fn small_files() -> Vec<(&'static str, Vec<u8>)> {
    let session = |kind, held| SessionFile { kind, stamp: 9, held }.encode();
    let settings = Settings {
        format: FORMAT,
        store_id: "00112233445566778899aabbccddeeff".to_owned(),
        durability: Durability::Each,
        hardlinked: true,
        blob_mode: "0444".to_owned(),
        directory_mode: "0755".to_owned(),
        features: Features { compatible: vec!["x".to_owned()], ..Features::default() },
        options: Chosen::default(),
    };
    let checkpoint = Checkpoint {
        source: SourceStamp { device: 1, inode: 2, size_bytes: 1 << 20, mtime_ns: -3, ctime_ns: 4 },
        staged_inode: 5,
        time_ns: 6,
        state: HashState { size_bytes: 3 << 16, sha256: [9; 8], blake3: vec![[7; 32], [8; 32]] },
        path: b"dir/a".to_vec(),
    };
    vec![
        ("hint", hint::encode(77).to_vec()),
        ("session-ingest", session(SessionKind::Ingest, Vec::new())),
        ("session-reader", session(SessionKind::Reader, vec![Digest::EMPTY; 3])),
        ("session-collect", session(SessionKind::Collect, Vec::new())),
        ("checkpoint", checkpoint.encode()),
        ("settings", settings.to_toml().into_bytes()),
    ]
}
