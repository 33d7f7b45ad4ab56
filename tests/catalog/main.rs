//! The catalog: each engine against what all must answer, the engines beside each other, and finalising.
#![allow(missing_docs, clippy::print_stdout)]

#[path = "../engines/mod.rs"]
mod engines;
#[path = "../kit/mod.rs"]
mod kit;

mod conformance;
mod differential;
mod finalise;
