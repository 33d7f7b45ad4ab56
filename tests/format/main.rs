//! The bytes of a store, and the rules by which segments are one journal (`docs/format.md`).
#![allow(missing_docs, clippy::print_stdout)]

#[path = "../kit/mod.rs"]
mod kit;

mod bytes;
mod chain;
mod fuzz_seeds;
