//! The real machine, with its guard for mapped reads in place.

use std::sync::Arc;

use larder::machine::{Machine, Real, real};

/// The machine this process runs on.
pub(crate) fn machine() -> Arc<dyn Machine> {
    // Without the guard the library reads instead of mapping: slower, never wrong.
    real::install_guard();
    Arc::new(Real::new())
}
