//! `--log`: what the library tells while it works, on standard error.

use std::{env, io};

use anyhow::Result;
use clap::ValueEnum;
use tracing_subscriber::filter::LevelFilter;

use super::fault::Fault;

/// From which level on it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Log {
    /// Nothing
    Off,
    /// What failed
    Error,
    /// And what was found wrong, or refused
    Warn,
    /// And what was done
    Info,
    /// And everything else
    Debug,
}

/// Tells from now on what `--log`, or else `LARDER_LOG`, asks for.
pub(crate) fn start(asked: Option<Log>) -> Result<()> {
    let level = match (asked, env::var("LARDER_LOG")) {
        (Some(level), _) => level,
        (None, Ok(word)) if !word.is_empty() => Log::from_str(&word, false).map_err(|_| {
            let reason = format!("{word:?} is no level: off, error, warn, info or debug");
            Fault::usage("use the variable LARDER_LOG", &reason)
        })?,
        _ => Log::Off,
    };
    let filter = match level {
        Log::Off => return Ok(()),
        Log::Error => LevelFilter::ERROR,
        Log::Warn => LevelFilter::WARN,
        Log::Info => LevelFilter::INFO,
        Log::Debug => LevelFilter::DEBUG,
    };
    let builder = tracing_subscriber::fmt().with_max_level(filter).with_ansi(false).with_writer(io::stderr);
    // Somebody else listens already: then there is nothing to start.
    let _ = builder.try_init();
    Ok(())
}
