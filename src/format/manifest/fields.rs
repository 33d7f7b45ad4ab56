//! One object of JSON, field by field: what is wanted is taken out, and what is left is nobody's.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::vocabulary::limits::MANIFEST_FIELDS;
use crate::vocabulary::moment;

/// Why a line cannot be used, in words.
pub type Unusable = String;

/// An object whose values are still text. A field that is there twice, and more of them than [`MANIFEST_FIELDS`], are
/// refused: what a reader makes of the first is not what another makes of the second.
#[derive(Debug, Default)]
pub(super) struct Fields<'a>(BTreeMap<String, &'a RawValue>);

impl<'a> Fields<'a> {
    /// The fields of an object; anything else is no object.
    pub(super) fn of(json: &'a [u8]) -> Result<Self, Unusable> {
        serde_json::from_slice(json).map_err(|e| words(&e))
    }

    /// Whether there is such a field, and more than null in it.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|value| value.get() != "null")
    }

    /// What is left, as text: a string as it is, anything else as JSON.
    pub(super) fn rest(self) -> impl Iterator<Item = (String, String)> + 'a {
        let some = self.0.into_iter().filter(|(_, value)| value.get() != "null");
        some.map(|(name, value)| {
            let text = serde_json::from_str(value.get()).unwrap_or_else(|_| value.get().to_owned());
            (name, text)
        })
    }

    /// Text or a number in a field, which stays.
    pub(super) fn peek(&self, name: &str) -> Option<String> {
        let raw = self.0.get(name)?.get();
        let number = !raw.is_empty() && raw.bytes().all(|b| b.is_ascii_digit());
        if number { Some(raw.to_owned()) } else { serde_json::from_str(raw).ok() }
    }

    /// Leaves a field out.
    pub(super) fn drop(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// The first of these fields that is there and says something.
    fn take(&mut self, names: &[&'static str]) -> Option<(&'static str, &'a str)> {
        names.iter().find_map(|name| {
            let raw = self.0.remove(*name)?.get();
            (raw != "null").then_some((*name, raw))
        })
    }

    fn read<T: Deserialize<'a>>(
        &mut self,
        names: &[&'static str],
        what: &str,
    ) -> Result<Option<(&'static str, T)>, Unusable> {
        let Some((name, raw)) = self.take(names) else { return Ok(None) };
        let value = serde_json::from_str(raw);
        value.map(|value| Some((name, value))).map_err(|_| format!("its {name:?} is {what}"))
    }

    /// Text; empty where there is none.
    pub(super) fn text(&mut self, names: &[&'static str]) -> Result<String, Unusable> {
        Ok(self.read(names, "no text")?.map(|(_, text)| text).unwrap_or_default())
    }

    /// Text, or a number as text: what programs use as the id of something.
    pub(super) fn id(&mut self, names: &[&'static str]) -> Result<String, Unusable> {
        let Some((name, raw)) = self.take(names) else { return Ok(String::new()) };
        let number = raw.bytes().all(|b| b.is_ascii_digit()).then(|| raw.to_owned());
        let text = number.or_else(|| serde_json::from_str(raw).ok());
        text.ok_or_else(|| format!("its {name:?} is neither text nor a whole number"))
    }

    /// Text where it is text; the field stays where it is something else.
    pub(super) fn text_if_text(&mut self, name: &str) -> Option<String> {
        let text = serde_json::from_str(self.0.get(name)?.get()).ok()?;
        self.0.remove(name);
        Some(text)
    }

    /// True or false where it is that; the field stays where it is something else.
    pub(super) fn truth(&mut self, name: &str) -> Option<bool> {
        let truth = serde_json::from_str(self.0.get(name)?.get()).ok()?;
        self.0.remove(name);
        Some(truth)
    }

    /// A whole number, or text that is one.
    pub(super) fn number(&mut self, names: &[&'static str]) -> Result<Option<u64>, Unusable> {
        let Some((name, raw)) = self.take(names) else { return Ok(None) };
        let digits = raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(raw);
        let number = digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok()).flatten();
        number.map(Some).ok_or_else(|| format!("its {name:?} is no whole number"))
    }

    /// A moment: RFC 3339, or seconds since the epoch.
    pub(super) fn moment(&mut self, names: &[&'static str]) -> Result<Option<u64>, Unusable> {
        let Some((name, raw)) = self.take(names) else { return Ok(None) };
        let read = match serde_json::from_str::<String>(raw) {
            Ok(text) if text.is_empty() => return Ok(None),
            Ok(text) => moment::parse(&text),
            Err(_) => seconds(raw),
        };
        read.map(Some).ok_or_else(|| format!("its {name:?} is no moment"))
    }

    /// The object in a field.
    pub(super) fn object(&mut self, name: &'static str) -> Result<Option<Fields<'a>>, Unusable> {
        let Some((_, raw)) = self.take(&[name]) else { return Ok(None) };
        serde_json::from_str(raw).map(Some).map_err(|e| format!("its {name:?}: {}", words(&e)))
    }

    /// The list in a field, of at most so many.
    pub(super) fn list<T: Deserialize<'a>>(&mut self, name: &'static str, most: usize) -> Result<Vec<T>, Unusable> {
        let Some((_, raw)) = self.take(&[name]) else { return Ok(Vec::new()) };
        let mut reader = serde_json::Deserializer::from_str(raw);
        let list = reader.deserialize_seq(Bounded { most, items: PhantomData });
        list.map_err(|e| format!("its {name:?}: {}", words(&e)))
    }
}

/// What is wrong with JSON, with the column where that is but without the line, which is that of the file.
fn words(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let column = error.column();
    match text.rsplit_once(" at line ") {
        Some((what, _)) if column > 0 => format!("{what} (byte {column} of the line)"),
        _ => text,
    }
}

/// Seconds since the epoch, perhaps with a fraction, as nanoseconds.
fn seconds(raw: &str) -> Option<u64> {
    let (whole, fraction) = raw.split_once('.').unwrap_or((raw, "0"));
    let plain = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !plain(whole) || !plain(fraction) {
        return None;
    }
    let nine: String = fraction.chars().chain(std::iter::repeat('0')).take(9).collect();
    whole.parse::<u64>().ok()?.checked_mul(1_000_000_000)?.checked_add(nine.parse().ok()?)
}

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = BTreeMap<String, &'de RawValue>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = BTreeMap::new();
                while let Some(name) = map.next_key::<String>()? {
                    if fields.len() == MANIFEST_FIELDS {
                        return Err(A::Error::custom(format!("it has more than {MANIFEST_FIELDS} fields")));
                    }
                    if fields.contains_key(&name) {
                        let start: String = name.chars().take(80).collect();
                        return Err(A::Error::custom(format!("the field {start:?} is there twice")));
                    }
                    fields.insert(name, map.next_value()?);
                }
                Ok(fields)
            }
        }
        from.deserialize_map(Object).map(Fields)
    }
}

struct Bounded<T> {
    most: usize,
    items: PhantomData<T>,
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Bounded<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            if items.len() == self.most {
                return Err(A::Error::custom(format!("there are more than {}", self.most)));
            }
            items.push(item);
        }
        Ok(items)
    }
}
