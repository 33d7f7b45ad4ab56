//! One JSON object per line, its keys in the order in which they are documented.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use larder::{ByteRanges, Damage, Name};
use serde::Serialize;

use super::text;

/// The version of everything that `--json` prints.
const SCHEMA: u32 = 1;

/// One JSON object that is being written.
#[derive(Debug)]
pub(crate) struct Line(String);

impl Line {
    /// The beginning of a line: its schema, and what it tells.
    pub(crate) fn event(event: &str) -> Line {
        Line::part().with("schema", SCHEMA).with("event", event)
    }

    /// The beginning of an object inside a line.
    pub(crate) fn part() -> Line {
        Line("{".to_owned())
    }

    /// One more field.
    #[must_use]
    pub(crate) fn with(mut self, key: &str, value: impl Serialize) -> Line {
        let value = serde_json::to_string(&value).expect("numbers, text and lists of them are always JSON");
        self.key(key);
        self.0.push_str(&value);
        self
    }

    /// One more field, if there is a value for it.
    #[must_use]
    pub(crate) fn maybe(self, key: &str, value: Option<impl Serialize>) -> Line {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }

    /// Text that may not be UTF-8: the field is lossy then, and `<key>_bytes` holds it in base64.
    #[must_use]
    pub(crate) fn bytes(self, key: &str, value: &[u8]) -> Line {
        match std::str::from_utf8(value) {
            Ok(text) => self.with(key, text),
            Err(_) => {
                self.with(key, String::from_utf8_lossy(value)).with(&format!("{key}_bytes"), STANDARD.encode(value))
            }
        }
    }

    /// A name, as [`Line::bytes`].
    #[must_use]
    pub(crate) fn name(self, name: &Name) -> Line {
        self.bytes("name", name.as_bytes())
    }

    /// A path, as [`Line::bytes`].
    #[must_use]
    pub(crate) fn path(self, key: &str, path: &Path) -> Line {
        self.bytes(key, path.as_os_str().as_bytes())
    }

    /// `names`, and `names_bytes` beside it, one for one, when any of them is not UTF-8.
    #[must_use]
    pub(crate) fn names<'a>(self, names: impl Iterator<Item = &'a Name> + Clone) -> Line {
        let exact = names.clone().all(|name| name.as_str().is_some());
        let bytes = (!exact).then(|| names.clone().map(|n| STANDARD.encode(n.as_bytes())).collect::<Vec<_>>());
        self.with("names", names.map(ToString::to_string).collect::<Vec<_>>()).maybe("names_bytes", bytes)
    }

    /// A moment, from nanoseconds since the epoch, as RFC 3339.
    #[must_use]
    pub(crate) fn time(self, key: &str, ns: impl Into<i128>) -> Line {
        self.with(key, text::exact_time(ns.into()))
    }

    /// An object inside this one.
    #[must_use]
    pub(crate) fn object(mut self, key: &str, part: Line) -> Line {
        self.key(key);
        self.0.push_str(&part.close());
        self
    }

    /// A list of objects inside this one.
    #[must_use]
    pub(crate) fn list(mut self, key: &str, parts: impl Iterator<Item = Line>) -> Line {
        self.key(key);
        self.0.push('[');
        self.0.push_str(&parts.map(Line::close).collect::<Vec<_>>().join(","));
        self.0.push(']');
        self
    }

    /// As [`Line::list`], and nothing at all if there is nothing in it.
    #[must_use]
    pub(crate) fn list_unless_empty(self, key: &str, parts: impl ExactSizeIterator<Item = Line>) -> Line {
        if parts.len() == 0 { self } else { self.list(key, parts) }
    }

    /// Where a file is wrong: as many ranges as are told, and how many bytes all of them are.
    #[must_use]
    pub(crate) fn damage(self, damage: &Damage) -> Line {
        let part = |range: &std::ops::Range<u64>| Line::part().with("start", range.start).with("end", range.end);
        let some = |ranges: &ByteRanges| (!ranges.is_empty()).then(|| ranges.bytes());
        self.list_unless_empty("ranges", damage.wrong.told().iter().map(part))
            .maybe("wrong_bytes", some(&damage.wrong))
            .list_unless_empty("unreadable_ranges", damage.unreadable.told().iter().map(part))
            .maybe("unreadable_bytes", some(&damage.unreadable))
    }

    /// All fields of a finished object.
    #[must_use]
    pub(crate) fn fields_of(mut self, object: &str) -> Line {
        let fields = object.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or_default();
        if !fields.is_empty() {
            self.0.push_str(if self.0.len() > 1 { "," } else { "" });
            self.0.push_str(fields);
        }
        self
    }

    /// The finished object, without a line feed.
    pub(crate) fn close(mut self) -> String {
        self.0.push('}');
        self.0
    }

    fn key(&mut self, key: &str) {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        self.0.push('"');
        self.0.push_str(key);
        self.0.push_str("\":");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_comes_first_and_the_fields_in_order() {
        let line =
            Line::event("added").name(&Name::new("a/ü").unwrap()).with("size_bytes", 3_u64).with("status", "new");
        assert_eq!(line.close(), r#"{"schema":1,"event":"added","name":"a/ü","size_bytes":3,"status":"new"}"#);
    }

    #[test]
    fn a_name_that_is_not_utf8_is_there_in_full() {
        let name = Name::new(b"a\xff".to_vec()).unwrap();
        let text = Line::part().name(&name).close();
        assert_eq!(text, "{\"name\":\"a\u{fffd}\",\"name_bytes\":\"Yf8=\"}");
    }

    #[test]
    fn names_have_bytes_beside_them_only_when_one_needs_it() {
        let plain = [Name::new("a").unwrap(), Name::new("b").unwrap()];
        assert_eq!(Line::part().names(plain.iter()).close(), r#"{"names":["a","b"]}"#);
        let mixed = [Name::new("a").unwrap(), Name::new(vec![0xff]).unwrap()];
        let text = Line::part().names(mixed.iter()).close();
        assert_eq!(text, "{\"names\":[\"a\",\"\u{fffd}\"],\"names_bytes\":[\"YQ==\",\"/w==\"]}");
    }

    #[test]
    fn objects_and_lists_nest_and_stay_json() {
        let parts = [Line::part().with("a", 1), Line::part()];
        let text = Line::event("x").object("o", Line::part().time("at", 0_u64)).list("l", parts.into_iter()).close();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["o"]["at"], "1970-01-01T00:00:00Z");
        assert_eq!(value["l"].as_array().unwrap().len(), 2);
    }
}
