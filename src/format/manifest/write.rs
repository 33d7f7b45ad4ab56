//! An entry as one object.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use crate::vocabulary::moment::rfc3339;
use crate::vocabulary::{Entry, EntryKind, Evidence, Usage, Variant};

/// The version of what is written.
const SCHEMA: u32 = 1;

#[derive(Serialize)]
struct EntryLine<'a> {
    id: String,
    kind: &'static str,
    key: String,
    #[serde(flatten)]
    parts: Parts<'a>,
    title: &'a str,
    source: &'a str,
    content_type: &'a str,
    run_id: &'a str,
    state: &'static str,
    trust: &'static str,
    digest: Option<String>,
    size_bytes: u64,
    registered_at: String,
    updated_at: String,
    verified_at: Option<String>,
    evidence: Option<EvidencePart<'a>>,
    usage: UsagePart,
    metadata: &'a BTreeMap<String, String>,
    tags: Vec<&'a str>,
    notes: &'a str,
    sbom: &'a str,
    signature: &'a str,
    variants: Vec<VariantPart<'a>>,
    trashed_at: Option<String>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Parts<'a> {
    Model { provider: &'a str, reference: &'a str, version: &'a str },
    Document { artifact_id: &'a str, source_url: &'a str, resolver: &'a str },
}

#[derive(Serialize)]
struct EvidencePart<'a> {
    expected: Option<String>,
    found: Option<String>,
    when: String,
    by: &'a str,
}

#[derive(Serialize)]
struct UsagePart {
    count: u64,
    last: Option<String>,
}

#[derive(Serialize)]
struct VariantPart<'a> {
    name: &'a str,
    expected: Option<String>,
    digest: Option<String>,
    size_bytes: Option<u64>,
    content_type: &'a str,
    uri: &'a str,
    alias: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    alias_bytes: Option<String>,
    created_at: String,
}

/// An entry as one JSON object, with nothing around it.
pub fn fields(entry: &Entry) -> String {
    let card = &entry.card;
    let key = &card.key;
    let line = EntryLine {
        id: key.id().to_string(),
        kind: key.kind().word(),
        key: key.to_string(),
        parts: match key.kind() {
            EntryKind::Model => Parts::Model {
                provider: key.provider(),
                reference: key.reference(),
                version: key.version().unwrap_or_default(),
            },
            EntryKind::Document => Parts::Document {
                artifact_id: key.reference(),
                source_url: key.source_url().unwrap_or_default(),
                resolver: key.provider(),
            },
        },
        title: &card.title,
        source: &card.source,
        content_type: &card.content_type,
        run_id: &card.run,
        state: card.state.word(),
        trust: card.trust.word(),
        digest: entry.digest().map(|digest| digest.to_string()),
        size_bytes: entry.size_bytes(),
        registered_at: rfc3339(card.registered_ns),
        updated_at: rfc3339(card.updated_ns),
        verified_at: card.verified_ns.map(rfc3339),
        evidence: card.evidence.as_ref().map(evidence),
        usage: usage(entry.usage),
        metadata: &card.metadata,
        tags: card.tags.iter().map(String::as_str).collect(),
        notes: &card.notes,
        sbom: &card.sbom,
        signature: &card.signature,
        variants: entry.variants.iter().map(variant).collect(),
        trashed_at: entry.trashed_ns.map(rfc3339),
    };
    serde_json::to_string(&line).expect("text, numbers and maps of text are always JSON")
}

/// An entry as one line of a manifest, without a line feed.
pub fn line(entry: &Entry) -> String {
    format!("{{\"schema\":{SCHEMA},\"event\":\"entry\",{}", &fields(entry)[1..])
}

fn evidence(evidence: &Evidence) -> EvidencePart<'_> {
    EvidencePart {
        expected: evidence.expected.map(|digest| digest.to_string()),
        found: evidence.found.map(|digest| digest.to_string()),
        when: rfc3339(evidence.when_ns),
        by: &evidence.by,
    }
}

fn usage(usage: Usage) -> UsagePart {
    UsagePart { count: usage.count, last: (usage.last_ns > 0).then(|| rfc3339(usage.last_ns)) }
}

fn variant(variant: &Variant) -> VariantPart<'_> {
    let exact = variant.alias.as_ref().is_none_or(|alias| alias.as_str().is_some());
    VariantPart {
        name: &variant.name,
        expected: variant.expected.map(|digest| digest.to_string()),
        digest: variant.digest.map(|digest| digest.to_string()),
        size_bytes: variant.size_bytes,
        content_type: &variant.content_type,
        uri: &variant.uri,
        alias: variant.alias.as_ref().map(|alias| String::from_utf8_lossy(alias.as_bytes()).into_owned()),
        alias_bytes: variant.alias.as_ref().filter(|_| !exact).map(|alias| STANDARD.encode(alias.as_bytes())),
        created_at: rfc3339(variant.created_ns),
    }
}
