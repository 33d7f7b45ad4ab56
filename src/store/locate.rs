//! From what is known of a model to its file.

use std::path::PathBuf;

use super::Store;
use crate::vocabulary::{Digest, Entry, EntryTarget, Error, ErrorKind, Key, ModelRef, Result, StoredUri};
use crate::work::names::{self, Target};

impl Store {
    /// What a target means; `None` for a name or digest that the store does not have.
    pub fn digest_of(&self, target: &Target) -> Result<Option<Digest>> {
        match names::resolve(self.ledger.snapshot()?.as_ref(), target) {
            Ok(digest) => Ok(Some(digest)),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// The file of an entry's variant (R77, R87): that of its blob, or, where the store does not have it, the one that its
    /// URI names. Without `variant`, it is the one that stands for the whole. [`ErrorKind::NotFound`] where there is none.
    pub fn locate_entry(&self, entry: &Entry, variant: Option<&str>) -> Result<PathBuf> {
        let variant = entry.meant(variant)?;
        if let Some(digest) = variant.digest
            && self.digest_of(&Target::Digest(digest))?.is_some()
        {
            return self.path(&Target::Digest(digest));
        }
        let missing =
            |reason: &str| Error::new(ErrorKind::NotFound, format!("find the file of {}", entry.card.key), reason);
        let Some(path) = StoredUri::parse(&variant.uri).ok().and_then(|uri| uri.path().map(PathBuf::from)) else {
            return Err(missing("the store does not have its bytes, and no file is on record"));
        };
        match self.ledger.machine.stat(&path) {
            Ok(_) => {
                self.note_use(&entry.card.key);
                Ok(path)
            }
            Err(e) => Err(Error::io("find", &path, e)),
        }
    }

    /// The file of the model that a reference means, if it is here (R87, R92): what its path within the repository, or else
    /// its only or main variant, is in the store or on this machine.
    pub fn find_local_model(&self, model: &ModelRef) -> Result<Option<PathBuf>> {
        let Some(entry) = self.entry_of_model(model)? else { return Ok(None) };
        match self.locate_entry(&entry, model.path()) {
            Ok(path) => Ok(Some(path)),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// The entry of the model that a reference means (R86, R89); without a version, the only one there is.
    pub fn entry_of_model(&self, model: &ModelRef) -> Result<Option<Entry>> {
        if let Some(entry) = self.entry(&Key::of_model(model)?)? {
            return Ok(Some(entry));
        }
        if model.version().is_some() {
            return Ok(None);
        }
        let target = EntryTarget::Model {
            provider: model.provider().to_owned(),
            reference: model.reference().into_owned(),
            version: None,
        };
        match self.find_entry(&target) {
            Ok(entry) => Ok(Some(entry).filter(|entry| entry.trashed_ns.is_none())),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }
}
