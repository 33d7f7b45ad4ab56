//! `larder.toml`: what a store is, and how it was set up (format.md, "Settings").

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::options::{Chosen, OptionValue};

/// The format version that this program writes.
pub const FORMAT: u32 = 1;

/// When what is acknowledged is synced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// Once for many files, and acknowledged after that.
    #[default]
    Batch,
    /// Every file by itself.
    Each,
    /// Never: a scratch store.
    None,
}

impl Durability {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Durability::Batch => "batch",
            Durability::Each => "each",
            Durability::None => "none",
        }
    }
}

/// Lists of features by what a program that does not know one must do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Features {
    /// It may ignore these.
    pub compatible: Vec<String>,
    /// It may read, and not write.
    pub read_only_compatible: Vec<String>,
    /// It must not touch the store.
    pub incompatible: Vec<String>,
}

/// The file `larder.toml`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The format version.
    pub format: u32,
    /// Random, 32 hexadecimal digits; keys the journal.
    pub store_id: String,
    /// When what is acknowledged is synced.
    pub durability: Durability,
    /// Whether aliases are hardlinked unless a call says otherwise.
    pub hardlinked: bool,
    /// Mode of blob files, octal.
    pub blob_mode: String,
    /// Mode of directories, octal.
    pub directory_mode: String,
    /// What the store uses beyond the format version.
    pub features: Features,
    /// What was chosen of what may be changed.
    pub options: Chosen,
}

/// The file as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    format: u32,
    store_id: String,
    durability: Durability,
    hardlinked: bool,
    blob_mode: String,
    directory_mode: String,
    #[serde(default)]
    features: Features,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    storage: BTreeMap<String, OptionValue>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    catalog: BTreeMap<String, OptionValue>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    limits: BTreeMap<String, OptionValue>,
}

impl Settings {
    /// The text of the file.
    pub fn to_toml(&self) -> String {
        let written = Written {
            format: self.format,
            store_id: self.store_id.clone(),
            durability: self.durability,
            hardlinked: self.hardlinked,
            blob_mode: self.blob_mode.clone(),
            directory_mode: self.directory_mode.clone(),
            features: self.features.clone(),
            storage: self.options.section("storage"),
            catalog: self.options.section("catalog"),
            limits: self.options.section("limits"),
        };
        toml::to_string(&written).expect("settings are strings, numbers and lists")
    }

    /// Reads the file; the error says which line or option is off.
    pub fn from_toml(text: &str) -> Result<Self, String> {
        let written: Written = toml::from_str(text).map_err(|e| {
            let line = e.span().map_or(1, |span| 1 + text[..span.start].matches('\n').count());
            format!("line {line}: {}", e.message())
        })?;
        let mut options = Chosen::default();
        for (section, values) in
            [("storage", written.storage), ("catalog", written.catalog), ("limits", written.limits)]
        {
            options.take_section(section, values).map_err(|why| why.to_string())?;
        }
        let settings = Settings {
            format: written.format,
            store_id: written.store_id,
            durability: written.durability,
            hardlinked: written.hardlinked,
            blob_mode: written.blob_mode,
            directory_mode: written.directory_mode,
            features: written.features,
            options,
        };
        settings.id().ok_or("store_id is not 32 lower-case hexadecimal digits")?;
        // A store that somebody else made decides neither that blobs can be written to nor that they run as anybody.
        let blobs = settings.mode(&settings.blob_mode).filter(|mode| mode & !0o444 == 0 && mode & 0o400 != 0);
        blobs.ok_or("blob_mode is no octal mode of files that their owner reads and nobody writes or runs")?;
        let directories = settings.mode(&settings.directory_mode).filter(|mode| mode & 0o700 == 0o700);
        directories.ok_or("directory_mode is no octal mode of directories that their owner may use")?;
        Ok(settings)
    }

    /// The format version that the text of a settings file gives, whatever else it says.
    pub fn format_of(text: &str) -> Option<u32> {
        let format = toml::from_str::<toml::Table>(text).ok()?.get("format")?.as_integer()?;
        u32::try_from(format).ok()
    }

    /// The store's id as bytes.
    pub fn id(&self) -> Option<[u8; 16]> {
        let hex = self.store_id.as_bytes();
        if hex.len() != 32 || !hex.iter().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(b)) {
            return None;
        }
        let number = u128::from_str_radix(&self.store_id, 16).ok()?;
        Some(number.to_be_bytes())
    }

    /// An octal mode of at most twelve bits.
    pub fn mode(&self, text: &str) -> Option<u32> {
        u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_read_back_and_strange_ones_are_refused() {
        let settings = Settings {
            format: FORMAT,
            store_id: "00112233445566778899aabbccddeeff".into(),
            durability: Durability::Each,
            hardlinked: true,
            blob_mode: "0444".into(),
            directory_mode: "0755".into(),
            features: Features::default(),
            options: Chosen::default(),
        };
        let text = settings.to_toml();
        assert_eq!(Settings::from_toml(&text), Ok(settings));
        assert!(Settings::from_toml(&text.replace("each", "often")).is_err());
        assert!(Settings::from_toml(&text.replace("0444", "0440")).is_ok());
        for mode in ["9", "0644", "4444", "0040", "7777", "0555"] {
            assert!(Settings::from_toml(&text.replace("0444", mode)).is_err(), "{mode}");
        }
        assert!(Settings::from_toml(&text.replace("0755", "0555")).is_err());
        let why = Settings::from_toml(&text.replace("each", "often")).unwrap_err();
        assert!(why.starts_with("line 3: ") && !why.contains('\n'), "{why}");
        assert!(Settings::from_toml(&format!("surprise = 1\n{text}")).is_err());
        assert!(Settings::from_toml("").is_err());
        let with = |more: &str| Settings::from_toml(&format!("{text}\n{more}"));
        let mut chosen = with("[catalog]\nbackend = \"sqlite\"\n[limits]\nmin_free = \"1KiB\"").unwrap();
        assert_eq!(chosen.options.iter().count(), 2);
        assert_eq!(Settings::from_toml(&chosen.to_toml()).as_ref(), Ok(&chosen));
        assert!(chosen.to_toml().ends_with("[catalog]\nbackend = \"sqlite\"\n\n[limits]\nmin_free = 1024\n"));
        chosen.options = Chosen::default();
        assert_eq!(chosen.to_toml(), text);
        let why = |more: &str| with(more).unwrap_err();
        assert!(why("[catalog]\nbackend = \"oracle\"").contains("catalog.backend"));
        assert!(why("[catalog]\nbackend = 7").contains("embedded or sqlite"));
        assert!(why("[limits]\nmin_free = -1").contains("line 1"), "{}", why("[limits]\nmin_free = -1"));
        assert!(why("[limits]\nmore = 1").contains("limits.more"));
        assert!(why("[storage]\nroot_dir = \"/x\"").contains("storage.root_dir"));
        assert_eq!(Settings::format_of("format = 9\nsurprise = 1"), Some(9));
        assert_eq!(Settings::format_of("format = -1"), None);
    }
}
