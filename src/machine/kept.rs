//! Directories that stay open, for whoever reaches many entries of a few of them.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use super::{File, Machine};

/// A directory, once it was wanted; `None` within where entries are reached by their paths.
type Slot = OnceLock<Option<Box<dyn File>>>;

/// A fixed number of directories, each opened when it is first wanted and open from then on. They must be such that
/// never go away: what is reached is the directory that was opened.
pub struct KeptOpen {
    machine: Arc<dyn Machine>,
    slots: Box<[Slot]>,
}

impl KeptOpen {
    /// Room for `count` of them.
    pub fn new(machine: Arc<dyn Machine>, count: usize) -> Self {
        KeptOpen { machine, slots: (0..count).map(|_| OnceLock::new()).collect() }
    }

    /// The one with this number, at `path`; `None` where entries are reached by their paths.
    pub fn get(&self, number: usize, path: impl FnOnce() -> PathBuf) -> Option<&dyn File> {
        self.slots[number].get_or_init(|| self.machine.keep_open(&path())).as_deref()
    }
}
