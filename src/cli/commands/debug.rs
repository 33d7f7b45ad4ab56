//! `larder debug`: a look into the store's own files, for people.

use anyhow::Result;
use clap::Subcommand;
use larder::work::upkeep::{FrameInfo, RunInfo};

use crate::cli::context::{Access, Context};
use crate::cli::exit::Exit;
use crate::cli::fault::output_error;
use crate::cli::json::Line;
use crate::cli::text;

/// What there is to look at.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Print the frames of the journal
    #[command(after_help = "Example:\n  larder debug frames | tail")]
    Frames,
    /// Print the runs of the index
    #[command(after_help = "Example:\n  larder debug runs")]
    Runs,
}

/// Prints.
pub(crate) fn run(context: &Context, command: &Command) -> Result<Exit> {
    match command {
        Command::Frames => frames(context),
        Command::Runs => runs(context),
    }
}

fn frames(context: &Context) -> Result<Exit> {
    let store = context.open(Access::Read)?;
    let (mut count, mut bad) = (0_u64, 0);
    store.frames(&mut |frame| {
        count += 1;
        bad += u64::from(frame.state == "bad");
        let json = context.out.json();
        let told = if json { context.out.object(line(&frame)) } else { context.out.line(&words(&frame)) };
        told.map_err(output_error)
    })?;
    if context.out.json() {
        context.out.object(Line::event("summary").with("frames", count).with("bad", bad))?;
    }
    Ok(Exit::of_work(bad, false))
}

fn line(frame: &FrameInfo) -> Line {
    Line::event("frame")
        .with("segment", &frame.segment)
        .with("offset", frame.offset)
        .with("sequence", frame.sequence)
        .with("synced_through", frame.synced_through)
        .time("time", frame.time_ns)
        .with("state", frame.state)
        .with("records", &frame.records)
}

fn words(frame: &FrameInfo) -> String {
    let mut words = format!(
        "{}+{}  frame {}  synced through {}  {}  {}",
        text::message(&frame.segment),
        frame.offset,
        frame.sequence,
        frame.synced_through,
        text::time(frame.time_ns),
        frame.state
    );
    for record in &frame.records {
        words.push_str("\n  ");
        words.push_str(&text::message(record));
    }
    words
}

fn runs(context: &Context) -> Result<Exit> {
    let runs = context.open(Access::Read)?.runs()?;
    if context.out.json() {
        runs.iter().try_for_each(|run| {
            let line = Line::event("run").with("file", &run.file).with("bytes", run.bytes).with("records", run.records);
            context.out.object(line)
        })?;
        context.out.object(Line::event("summary").with("runs", runs.len()))?;
    } else {
        let row = |run: &RunInfo| vec![context.size(run.bytes), run.records.to_string(), text::message(&run.file)];
        context.out.line(&text::table(&["size", "records", "file"], &[0, 1], runs.iter().map(row)))?;
    }
    Ok(Exit::Done)
}
