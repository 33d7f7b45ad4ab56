//! What the commands of the catalog have in common: which entries are meant, and how one is shown.

use std::path::PathBuf;
use std::time::Duration;

use larder::format::manifest;
use larder::store::Store;
use larder::vocabulary::EntryKind;
use larder::vocabulary::entry::Query;
use larder::work::names::Target;
use larder::{Digest, Entry, EntryTarget, Error, ErrorKind, Evidence, Key, State, StoredUri, Trust, Variant};

use super::context::Context;
use super::json::Line;
use super::words::Thing;
use super::{text, words};

/// Which entries are wanted: those that meet everything that is given.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Filter {
    /// Only models, or only documents
    #[arg(long, value_name = "KIND", value_parser = kind)]
    kind: Option<EntryKind>,
    /// Only in this state: pending, active, retired, failed
    #[arg(long, value_name = "STATE", value_parser = state)]
    state: Option<State>,
    /// Only of this trust: verified, warned, unverified
    #[arg(long, value_name = "TRUST", value_parser = trust)]
    trust: Option<Trust>,
    /// Only by this provider of models, or found by this resolver of documents
    #[arg(long, value_name = "NAME", visible_alias = "resolver")]
    provider: Option<String>,
    /// Only with this tag; several times for several, all of which it must have
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// Only brought in by this run
    #[arg(long, value_name = "RUN")]
    run: Option<String>,
    /// Only of this media type
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// Only with a file of this digest
    #[arg(long, value_name = "DIGEST")]
    digest: Option<Digest>,
    /// Only keys that begin so: model:hf/org, document:10.1234/
    #[arg(long, value_name = "KEY", value_parser = key_prefix)]
    prefix: Option<KeyPrefix>,
    /// Only registered longer ago than this: 12h, 30d
    #[arg(long, value_name = "AGE", value_parser = words::duration)]
    older: Option<Duration>,
    /// Only registered since this long ago
    #[arg(long, value_name = "AGE", value_parser = words::duration)]
    newer: Option<Duration>,
    /// Only not used for this long
    #[arg(long, value_name = "AGE", value_parser = words::duration)]
    unused: Option<Duration>,
    /// Only of at least this size: 4096, 10MiB, 1GB
    #[arg(long, value_name = "SIZE", value_parser = words::size)]
    min_size: Option<u64>,
    /// Only of at most this size
    #[arg(long, value_name = "SIZE", value_parser = words::size)]
    max_size: Option<u64>,
    /// Only what is in the trash
    #[arg(long)]
    trashed: bool,
}

impl Filter {
    /// What it asks of the catalog at this moment, with pieces of text to look for.
    pub(crate) fn query(&self, texts: &[String], now_ns: u64) -> Query {
        let ago = |age: Duration| now_ns.saturating_sub(u64::try_from(age.as_nanos()).unwrap_or(u64::MAX));
        let prefix = self.prefix.clone().unwrap_or_default();
        Query {
            kind: self.kind,
            prefix: prefix.0,
            state: self.state,
            trust: self.trust,
            provider: self.provider.clone(),
            run: self.run.clone(),
            content_type: self.content_type.clone(),
            tags: self.tag.clone(),
            digest: self.digest,
            before_ns: self.older.map(ago),
            since_ns: self.newer.map(ago),
            unused_since_ns: self.unused.map(ago),
            min_bytes: self.min_size,
            max_bytes: self.max_size,
            text: texts.to_vec(),
            trashed: self.trashed,
        }
    }
}

/// The beginning of keys, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct KeyPrefix(Vec<u8>);

/// The beginning of a key as people write it.
fn key_prefix(text: &str) -> Result<KeyPrefix, String> {
    let prefix = |kind, whole: &[&str], rest: &str| {
        let mut bytes = Key::prefix(kind, whole);
        bytes.extend_from_slice(rest.as_bytes());
        Ok(KeyPrefix(bytes))
    };
    if let Some(artifact) = text.strip_prefix("document:") {
        return prefix(EntryKind::Document, &[], artifact);
    }
    let Some(model) = text.strip_prefix("model:") else {
        return Err("a key begins with model: or document:".to_owned());
    };
    match model.split_once('/') {
        None => prefix(EntryKind::Model, &[], model),
        Some((provider, rest)) => match rest.rsplit_once('@') {
            None => prefix(EntryKind::Model, &[provider], rest),
            Some((reference, version)) => prefix(EntryKind::Model, &[provider, reference], version),
        },
    }
}

fn kind(text: &str) -> Result<EntryKind, String> {
    EntryKind::of_word(text).ok_or_else(|| "a kind is model or document".to_owned())
}

/// The state of a word.
pub(crate) fn state(text: &str) -> Result<State, String> {
    State::of_word(text).ok_or_else(|| "a state is pending, active, retired or failed".to_owned())
}

fn trust(text: &str) -> Result<Trust, String> {
    Trust::of_word(text).ok_or_else(|| "trust is verified, warned or unverified".to_owned())
}

/// `KEY=VALUE` apart.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("it is written KEY=VALUE".to_owned()),
    }
}

/// An entry outside the trash, which alone is changed.
pub(crate) fn in_the_trash(target: &EntryTarget) -> Error {
    let reason = "it is in the trash: `larder undelete` takes it out";
    Error::new(ErrorKind::NotFound, format!("find {target}"), reason)
}

/// The blob that is pointed at: of an entry, by the name that its variant has in the store, or by its digest.
pub(crate) fn blob(store: &Store, thing: &Thing, variant: Option<&str>) -> larder::Result<Target> {
    let entry = match thing {
        Thing::Blob(target) => return unless_variant(target, variant).cloned(),
        Thing::Entry(target) => store.find_entry(target)?,
    };
    let variant = entry.meant(variant)?;
    let Some(digest) = variant.digest else {
        let reason = "nobody knows its digest; `larder verify` finds it out, `larder path` tells where the file is";
        return Err(Error::new(ErrorKind::NotFound, format!("find the bytes of {}", entry.card.key), reason));
    };
    match &variant.alias {
        Some(name) if store.digest_of(&Target::Name(name.clone()))? == Some(digest) => Ok(Target::Name(name.clone())),
        _ => Ok(Target::Digest(digest)),
    }
}

/// The file that is pointed at.
pub(crate) fn path(store: &Store, thing: &Thing, variant: Option<&str>) -> larder::Result<PathBuf> {
    match thing {
        Thing::Blob(target) => store.path(unless_variant(target, variant)?),
        Thing::Entry(target) => store.locate_entry(&store.find_entry(target)?, variant),
    }
}

fn unless_variant<'a>(target: &'a Target, variant: Option<&str>) -> larder::Result<&'a Target> {
    match variant {
        None => Ok(target),
        Some(_) => {
            Err(Error::new(ErrorKind::Invalid, "find a variant", "names and digests have none: point at an ENTRY"))
        }
    }
}

/// An entry in JSON: everything that is known of it.
pub(crate) fn line(event: &str, entry: &Entry) -> Line {
    Line::event(event).fields_of(&manifest::fields(entry))
}

/// What names an entry in words.
pub(crate) fn name(entry: &Entry) -> String {
    text::message(&entry.card.key.to_string())
}

/// An entry in one line: state, trust, size, id, key.
pub(crate) fn row(context: &Context, entry: &Entry) -> String {
    let (state, trust) = (entry.card.state.word(), entry.card.trust.word());
    let size = context.size(entry.size_bytes());
    let id = &entry.id().to_string()[..12];
    let url = entry.card.key.source_url().filter(|url| !url.is_empty());
    let url = url.map(|url| format!("  {}", text::message(url))).unwrap_or_default();
    format!("{state:<8} {trust:<10} {size:>10}  {id}  {}{url}", name(entry))
}

/// Everything about an entry, in words.
pub(crate) fn words(context: &Context, entry: &Entry) -> String {
    let card = &entry.card;
    let field = |word: &str, value: String| vec![word.to_owned(), value];
    let said = |word: &str, value: &str| (!value.is_empty()).then(|| field(word, text::message(value)));
    let mut rows = vec![field("entry", format!("entry:{}", entry.id())), field("key", name(entry))];
    rows.extend(said("title", &card.title));
    if let Some(url) = card.key.source_url() {
        rows.extend([said("url", url), said("resolver", card.key.provider())].into_iter().flatten());
    }
    rows.extend([said("source", &card.source), said("type", &card.content_type)].into_iter().flatten());
    rows.extend(said("run", &card.run));
    rows.push(field("state", card.state.word().to_owned()));
    rows.push(field("trust", card.trust.word().to_owned()));
    rows.push(field("evidence", card.evidence.as_ref().map_or("none".to_owned(), evidence)));
    rows.push(field("registered", text::time(card.registered_ns)));
    rows.push(field("changed", text::time(card.updated_ns)));
    rows.push(field("verified", card.verified_ns.map_or("never".to_owned(), text::time)));
    rows.extend(entry.trashed_ns.map(|ns| field("in the trash", format!("since {}", text::time(ns)))));
    rows.push(field("used", used(entry)));
    rows.push(field("size", context.size(entry.size_bytes())));
    rows.extend(
        (!card.tags.is_empty())
            .then(|| field("tags", card.tags.iter().map(|tag| text::message(tag)).collect::<Vec<_>>().join(", "))),
    );
    rows.extend(
        card.metadata.iter().map(|(key, value)| field("", format!("{}={}", text::message(key), text::message(value)))),
    );
    if let Some(first) = rows.iter().position(|row| row[0].is_empty()) {
        rows[first][0] = "metadata".to_owned();
    }
    rows.extend([said("SBOM", &card.sbom), said("signature", &card.signature)].into_iter().flatten());
    let mut words = text::table(&[], &[], rows);
    if !card.notes.is_empty() {
        let notes = text::lines(&card.notes);
        words.push_str(&format!("\nnotes\n  {}", notes.replace('\n', "\n  ")));
    }
    words.push_str(&format!("\n{}", text::count(entry.variants.len() as u64, "variant")));
    for one in &entry.variants {
        words.push_str(&variant(context, one));
    }
    words
}

fn used(entry: &Entry) -> String {
    match entry.usage.count {
        0 => "never".to_owned(),
        count => format!("{}, last {}", text::count(count, "time"), text::time(entry.usage.last_ns)),
    }
}

/// What shows that an entry's bytes are what they should be, in words.
fn evidence(evidence: &Evidence) -> String {
    let digest = |digest: &Option<Digest>| digest.map_or("nothing".to_owned(), |digest| digest.to_string());
    let (by, when) = (text::message(&evidence.by), text::time(evidence.when_ns));
    format!("by {by}, {when}: found {}, expected {}", digest(&evidence.found), digest(&evidence.expected))
}

fn variant(context: &Context, variant: &Variant) -> String {
    let name = if variant.name.is_empty() { "(the whole)".to_owned() } else { text::message(&variant.name) };
    let size = variant.size_bytes.map_or("size not known".to_owned(), |size| context.size(size));
    let kind = if variant.content_type.is_empty() {
        String::new()
    } else {
        format!(", {}", text::message(&variant.content_type))
    };
    let mut words = format!("\n  {name}  {size}{kind}");
    let mut more = |word: &str, value: String| words.push_str(&format!("\n    {word:<9} {value}"));
    match (&variant.digest, &variant.expected) {
        (Some(digest), None) => more("digest", digest.to_string()),
        (Some(digest), Some(expected)) if digest == expected => more("digest", format!("{digest}, as expected")),
        (digest, Some(expected)) => {
            more("digest", digest.map_or("not known".to_owned(), |digest| digest.to_string()));
            more("expected", expected.to_string());
        }
        (None, None) => more("digest", "not known".to_owned()),
    }
    if !variant.uri.is_empty() && variant.digest.is_none_or(|digest| variant.uri != StoredUri::Blob(digest).to_string())
    {
        more("at", text::message(&variant.uri));
    }
    if let Some(alias) = &variant.alias {
        more("named", text::name(alias));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_of_keys_is_read_as_keys_are_written() {
        let begins = |key: &Key, text: &str| key.to_bytes().starts_with(&key_prefix(text).unwrap().0);
        let model = Key::model("hf", "org/repo", "v1").unwrap();
        for text in ["model:", "model:h", "model:hf/", "model:hf/or", "model:hf/org/repo@", "model:hf/org/repo@v"] {
            assert!(begins(&model, text), "{text}");
        }
        for text in ["model:f", "model:hf/rg", "model:hf/org@v", "document:"] {
            assert!(!begins(&model, text), "{text}");
        }
        assert!(begins(&Key::document("10.1/x", "u", "r").unwrap(), "document:10.1/"));
        assert!(key_prefix("hf/org").is_err());
    }

    #[test]
    fn pairs_are_split_at_the_first_sign() {
        assert_eq!(pair("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert_eq!(pair("a="), Ok(("a".into(), String::new())));
        assert!(pair("a").is_err() && pair("=b").is_err());
    }
}
