//! `LARDER_HASHING`: one way of computing SHA-256 instead of the fastest, to measure it.

use std::env;

use anyhow::Result;
use larder::hashing::choice::prefer;
use larder::machine::processor::{Kernel, Way};

use super::fault::Fault;

/// Uses the way that the variable asks for, from now on.
pub(crate) fn start() -> Result<()> {
    let Some(word) = env::var_os("LARDER_HASHING").filter(|word| !word.is_empty()) else { return Ok(()) };
    let way = Way::ALL.into_iter().find(|way| word == way.word());
    let here: Vec<&str> = Way::ALL.into_iter().filter_map(Kernel::of).map(|kernel| kernel.way().word()).collect();
    if way.is_some_and(prefer) {
        return Ok(());
    }
    let reason = format!("{word:?} is no way to compute SHA-256 on this machine: {}", here.join(", "));
    Err(Fault::usage("use the variable LARDER_HASHING", &reason).into())
}
