//! What somebody chose.

use std::collections::BTreeMap;

use super::key::OptionKey;
use super::value::OptionValue;

/// A section of a file of settings.
pub(super) type Section = BTreeMap<String, OptionValue>;

/// Options that somebody chose: in a file, in the environment, for one call. Nothing stands for what nobody did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chosen(BTreeMap<OptionKey, OptionValue>);

/// An option that cannot be what it was set to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// There is no such option.
    #[error("there is no option {0:?}")]
    Unknown(String),
    /// It may not be that.
    #[error("{} cannot be {value:?}: it is {}", key.name(), key.allowed())]
    Value {
        /// Which.
        key: OptionKey,
        /// What it was set to.
        value: String,
    },
    /// It cannot stand in a store's own file.
    #[error("{} cannot stand in larder.toml: the file is in that directory, and cannot say where it is", .0.name())]
    NotInFile(OptionKey),
}

impl Chosen {
    /// Sets an option to what `text` says, in place of what it was set to.
    pub fn set(&mut self, key: OptionKey, text: &str) -> Result<(), Unusable> {
        let value = key.read(text).ok_or_else(|| Unusable::Value { key, value: text.to_owned() })?;
        self.0.insert(key, value);
        Ok(())
    }

    /// Takes a choice away; `false` if there was none.
    pub fn unset(&mut self, key: OptionKey) -> bool {
        self.0.remove(&key).is_some()
    }

    /// What was chosen for an option.
    pub fn get(&self, key: OptionKey) -> Option<&OptionValue> {
        self.0.get(&key)
    }

    /// What an option is: as chosen, or its default.
    pub fn value(&self, key: OptionKey) -> OptionValue {
        self.get(key).cloned().unwrap_or_else(|| key.default_value())
    }

    /// Whether nothing was chosen.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Everything that was chosen, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = (OptionKey, &OptionValue)> {
        self.0.iter().map(|(key, value)| (*key, value))
    }

    /// This, and in its place whatever `stronger` chose.
    #[must_use]
    pub fn and(mut self, stronger: &Chosen) -> Chosen {
        self.0.extend(stronger.0.iter().map(|(key, value)| (*key, value.clone())));
        self
    }

    /// Of this, what `which` wants.
    #[must_use]
    pub fn filtered(mut self, which: impl Fn(OptionKey) -> bool) -> Chosen {
        self.0.retain(|key, _| which(*key));
        self
    }

    /// What a section of a file chooses.
    pub(crate) fn take_section(&mut self, section: &str, values: Section) -> Result<(), Unusable> {
        for (name, value) in values {
            let full = format!("{section}.{name}");
            let key = OptionKey::of(&full).ok_or(Unusable::Unknown(full))?;
            if !key.is_in_file() {
                return Err(Unusable::NotInFile(key));
            }
            let text = value.to_string();
            let value = key.checked(value).ok_or(Unusable::Value { key, value: text })?;
            self.0.insert(key, value);
        }
        Ok(())
    }

    /// What it is as a section of a file.
    pub(crate) fn section(&self, section: &str) -> Section {
        let of = self.0.iter().filter(|(key, _)| key.section() == section && key.is_in_file());
        of.map(|(key, value)| (key.short_name().to_owned(), value.clone())).collect()
    }
}
