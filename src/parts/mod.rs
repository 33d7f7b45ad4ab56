//! One durable thing each: blobs, names, sessions, journal, index.

pub mod journal;
