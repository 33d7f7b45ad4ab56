//! Lines as programs write them, and as those who mean ill do.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::format::manifest;
use crate::vocabulary::limits::MANIFEST_FIELDS;

const NOW: u64 = 7;

fn read(line: &str) -> Result<Line, Unusable> {
    parse_line(line.as_bytes(), NOW)
}

#[track_caller]
fn listed(line: &str) -> Listed {
    match read(line) {
        Ok(Line::Entry(listed)) => *listed,
        other => panic!("{line}: {other:?}"),
    }
}

fn hex(digit: char) -> String {
    String::from(digit).repeat(64)
}

#[test]
fn a_download_that_went_well_is_a_document() {
    let line = format!(
        r#"{{"timestamp":"2025-10-21T08:00:00+00:00","artifact_id":"W1","url":"https://u:p@Example.org:443/a.pdf?token=s3cret#x",
        "resolver":"unpaywall","status":"success","content_type":"application/pdf","bytes":12,"sha256":"{}",
        "path":"pdf/a.pdf","run_id":"r1","etag":"\"abc\"","attempts":[1,2],"license":null,
        "landing":"https://x.org/?api_key=hunter2"}}"#,
        hex('A')
    );
    let Listed { entry, places, whole } = listed(&line);
    assert!(!whole);
    let key = &entry.card.key;
    assert_eq!((key.reference(), key.provider()), ("W1", "unpaywall"));
    assert_eq!(key.source_url(), Some("https://example.org/a.pdf"));
    assert_eq!((entry.card.content_type.as_str(), entry.card.run.as_str()), ("application/pdf", "r1"));
    assert_eq!(entry.card.registered_ns, 1_761_033_600_000_000_000);
    assert_eq!(entry.card.state, State::Pending);
    let variant = &entry.variants[0];
    assert_eq!((variant.expected, variant.digest), (Digest::from_hex(&hex('a')), None));
    assert_eq!((variant.size_bytes, places[0].clone()), (Some(12), Place::Path("pdf/a.pdf".into())));
    let metadata: Vec<_> = entry.card.metadata.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(metadata, [("attempts", "[1,2]"), ("etag", "\"abc\""), ("landing", "https://x.org/?api_key=REDACTED")]);
}

#[test]
fn what_was_no_success_is_left_out() {
    for line in [
        r#"{"artifact_id":"a","status":"failed"}"#,
        r#"{"artifact_id":"a","status":"error","url":"u"}"#,
        r#"{"artifact_id":"a","outcome":"404"}"#,
        r#"{"artifact_id":"a","success":false}"#,
        r#"{"artifact_id":"a","classification":"http_error"}"#,
        r#"{"record_type":"summary"}"#,
        r#"{"schema":1,"event":"summary","entries":3}"#,
    ] {
        assert!(matches!(read(line), Ok(Line::Skipped(_))), "{line}: {:?}", read(line));
    }
    for line in [
        r#"{"artifact_id":"a","status":"SUCCESS"}"#,
        r#"{"artifact_id":"a","status":200}"#,
        r#"{"artifact_id":"a","success":true}"#,
        r#"{"artifact_id":"a","classification":"pdf"}"#,
        r#"{"work_id":17,"url":"https://h/x","record_type":"manifest"}"#,
    ] {
        listed(line);
    }
}

#[test]
fn models_are_read_in_the_forms_that_there_are() {
    let key = |line: &str| listed(line).entry.card.key.to_string();
    assert_eq!(key(r#"{"provider":"hf","reference":"org/repo","local_path":"/m/x.gguf"}"#), "model:hf/org/repo");
    assert_eq!(key(r#"{"kind":"model","provider":"hf","reference":"o/r","version":"v1"}"#), "model:hf/o/r@v1");
    assert_eq!(key(r#"{"model_ref":"hf:Org/Repo@v2"}"#), "model:hf/Org/Repo@v2");
    let line = format!(
        r#"{{"id":"llama","name":"Llama","source":"https://tok:en@huggingface.co/x","digest":"{}","state":"Active",
        "registered_at":"2025-10-01T00:00:00Z","verified_at":"2025-10-01T00:05:00Z"}}"#,
        hex('b')
    );
    let entry = listed(&line).entry;
    assert_eq!(entry.card.key.to_string(), "model:catalog/llama");
    assert_eq!((entry.card.title.as_str(), entry.card.source.as_str()), ("Llama", "https://huggingface.co/x"));
    assert_eq!((entry.card.state, entry.card.trust), (State::Active, Trust::Unverified));
    assert_eq!(entry.card.verified_ns, Some(1_759_277_100_000_000_000));
    let evidence = entry.card.evidence.unwrap();
    assert_eq!((evidence.by.as_str(), evidence.found), ("import", None));
}

#[test]
fn places_are_paths_or_uris() {
    let place = |text: &str| {
        let listed = listed(&format!(r#"{{"artifact_id":"a","storage_uri":{text:?}}}"#));
        (listed.entry.variants[0].uri.clone(), listed.places[0].clone())
    };
    assert_eq!(place("s3://b/k"), ("s3://b/k".into(), Place::None));
    assert_eq!(place("/abs/x"), (String::new(), Place::Path("/abs/x".into())));
    assert_eq!(place("../../etc/passwd"), (String::new(), Place::Path("../../etc/passwd".into())));
    assert_eq!(place("file:///abs/a%20b"), ("file:///abs/a%20b".into(), Place::Path("/abs/a b".into())));
    assert!(read(r#"{"artifact_id":"a","path":"https://me:pw@h/x"}"#).unwrap_err().contains("no place"));
}

#[test]
fn what_cannot_be_used_says_why() {
    let deep = format!(r#"{{"artifact_id":"a","variants":[{}]}}"#, "[".repeat(200_000));
    let many = (0..=MANIFEST_FIELDS).map(|n| format!("\"f{n}\":0")).collect::<Vec<_>>().join(",");
    for (line, says) in [
        ("", "EOF"),
        ("[]", "expected an object"),
        ("\"text\"", "expected an object"),
        ("{", "EOF"),
        (r#"{"artifact_id":"a"} {}"#, "trailing"),
        (r#"{"artifact_id":"a","artifact_id":"b"}"#, "there twice"),
        (r#"{"artifact_id":"a","tags":{"a":1}}"#, "its \"tags\""),
        (r#"{"artifact_id":["a"]}"#, "neither text nor a whole number"),
        (r#"{"artifact_id":"a","bytes":-1}"#, "no whole number"),
        (r#"{"artifact_id":"a","bytes":1e3}"#, "no whole number"),
        (r#"{"artifact_id":"a","bytes":99999999999999999999}"#, "no whole number"),
        (r#"{"artifact_id":"a","sha256":"xyz"}"#, "no SHA-256"),
        (r#"{"artifact_id":"a","sha256":17}"#, "no text"),
        (r#"{"artifact_id":"a","created_at":"yesterday"}"#, "no moment"),
        (r#"{"artifact_id":"a\u0000b"}"#, "control character"),
        (r#"{"artifact_id":"a","notes":"\u001b[2J"}"#, "control character"),
        (r#"{"artifact_id":"a","x\u0000":"y"}"#, "control character"),
        (r#"{"url":"https://h/x"}"#, "neither which document"),
        (r#"{"kind":"model","provider":"h/f","reference":"x"}"#, "ends it in a key"),
        (r#"{"kind":"model","reference":"x"}"#, "empty"),
        (r#"{"artifact_id":"a","state":"gone","kind":"document"}"#, "no state"),
        (r#"{"artifact_id":"a","variants":[{"name":"x"},{"name":"x"}]}"#, "same name"),
        (r#"{"artifact_id":"a","variants":[{"name":"x","bytes":true}]}"#, "no whole number"),
        (r#"{"artifact_id":"\ud800"}"#, ""),
        (&deep, ""),
        (&format!("{{{many}}}"), "more than"),
    ] {
        let why = read(line).unwrap_err();
        assert!(why.contains(says), "{:.80}: {why}", line);
        assert!(!why.contains('\u{1b}') && !why.contains('\0'), "{why:?}");
    }
    for bytes in [&b"{\"artifact_id\":\"\xff\"}"[..], b"\0", b"{\"a\":\"\x1b\"}", b"{\"artifact_id\":\"a\0\"}"] {
        assert!(parse_line(bytes, NOW).is_err(), "{bytes:?}");
    }
    // What nobody asks for may be as deep as it likes: it is text.
    let nested = format!(r#"{{"artifact_id":"a","x":{}1{}}}"#, "[".repeat(1000), "]".repeat(1000));
    assert_eq!(listed(&nested).entry.card.metadata["x"].len(), 2001);
}

#[test]
fn keys_and_tags_of_every_kind_of_unicode_are_kept() {
    for text in ["ü", "e\u{301}", "模型", "🦙", "שלום", "a\u{202e}b", "\u{200b}", "\u{10ffff}"] {
        let line = format!(r#"{{"artifact_id":"{text}","tags":["{text}"],"{text}":"{text}"}}"#);
        let entry = listed(&line).entry;
        assert_eq!(entry.card.key.reference(), text);
        assert_eq!(entry.card.tags, BTreeSet::from([text.to_owned()]));
        assert_eq!(entry.card.metadata[text], text);
    }
}

fn text() -> impl Strategy<Value = String> {
    "[^\\p{C}]{0,12}"
}

fn some_digest() -> impl Strategy<Value = Option<Digest>> {
    prop::option::of(any::<[u8; 32]>().prop_map(Digest::from_bytes))
}

prop_compose! {
    fn a_variant()(
        name in text(), expected in some_digest(), digest in some_digest(), size_bytes in any::<Option<u64>>(),
        content_type in text(), uri in "(|larder:x|file:///a%20b|s3://b/k|[a-z]{1,9})",
        alias in prop::option::of(prop::collection::vec(33u8..=255, 1..9)), created_ns in any::<u64>(),
    ) -> Variant {
        let alias = alias.and_then(|bytes| Name::new(bytes).ok());
        Variant { name, expected, digest, size_bytes, content_type, uri, alias, created_ns }
    }
}

prop_compose! {
    fn an_entry()(
        model in any::<bool>(), parts in ["[a-z]{1,9}", "[^\\p{C}@]{1,12}", "[^\\p{C}@]{0,9}"],
        texts in [text(), text(), text(), text(), text(), text(), text()], times in any::<[u64; 3]>(),
        state in 0..State::ALL.len(), trust in 0..Trust::ALL.len(), verified_ns in any::<Option<u64>>(),
        evidence in prop::option::of((some_digest(), some_digest(), any::<u64>(), text())),
        metadata in prop::collection::btree_map("[^\\p{C}]{1,9}", text(), 0..4),
        tags in prop::collection::btree_set("[^\\p{C}]{1,9}", 0..4),
        variants in prop::collection::btree_map(text(), a_variant(), 0..4), count in any::<u64>(),
    ) -> Entry {
        let [a, b, c] = &parts;
        let key = if model { Key::model(a, b, c) } else { Key::document(b, c, a) };
        let [title, source, content_type, run, notes, sbom, signature] = texts;
        let evidence = evidence.map(|(expected, found, when_ns, by)| Evidence { expected, found, when_ns, by });
        let [registered_ns, updated_ns, last_ns] = times;
        let card = Card {
            key: key.unwrap(), title, source, content_type, run, registered_ns, updated_ns, verified_ns,
            state: State::ALL[state], trust: Trust::ALL[trust], evidence, metadata, tags, notes, sbom, signature,
        };
        let variants = variants.into_iter().map(|(name, variant)| Variant { name, ..variant }).collect();
        Entry { card, variants, usage: Usage { count, last_ns }, trashed_ns: None }
    }
}

proptest! {
    #[test]
    fn what_is_written_reads_as_the_same_entry(entry in an_entry()) {
        match read(&manifest::line(&entry)) {
            Ok(Line::Entry(listed)) => prop_assert_eq!(listed.entry, entry),
            other => prop_assert!(false, "{:?}: {}", other, manifest::line(&entry)),
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse_line(&bytes, NOW);
    }

    #[test]
    fn no_object_makes_it_panic_and_what_is_read_is_written(
        fields in prop::collection::vec(
            ("(artifact_id|kind|url|sha256|bytes|variants|usage|evidence|created_at|state|alias|path|event|schema|id)",
             "(null|true|-?[0-9.e]{1,20}|\"[^\"\\\\]{0,20}\"|\\[[0-9,]{0,5}\\]|\\{\"count\":1\\})"),
            0..8)
    ) {
        let text: Vec<String> = fields.into_iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        // Whatever is read of a line is written, and read as the same entry.
        if let Ok(Line::Entry(first)) = read(&format!("{{{}}}", text.join(","))) {
            match read(&manifest::line(&first.entry)) {
                Ok(Line::Entry(again)) => prop_assert_eq!(again.entry, first.entry),
                other => prop_assert!(false, "{:?}: {}", other, manifest::line(&first.entry)),
            }
        }
    }
}
