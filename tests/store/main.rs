//! The store below the command line: verbs, ledger and recovery, most of it on the simulated machine.
#![allow(missing_docs, clippy::print_stdout)]

#[path = "../kit/mod.rs"]
mod kit;

mod async_store;
mod calls_of_the_ledger;
mod calls_of_the_verbs;
mod check;
mod clocks;
mod damage;
mod from_disk;
mod further_verbs;
mod hash_engine;
mod interrupted_ingests;
mod ledger_between_processes;
mod ledger_stays_bounded;
mod mend;
mod mend_departed;
mod mend_replaced;
mod model;
mod no_room;
mod overlapping_batches;
mod room_ahead;
mod sources_are_safe;
mod trees;
mod trusted_sources;
