//! From a line to the entry that it is about.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;

use super::fields::{Fields, Unusable};
use crate::vocabulary::limits::{ENTRY_TAGS_BYTES, ENTRY_VARIANTS};
use crate::vocabulary::url::redacted;
use crate::vocabulary::{
    Card, Digest, Entry, Evidence, Key, ModelRef, Name, SourceUrl, State, StoredUri, Trust, Usage, Variant,
};

/// What a line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// There is such a model or document.
    Entry(Box<Listed>),
    /// It is about something else, such as a download that failed: why it is left out.
    Skipped(String),
}

/// An entry as a line has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The entry, as far as the line tells.
    pub entry: Entry,
    /// Where the file of each variant is, as the line has it; one for one.
    pub places: Vec<Place>,
    /// Whether larder wrote the line: then it says all there is to say.
    pub whole: bool,
}

/// Where a file is, as a line has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Nowhere that is known, or at the variant's URI.
    None,
    /// At this path, which may be relative.
    Path(PathBuf),
}

/// Who says what larder did not find out itself.
const IMPORT: &str = "import";
/// Words with which a download ended well.
const WELL: [&str; 12] = [
    "success",
    "succeeded",
    "ok",
    "done",
    "complete",
    "completed",
    "downloaded",
    "cached",
    "exists",
    "finished",
    "registered",
    "hit",
];
/// Words of a classification that is that of a failure.
const ILL: [&str; 14] = [
    "miss",
    "error",
    "http_error",
    "failed",
    "failure",
    "timeout",
    "blocked",
    "skipped",
    "dry_run",
    "exception",
    "request_exception",
    "payload_too_large",
    "html_too_large",
    "robots_disallowed",
];
/// What a record may say that it is.
const RECORDS: [&str; 7] = ["manifest", "entry", "record", "document", "artifact", "model", "download"];

/// Reads one line of a manifest (R142): in larder's own form, or as downloaders write it. `now_ns` stands for moments
/// that it does not say.
pub fn parse_line(line: &[u8], now_ns: u64) -> Result<Line, Unusable> {
    let mut fields = Fields::of(line)?;
    if let Some(why) = left_out(&mut fields)? {
        return Ok(Line::Skipped(why));
    }
    let whole = fields.has("schema") && fields.text_if_text("event").is_some_and(|event| event == "entry");
    let listed = entry(fields, whole, now_ns)?;
    listed.entry.check().map_err(|e| e.to_string())?;
    Ok(Line::Entry(Box::new(listed)))
}

/// Why a line is about nothing that is there.
fn left_out(fields: &mut Fields<'_>) -> Result<Option<String>, Unusable> {
    if fields.has("schema") && fields.peek("event").is_some_and(|event| event != "entry") {
        return Ok(Some("it is no entry".into()));
    }
    if let Some(kind) = fields.peek("record_type").filter(|kind| !RECORDS.contains(&&*kind.to_ascii_lowercase())) {
        return Ok(Some(format!("its record_type is {kind:?}")));
    }
    if fields.truth("success") == Some(false) {
        return Ok(Some("it was no success".into()));
    }
    for name in ["status", "outcome", "result"] {
        let is_http = |word: &str| word.len() == 3 && word.starts_with('2');
        if let Some(word) = fields.peek(name) {
            if !WELL.contains(&&*word.to_ascii_lowercase()) && !is_http(&word) {
                return Ok(Some(format!("its {name} is {word:?}")));
            }
            fields.drop(name);
        }
    }
    if let Some(word) = fields.peek("classification").filter(|word| ILL.contains(&&*word.to_ascii_lowercase())) {
        return Ok(Some(format!("its classification is {word:?}")));
    }
    Ok(None)
}

fn entry(mut fields: Fields<'_>, whole: bool, now_ns: u64) -> Result<Listed, Unusable> {
    let key = key(&mut fields, whole)?;
    let registered_ns =
        fields.moment(&["registered_at", "created_at", "downloaded_at", "timestamp"])?.unwrap_or(now_ns);
    let mut card = Card::new(key, registered_ns);
    let source = fields.text(&["source"])?;
    card.source = if whole { source } else { without_secrets(&source) };
    card.title = fields.text(&["title", "name"])?;
    card.content_type = fields.text(&["content_type", "mime_type", "mime"])?;
    card.run = fields.id(&["run_id", "run"])?;
    card.updated_ns = fields.moment(&["updated_at"])?.unwrap_or(registered_ns);
    card.verified_ns = fields.moment(&["verified_at"])?;
    card.notes = fields.text(&["notes", "note", "description"])?;
    card.sbom = fields.text(&["sbom"])?;
    card.signature = fields.text(&["signature"])?;
    card.tags = fields.list::<String>("tags", ENTRY_TAGS_BYTES)?.into_iter().collect();
    let (variants, places) = variants(&mut fields, whole, registered_ns)?;
    life(&mut fields, &mut card, whole, &variants)?;
    let usage = usage(&mut fields)?;
    metadata(fields, &mut card, whole)?;
    Ok(Listed { entry: Entry { card, variants, usage, trashed_ns: None }, places, whole })
}

fn key(fields: &mut Fields<'_>, whole: bool) -> Result<Key, Unusable> {
    let kind = fields.peek("kind");
    if matches!(kind.as_deref(), Some("model" | "document")) {
        fields.drop("kind");
    }
    let url = |text: String| if whole { text } else { without_secrets(&text) };
    let key = match kind.as_deref() {
        Some("model") => model(fields)?,
        Some("document") => document(fields, url)?,
        _ if fields.has("reference") && fields.has("provider") || fields.has("model_ref") => model(fields)?,
        _ if is_catalogued(fields) => Key::model(CATALOG, &fields.id(&["id", "name"])?, ""),
        _ => document(fields, url)?,
    };
    key.map_err(|e| e.to_string())
}

/// The provider of models whose catalog has a name for them and no other key.
const CATALOG: &str = "catalog";

/// Whether it is a model of a catalog that has ids and sources, and no references.
fn is_catalogued(fields: &Fields<'_>) -> bool {
    let of_documents = ["artifact_id", "work_id", "document_id", "doc_id", "source_url", "url", "resolver"];
    (fields.has("id") || fields.has("name"))
        && (fields.has("source") || fields.has("state"))
        && !of_documents.iter().any(|name| fields.has(name))
}

fn model(fields: &mut Fields<'_>) -> Result<crate::vocabulary::Result<Key>, Unusable> {
    let version = fields.id(&["version", "revision"])?;
    let text = fields.text(&["model_ref"])?;
    if text.is_empty() {
        return Ok(Key::model(&fields.text(&["provider"])?, &fields.id(&["reference"])?, &version));
    }
    let meant = ModelRef::parse(&text).map_err(|e| e.of(&text).to_string())?;
    let said = meant.version().unwrap_or_default();
    Ok(Key::model(meant.provider(), &meant.reference(), if version.is_empty() { said } else { &version }))
}

fn document(
    fields: &mut Fields<'_>,
    url: impl Fn(String) -> String,
) -> Result<crate::vocabulary::Result<Key>, Unusable> {
    let artifact = fields.id(&["artifact_id", "work_id", "document_id", "doc_id", "id"])?;
    let source = url(fields.text(&["source_url", "url"])?);
    let resolver = fields.text(&["resolver", "resolver_name"])?;
    if artifact.is_empty() {
        return Err("it says neither which document (artifact_id) nor which model (provider, reference) it is".into());
    }
    Ok(Key::document(&artifact, &source, &resolver))
}

fn without_secrets(text: &str) -> String {
    match SourceUrl::parse(text) {
        Ok(url) => url.canonical().to_owned(),
        Err(_) => redacted(text).into_owned(),
    }
}

fn variants(fields: &mut Fields<'_>, whole: bool, created_ns: u64) -> Result<(Vec<Variant>, Vec<Place>), Unusable> {
    let (mut variants, mut places) = (Vec::new(), Vec::new());
    let mut push = |(variant, place)| {
        variants.push(variant);
        places.push(place);
    };
    if whole {
        // They stand for the whole, and are the variants' own.
        fields.drop("digest");
        fields.drop("size_bytes");
    } else {
        let (mut main, place) = variant(fields, "", created_ns)?;
        // What a content type says of the whole need not be said twice.
        main.content_type = String::new();
        if main != Variant::new("", created_ns) || place != Place::None {
            push((main, place));
        }
    }
    for raw in fields.list::<&RawValue>("variants", ENTRY_VARIANTS)? {
        let mut part = Fields::of(raw.get().as_bytes()).map_err(|e| format!("one of its variants: {e}"))?;
        let name = part.text(&["name", "variant"])?;
        let content_type = part.text(&["content_type", "mime_type"])?;
        let expected = digest(&part.text(&["expected"])?)?;
        let uri = part.peek("uri");
        let (mut one, place) = variant(&mut part, &name, created_ns)?;
        one.content_type = content_type;
        one.created_ns = part.moment(&["created_at"])?.unwrap_or(created_ns);
        if whole {
            // What the larder that wrote it found the bytes to be, and what somebody had said before.
            one.digest = one.expected;
            one.expected = expected;
            one.uri = uri.unwrap_or_default();
            one.alias = alias(&mut part)?;
        }
        push((one, place));
    }
    Ok((variants, places))
}

/// A variant as the fields of an object tell it; where its bytes are on this machine stands beside it.
fn variant(fields: &mut Fields<'_>, name: &str, created_ns: u64) -> Result<(Variant, Place), Unusable> {
    let mut variant = Variant::new(name, created_ns);
    variant.expected = digest(&fields.text(&["sha256", "digest", "content_sha256", "checksum"])?)?;
    variant.size_bytes = fields.number(&["size_bytes", "bytes", "content_length", "size"])?;
    let place = fields.text(&["uri", "storage_uri", "local_path", "path", "file_path"])?;
    let place = match StoredUri::parse(&place) {
        Ok(StoredUri::File(path)) => {
            variant.uri = place;
            Place::Path(path)
        }
        Ok(uri) => {
            variant.uri = uri.to_string();
            Place::None
        }
        Err(_) if place.is_empty() => Place::None,
        Err(_) if place.contains("://") => return Err(format!("{:?} is no place that is known", start(&place))),
        Err(_) => Place::Path(place.into()),
    };
    Ok((variant, place))
}

/// A SHA-256 with or without `sha256:`, in any case; nothing is none.
fn digest(text: &str) -> Result<Option<Digest>, Unusable> {
    let hex = text.trim().to_ascii_lowercase();
    if hex.is_empty() {
        return Ok(None);
    }
    let digest = Digest::from_hex(hex.strip_prefix("sha256:").unwrap_or(&hex));
    digest.map(Some).ok_or_else(|| format!("{:?} is no SHA-256 of 64 hexadecimal digits", start(text)))
}

fn alias(part: &mut Fields<'_>) -> Result<Option<Name>, Unusable> {
    let (text, bytes) = (part.text(&["alias"])?, part.text(&["alias_bytes"])?);
    let bytes = match bytes.is_empty() {
        true => text.into_bytes(),
        false => STANDARD.decode(bytes).map_err(|_| "its \"alias_bytes\" is no base64".to_owned())?,
    };
    match bytes.is_empty() {
        true => Ok(None),
        false => Name::new(bytes).map(Some).map_err(|e| e.to_string()),
    }
}

/// State, trust and evidence.
fn life(fields: &mut Fields<'_>, card: &mut Card, whole: bool, variants: &[Variant]) -> Result<(), Unusable> {
    let state = fields.text(&["state"])?;
    let trust = fields.text(&["trust"])?;
    if !state.is_empty() {
        card.state = State::of_word(&state).ok_or_else(|| format!("{:?} is no state", start(&state)))?;
    }
    if !trust.is_empty() {
        card.trust = Trust::of_word(&trust).ok_or_else(|| format!("{:?} is no trust", start(&trust)))?;
    }
    if let Some(mut shown) = fields.object("evidence")? {
        card.evidence = Some(Evidence {
            expected: digest(&shown.text(&["expected"])?)?,
            found: digest(&shown.text(&["found"])?)?,
            when_ns: shown.moment(&["when"])?.unwrap_or(card.registered_ns),
            by: shown.text(&["by"])?,
        });
    } else if !whole && matches!(card.state, State::Active | State::Failed) {
        // Somebody says so; who finds it out for himself says it anew.
        let (expected, when_ns) = (variants.first().and_then(|v| v.expected), card.verified_ns);
        let when_ns = when_ns.unwrap_or(card.updated_ns);
        card.evidence = Some(Evidence { expected, found: None, when_ns, by: IMPORT.into() });
    }
    Ok(())
}

fn usage(fields: &mut Fields<'_>) -> Result<Usage, Unusable> {
    let mut usage = Usage::default();
    if let Some(mut said) = fields.object("usage")? {
        usage.count = said.number(&["count"])?.unwrap_or(0);
        usage.last_ns = said.moment(&["last"])?.unwrap_or(0);
    } else {
        usage.count = fields.number(&["download_count", "use_count"])?.unwrap_or(0);
        usage.last_ns = fields.moment(&["last_used", "last_used_at"])?.unwrap_or(0);
    }
    Ok(usage)
}

/// What nobody asked for is kept as it is, without the secrets of URLs.
fn metadata(mut fields: Fields<'_>, card: &mut Card, whole: bool) -> Result<(), Unusable> {
    if let Some(known) = fields.object("metadata")? {
        card.metadata.extend(known.rest());
    }
    for derived in ["schema", "key", "trashed_at"].into_iter().filter(|_| whole) {
        fields.drop(derived);
    }
    if fields.peek("id").is_some_and(|id| id == card.id().to_string()) {
        fields.drop("id");
    }
    for (name, value) in fields.rest() {
        card.metadata.entry(name).or_insert_with(|| redacted(&value).into_owned());
    }
    Ok(())
}

fn start(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests;
