//! Making a store.

use std::path::Path;
use std::sync::Arc;

use crate::format::settings::Durability;
use crate::machine::Machine;
use crate::vocabulary::{Error, ErrorKind, Result};

/// Who may read what a store keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shared {
    /// As the umask says.
    #[default]
    Umask,
    /// The owner alone.
    None,
    /// The owner and the group.
    Group,
    /// Everybody.
    World,
}

/// What is at a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// A store.
    Store,
    /// Nothing, or an empty directory.
    Empty,
    /// Something else.
    Other,
}

/// How a store is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewStoreSpec {
    /// When what is acknowledged is synced.
    pub durability: Durability,
    /// Who may read it.
    pub shared_mode: Shared,
    /// Whether aliases are hardlinked unless a call says otherwise.
    pub hardlinked: bool,
    /// Whether it is marked as a cache.
    pub cache: bool,
}

/// Makes a store unless there is one; `true`: it was made now.
pub fn create(_machine: &Arc<dyn Machine>, directory: &Path, _new: &NewStoreSpec) -> Result<bool> {
    Err(Error::new(ErrorKind::Unsupported, format!("make a store at {}", directory.display()), "stand-in"))
}

/// What is at a directory.
pub fn presence(_machine: &dyn Machine, directory: &Path) -> Result<Presence> {
    Err(Error::new(ErrorKind::Unsupported, format!("look at {}", directory.display()), "stand-in"))
}
