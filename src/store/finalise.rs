//! Finalising, from the front.

use std::path::Path;

use super::Store;
use crate::vocabulary::{Observer, Result};
use crate::work::finalise::{self, FinaliseOptions, Finalised, Finished};

impl Store {
    /// Takes a finished temporary file in, with where it came from (R20); see [`finalise::finalise`]. `None` for options
    /// does as the store's options say.
    pub fn finalise(
        &self,
        file: &Path,
        what: Finished,
        options: Option<&FinaliseOptions>,
        observer: &dyn Observer,
    ) -> Result<Finalised> {
        let own = FinaliseOptions::of(self.options());
        let key = what.registration.key.clone();
        let options = options.unwrap_or(&own);
        let expected = what.expected.is_some();
        let done = self.within_limits(Some(&key), observer, || {
            finalise::finalise(&self.writing()?, file, what, options, observer)
        });
        self.finalised(&key, key.provider(), expected, done)
    }
}
