//! One document with a list of models: the `catalog.json` of a directory of named model files (R61).

use std::fmt;
use std::io::Read;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::Importing;
use crate::vocabulary::limits::CATALOG_JSON_BYTES;
use crate::vocabulary::{Error, ErrorKind, Result};

/// Takes each model of the document. What follows a mistake in its JSON is not read.
pub(super) fn read(input: &mut dyn Read, importing: &mut Importing<'_>) -> Result<()> {
    let bounded = std::io::BufReader::new(input.take(CATALOG_JSON_BYTES + 1));
    let mut reader = serde_json::Deserializer::from_reader(bounded);
    let mut trouble = None;
    let mut models = Models { importing, trouble: &mut trouble, number: 0 };
    let read = reader.deserialize_map(&mut models);
    let stopped = trouble.take();
    match (stopped, read) {
        (Some(Stopped::Failed(e)), _) => Err(e),
        (Some(Stopped::Asked), _) | (None, Ok(())) => Ok(()),
        (None, Err(e)) => {
            let attempt = "read the catalog";
            Err(match e.io_error_kind() {
                Some(kind) => Error::system(attempt, kind.into()),
                None => Error::new(ErrorKind::Invalid, attempt, e.to_string()),
            })
        }
    }
}

/// Why it stopped before the end of the document.
enum Stopped {
    Asked,
    Failed(Error),
}

struct Models<'a, 'b> {
    importing: &'a mut Importing<'b>,
    trouble: &'a mut Option<Stopped>,
    number: u64,
}

impl<'de> Visitor<'de> for &mut Models<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a list \"models\"")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = false;
        while let Some(name) = map.next_key::<String>()? {
            if name == "models" {
                map.next_value_seed(List(&mut *self))?;
                seen = true;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        if seen { Ok(()) } else { Err(A::Error::custom("it has no list \"models\"")) }
    }
}

struct List<'a, 'b, 'c>(&'a mut Models<'b, 'c>);

impl<'de> DeserializeSeed<'de> for List<'_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for List<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of models")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let models = self.0;
        while let Some(model) = list.next_element::<Box<RawValue>>()? {
            models.number += 1;
            let stopped = match models.importing.take(models.number, model.get().as_bytes()) {
                Ok(true) => continue,
                Ok(false) => Stopped::Asked,
                Err(e) => Stopped::Failed(e),
            };
            *models.trouble = Some(stopped);
            return Err(A::Error::custom("stopped"));
        }
        Ok(())
    }
}
