//! What entries are found by.

use serde::{Deserialize, Serialize};

use super::super::digest::Digest;
use super::{Card, Entry, EntryKind, Key, State, Trust};

/// What a term says about an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum TermKind {
    /// Its state.
    State = 1,
    /// Its media type.
    ContentType = 2,
    /// The run that brought it in.
    Run = 3,
    /// One of its tags.
    Tag = 4,
    /// Who provides it, or what found it.
    Provider = 5,
}

/// One thing that an entry is found by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Term {
    /// What it says.
    pub kind: TermKind,
    /// The value.
    pub value: String,
}

impl Term {
    /// A term.
    pub fn new(kind: TermKind, value: &str) -> Self {
        Term { kind, value: value.to_owned() }
    }

    /// The bytes with which the rows of this term begin.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        Term::put_bytes(self.kind, &self.value, &mut bytes);
        bytes
    }

    /// Puts the bytes of a term of this kind and value behind others.
    pub fn put_bytes(kind: TermKind, value: &str, bytes: &mut Vec<u8>) {
        bytes.push(kind as u8);
        bytes.extend_from_slice(value.as_bytes());
        bytes.push(0);
    }
}

/// Which entries are wanted: those that meet everything that is set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Models or documents alone.
    pub kind: Option<EntryKind>,
    /// Keys that begin with these bytes ([`Key::prefix`]).
    pub prefix: Vec<u8>,
    /// In this state.
    pub state: Option<State>,
    /// Of this trust.
    pub trust: Option<Trust>,
    /// By this provider or resolver.
    pub provider: Option<String>,
    /// Brought in by this run.
    pub run: Option<String>,
    /// Of this media type.
    pub content_type: Option<String>,
    /// With all of these tags.
    pub tags: Vec<String>,
    /// With a variant that has this digest.
    pub digest: Option<Digest>,
    /// Registered before this moment, in wall-clock nanoseconds since the epoch.
    pub before_ns: Option<u64>,
    /// Registered at this moment or later.
    pub since_ns: Option<u64>,
    /// Not used since this moment, or never and registered before it.
    pub unused_since_ns: Option<u64>,
    /// Of at least so many bytes.
    pub min_bytes: Option<u64>,
    /// Of at most so many bytes.
    pub max_bytes: Option<u64>,
    /// In key, title, tags, notes or source: all of these pieces of text, whatever their case. One with `*`, `?` or `[` is a
    /// glob over each of them.
    pub text: Vec<String>,
    /// What is in the trash alone, instead of what is not.
    pub trashed: bool,
}

impl Query {
    /// The terms that whatever meets it has; the rest is seen on the entry itself.
    pub fn terms(&self) -> Vec<Term> {
        let mut terms: Vec<Term> = self.tags.iter().map(|tag| Term::new(TermKind::Tag, tag)).collect();
        terms.extend(self.run.iter().map(|run| Term::new(TermKind::Run, run)));
        terms.extend(self.provider.iter().map(|provider| Term::new(TermKind::Provider, provider)));
        terms.extend(self.content_type.iter().map(|kind| Term::new(TermKind::ContentType, kind)));
        terms.extend(self.state.iter().map(|state| Term::new(TermKind::State, state.word())));
        terms
    }

    /// The bytes with which the key of whatever meets it begins.
    pub fn key_prefix(&self) -> Vec<u8> {
        match (self.prefix.is_empty(), self.kind) {
            (true, Some(kind)) => Key::prefix(kind, &[]),
            _ => self.prefix.clone(),
        }
    }

    /// Whether an entry meets it: the slow and obvious way, which says what every index must say.
    pub fn admits(&self, entry: &Entry) -> bool {
        let card = &entry.card;
        self.trashed == entry.trashed_ns.is_some()
            && self.kind.is_none_or(|kind| kind == card.key.kind())
            && (self.prefix.is_empty() || card.key.to_bytes().starts_with(&self.prefix))
            && self.admits_terms(card)
            && self.trust.is_none_or(|trust| trust == card.trust)
            && self.digest.is_none_or(|digest| entry.variants.iter().any(|v| v.digest == Some(digest)))
            && self.admits_times(entry)
            && self.admits_size(entry)
            && self.text.iter().all(|text| says(entry, text))
    }

    /// Whether a card has every term of [`Query::terms`].
    fn admits_terms(&self, card: &Card) -> bool {
        // What is empty is no term.
        let is = |wanted: &Option<String>, found: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == found && !found.is_empty())
        };
        self.tags.iter().all(|tag| card.tags.contains(tag))
            && is(&self.run, &card.run)
            && is(&self.provider, card.key.provider())
            && is(&self.content_type, &card.content_type)
            && self.state.is_none_or(|state| state == card.state)
    }

    fn admits_times(&self, entry: &Entry) -> bool {
        let registered = entry.card.registered_ns;
        self.before_ns.is_none_or(|before| registered < before)
            && self.since_ns.is_none_or(|since| registered >= since)
            && self.unused_since_ns.is_none_or(|since| entry.usage.last_ns.max(registered) < since)
    }

    fn admits_size(&self, entry: &Entry) -> bool {
        let size = entry.size_bytes();
        self.min_bytes.is_none_or(|min| size >= min) && self.max_bytes.is_none_or(|max| size <= max)
    }
}

/// Whether an entry says `text` anywhere that people look.
fn says(entry: &Entry, text: &str) -> bool {
    let card = &entry.card;
    let wanted = text.to_lowercase();
    let key = card.key.to_string();
    let url = card.key.source_url().unwrap_or_default();
    let places = [&key, card.key.reference(), url, &card.title, &card.source, &card.notes];
    let all = places.into_iter().chain(card.tags.iter().map(String::as_str));
    let is_glob = wanted.contains(['*', '?', '[']);
    all.map(str::to_lowercase).any(|place| match is_glob {
        true => glob(&wanted, &place),
        false => place.contains(&wanted),
    })
}

/// Whether all of `text` is what a glob describes: `*` for any text, `?` for one character, `[a-z]` or `[!a-z]` for one of
/// a set; a `[` that is never closed stands for itself.
pub fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    // Where the last `*` was, and how much of the text it stands for so far: only the last one needs to be tried again.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&'*') {
            star = Some((p, t));
            p += 1;
        } else if let Some(width) = one(&pattern[p.min(pattern.len())..], text[t]) {
            p += width;
            t += 1;
        } else if let Some((at, taken)) = star {
            star = Some((at, taken + 1));
            (p, t) = (at + 1, taken + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// How much of a pattern stands for the character `c` at its beginning.
fn one(pattern: &[char], c: char) -> Option<usize> {
    match pattern {
        ['?', ..] => Some(1),
        ['[', rest @ ..] if let Some(end) = rest.iter().skip(1).position(|c| *c == ']') => {
            let set = &rest[..=end];
            let (not, set) = match set {
                ['!' | '^', set @ ..] if !set.is_empty() => (true, set),
                set => (false, set),
            };
            (holds(set, c) != not).then_some(end + 3)
        }
        [first, ..] => (*first == c).then_some(1),
        [] => None,
    }
}

fn holds(mut set: &[char], c: char) -> bool {
    loop {
        match set {
            [from, '-', to, rest @ ..] => {
                if (*from..=*to).contains(&c) {
                    return true;
                }
                set = rest;
            }
            [one, rest @ ..] => {
                if *one == c {
                    return true;
                }
                set = rest;
            }
            [] => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs() {
        for (pattern, text) in [
            ("*", ""),
            ("a*c", "abbc"),
            ("*b*", "abc"),
            ("a?c", "aüc"),
            ("[a-c]x", "bx"),
            ("[!a]x", "bx"),
            ("a[", "a["),
            ("**", "x"),
            ("*.gguf", "q4.gguf"),
            ("a*b*c", "aXbYbZc"),
            ("[]]", "]"),
        ] {
            assert!(glob(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("", "a"), ("a", ""), ("a*c", "abd"), ("[a-c]", "d"), ("[!a-c]", "b"), ("?", "ab")] {
            assert!(!glob(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn a_pattern_of_many_stars_is_not_slow() {
        assert!(!glob(&"*a".repeat(200), &"a".repeat(199)));
        assert!(glob(&"*a".repeat(200), &"a".repeat(2000)));
    }
}
