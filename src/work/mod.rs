//! The verbs: one file each, plan then execute, each returning a report.

mod blob;
mod cache;
mod carrier;
pub mod catalog;
pub mod check;
pub mod collect;
pub mod configure;
pub mod copies;
pub mod dedup;
pub mod doctor;
mod duplicate;
pub mod export;
pub mod finalise;
pub mod find;
#[cfg(test)]
pub(crate) mod fixture;
pub mod from_disk;
pub mod import;
mod in_step;
pub mod ingest;
pub mod init;
pub mod lease;
pub mod links;
pub mod materialize;
pub mod mend;
pub mod names;
pub mod ranged;
pub mod repair;
pub mod resumable;
mod room;
pub mod scrub;
mod seen;
mod spill;
pub mod status;
#[cfg(test)]
mod testing;
mod trees;
pub mod upkeep;
pub mod verify;

use crate::hashing::Workers;
use crate::ledger::Ledger;
use crate::vocabulary::{Event, Observer};

/// What every verb works with.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The records.
    pub ledger: &'a Ledger,
    /// The threads.
    pub workers: &'a Workers,
    /// Whether aliases are hardlinked unless a call says otherwise.
    pub hardlinked: bool,
}

impl Context<'_> {
    /// Says why the tail could not be folded into the index, if it could not be.
    fn tell_fold_trouble(&self, observer: &dyn Observer) {
        if let Some(trouble) = self.ledger.take_fold_trouble() {
            let why = trouble.in_one_line();
            let text = format!(
                "The index could not take up what is new, and is tried again with the next change: {why}. Nothing is lost."
            );
            observer.event(&Event::Notice { text });
        }
    }
}
