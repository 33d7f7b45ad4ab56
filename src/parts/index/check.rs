//! All of a run, compared with what it says of itself.

use std::sync::Arc;

use super::cursor::RunCursor;
use super::run::Run;
use super::source::Source;
use crate::vocabulary::Result;

/// Records between two questions whether to stop.
const RECORDS_BETWEEN: u64 = 4096;

impl Run {
    /// Reads all of the file and compares it with what it says of itself.
    pub fn check(self: &Arc<Self>) -> Result<()> {
        self.check_unless(&|| Ok(()))
    }

    /// The same; ends with the error of `stop`, which is asked now and then, once it gives one.
    pub fn check_unless(self: &Arc<Self>, stop: &dyn Fn() -> Result<()>) -> Result<()> {
        self.check_header()?;
        self.check_filter()?;
        self.check_entries(stop)
    }

    fn check_entries(self: &Arc<Self>, stop: &dyn Fn() -> Result<()>) -> Result<()> {
        let (mut records, mut tombstones, mut last) = (0, 0, None);
        let mut cursor = RunCursor::all(self)?;
        while let Some(key) = cursor.key() {
            if last.as_deref().is_some_and(|last| last >= key) {
                return Err(self.body.damaged("its keys are not in order"));
            }
            last = Some(key.to_vec());
            if records % RECORDS_BETWEEN == 0 {
                stop()?;
            }
            records += 1;
            tombstones += u64::from(cursor.value().is_none());
            cursor.advance()?;
        }
        if (records, tombstones) != (self.footer.records, self.footer.tombstones) {
            return Err(self.body.damaged("it does not hold as many entries as it says"));
        }
        Ok(())
    }
}
