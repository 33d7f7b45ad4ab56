//! All of a run, compared with what it says of itself.

use std::sync::Arc;

use super::cursor::RunCursor;
use super::run::Run;
use super::source::Source;
use crate::vocabulary::Result;

impl Run {
    /// Reads all of the file and compares it with what it says of itself.
    pub fn check(self: &Arc<Self>) -> Result<()> {
        self.check_header()?;
        self.check_filter()?;
        self.check_entries()
    }

    fn check_entries(self: &Arc<Self>) -> Result<()> {
        let (mut records, mut tombstones, mut last) = (0, 0, None);
        let mut cursor = RunCursor::all(self)?;
        while let Some(key) = cursor.key() {
            if last.as_deref().is_some_and(|last| last >= key) {
                return Err(self.body.damaged("its keys are not in order"));
            }
            last = Some(key.to_vec());
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
