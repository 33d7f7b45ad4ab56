//! The verbs: one file each, plan then execute, each returning a report.

pub mod collect;
pub mod find;
pub mod ingest;
pub mod materialize;
pub mod names;
pub mod upkeep;
pub mod verify;
