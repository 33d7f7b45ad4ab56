//! Scrubs of the front, and the look that reads nothing.

use std::time::Duration;

use super::Store;
use super::metrics::Op;
use crate::vocabulary::{Observer, Result};
use crate::work::scrub::{self, ScrubOptions, ScrubReport, ScrubStatus, Wanting};
use crate::work::status::{self, StatusOptions, StatusReport};

impl Store {
    /// Reads blobs and carriers, the most urgent first, going on where an earlier scrub was broken off; see
    /// [`scrub::scrub`].
    pub fn scrub(&self, options: &ScrubOptions, observer: &dyn Observer) -> Result<ScrubReport> {
        let done = scrub::scrub(&self.reading(), options, observer);
        if let Ok(report) = &done {
            self.judged("ok", report.ok);
            self.judged("corrupt", report.corrupt);
            self.judged("missing", report.missing);
            self.judged("unreadable", report.unreadable);
        }
        self.did(Op("verify", "scrub"), &"", done)
    }

    /// How scrubs of this store stand, with how much was read within `max_age`; see [`scrub::scrub_status`].
    pub fn scrub_status(&self, max_age: Option<Duration>) -> Result<ScrubStatus> {
        scrub::scrub_status(&self.reading(), max_age)
    }

    /// Says what is wanted of a running scrub and of later ones; see [`scrub::want`].
    pub fn want_of_scrubs(&self, wanting: Wanting) -> Result<()> {
        self.did(Op("configure", "scrub"), &"", scrub::want(&self.writing()?, wanting))
    }

    /// Whether files look as they were recorded, reading none; see [`status::status`].
    pub fn status(&self, options: &StatusOptions, observer: &dyn Observer) -> Result<StatusReport> {
        status::status(&self.reading(), options, observer)
    }
}
