//! `larder lease`: keeps what a command uses while it runs.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};

use anyhow::Result;
use larder::machine::real;
use larder::work::lease::Lease;
use larder::{Error, ErrorKind};

use crate::cli::context::{Access, Context};
use crate::cli::exit::Exit;
use crate::cli::words::{self, Scope};

/// The arguments of `larder lease`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
While COMMAND runs, what is leased is not collected, whatever becomes of its names. The lease belongs to COMMAND: it \
holds even if larder itself is killed. {} in COMMAND stands for the path of the blob, where NAME means one blob; its exit \
code is that of larder.

Example:
  larder lease models/a.gguf -- llama-server -m {}
  larder lease models -- ./evaluate.sh")]
pub(crate) struct Args {
    /// A name with everything below it (`.` is everything), or a digest (sha256:…)
    #[arg(value_name = "NAME|DIGEST", required = true, value_parser = words::scope())]
    what: Vec<Scope>,
    /// What to run, and its arguments
    #[arg(value_name = "COMMAND", required = true, last = true)]
    command: Vec<OsString>,
}

/// Leases, runs the command, and ends as it ended.
pub(crate) fn run(context: &Context, args: &Args) -> Result<Exit> {
    let store = context.open(Access::Write)?;
    let what: Vec<_> = args.what.iter().map(words::leased).collect();
    let lease = store.lease(&what)?;
    let mut command = command(&args.command, &lease)?;
    lease.let_children_inherit()?;
    let attempt = || format!("run {}", args.command[0].display());
    real::take_signals().map_err(|e| Error::system("take signals", e))?;
    let mut child = command.spawn().map_err(|e| Error::system(attempt(), e))?;
    real::relay_signals(child.id());
    let status = child.wait().map_err(|e| Error::system(attempt(), e));
    real::end_relay();
    drop((lease, store));
    std::process::exit(code(status?));
}

/// The command, each `{}` in it replaced by the path of the one blob that is leased.
fn command(words: &[OsString], lease: &Lease) -> Result<Command> {
    let mut command = Command::new(&words[0]);
    for word in &words[1..] {
        if word != "{}" {
            command.arg(word);
            continue;
        }
        let [(_, path)] = lease.blobs() else {
            let reason = format!("it stands for the path of one blob, and {} are leased", lease.blobs().len());
            return Err(Error::new(ErrorKind::Invalid, "put a path in the place of {}", reason).into());
        };
        command.arg::<&OsStr>(path.as_ref());
    }
    Ok(command)
}

/// The exit code of a shell for a command that ended so.
fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}
