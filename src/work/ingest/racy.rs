//! Changes that a stamp may not show: the clocks that files get their times from tick.

use std::time::Duration;

use super::stage::Stager;
use crate::machine::Meta;
use crate::vocabulary::limits::{COARSE_TIME_TICK, FILE_TIME_TICK};

impl Stager<'_> {
    /// Whether a write from now on might leave the ctime as it is: the clock of a filesystem ticks, and the last change
    /// was within its tick, or is yet to come.
    pub(super) fn is_racy(&self, source: &Meta) -> bool {
        let now = i128::from(self.ledger.machine.now_ns());
        i128::from(source.ctime_ns) + nanos(tick(source)) >= now
    }

    /// Waits for the tick of a source's last change to pass; `false` where there is nothing to wait for.
    pub(super) fn settles(&self, source: &Meta) -> bool {
        let (now, tick) = (i128::from(self.ledger.machine.now_ns()), tick(source));
        let waits = self.is_racy(source) && i128::from(source.ctime_ns) <= now;
        if waits {
            self.ledger.machine.pause(tick);
        }
        waits
    }
}

/// The tick of the clock that gave a file its ctime.
fn tick(source: &Meta) -> Duration {
    if source.ctime_ns % 1_000_000_000 == 0 { COARSE_TIME_TICK } else { FILE_TIME_TICK }
}

fn nanos(time: Duration) -> i128 {
    i128::try_from(time.as_nanos()).unwrap_or(i128::MAX / 2)
}
