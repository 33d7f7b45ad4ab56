//! One durable thing each: blobs, names, sessions, journal, index.

pub mod blobs;
pub mod carriers;
pub mod catalog;
pub mod index;
pub mod journal;
pub mod names;
pub mod sessions;
pub mod totals;
pub mod trees;
pub mod uses;
