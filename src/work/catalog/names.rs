//! What the files of an entry are called in the store where nobody says otherwise.

use crate::vocabulary::url::policy_name;
use crate::vocabulary::{EntryKind, Key, Name};

/// The name for a file of an entry (R7): `PROVIDER/REFERENCE[@VERSION]/FILE` of a model, `ARTIFACT/FILE` of a document.
/// An empty `file` stands for the base name of a document's URL. Where that is no valid name,
/// `unnamed-<identity of the entry>` stands for what is in front of the file.
pub fn name_for(key: &Key, file: &[u8]) -> Name {
    let directory = match key.kind() {
        EntryKind::Document if file.is_empty() => {
            return policy_name(key.reference(), key.source_url().unwrap_or_default());
        }
        EntryKind::Document => key.reference().to_owned(),
        EntryKind::Model => {
            let version = key.version().filter(|version| !version.is_empty()).map(|version| format!("@{version}"));
            format!("{}/{}{}", key.provider(), key.reference(), version.unwrap_or_default())
        }
    };
    let unnamed = format!("unnamed-{}", key.id());
    let file = if file.is_empty() { b"model" } else { file };
    let below = |directory: &str| Name::new([directory.as_bytes(), b"/", file].concat());
    below(&directory).or_else(|_| below(&unnamed)).unwrap_or_else(|_| Name::new(unnamed).expect("it is a plain word"))
}

/// Another name for the same file, for where the first one means other bytes already: the beginning of the entry's
/// identity goes before its last part.
pub fn other_name_for(key: &Key, name: &Name) -> Name {
    let id = key.id().to_string();
    let (base, all) = (name.base(), name.as_bytes());
    let directory = &all[..all.len() - base.len()];
    let other = Name::new([directory, &id.as_bytes()[..8], b"-", base].concat());
    other.unwrap_or_else(|_| Name::new(format!("unnamed-{id}/{}", &id[..8])).expect("it is made of plain words"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_models_and_documents_have_names_of_their_own() {
        let model = |reference, version| Key::model("hf", reference, version).unwrap();
        let document = |artifact, url| Key::document(artifact, url, "r").unwrap();
        let named = |key: Key, file: &str| name_for(&key, file.as_bytes()).to_string();
        assert_eq!(named(model("org/repo", "v1"), "q4.gguf"), "hf/org/repo@v1/q4.gguf");
        assert_eq!(named(model("org/repo", ""), "a/q4.gguf"), "hf/org/repo/a/q4.gguf");
        assert_eq!(named(document("10.1/x", "https://h/a/b.pdf?c"), ""), "10.1/x/b.pdf");
        assert_eq!(named(document("10.1/x", "https://h/a/b.pdf"), "c.txt"), "10.1/x/c.txt");
        for bad in ["../etc", "/etc", "a//b"] {
            let key = model(bad, "");
            assert_eq!(named(key.clone(), "passwd"), format!("unnamed-{}/passwd", key.id()));
            assert_eq!(named(key.clone(), "../../passwd"), format!("unnamed-{}", key.id()));
        }
        let key = model("org/repo", "");
        let other = other_name_for(&key, &name_for(&key, b"q4"));
        assert_eq!(other.to_string(), format!("hf/org/repo/{}-q4", &key.id().to_string()[..8]));
    }
}
