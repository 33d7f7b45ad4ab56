//! The commands, one per file: its arguments and how it runs.

mod add;
mod cat;
mod catalog;
mod change;
mod check;
mod checkout;
mod compact;
mod completions;
mod config;
mod copies;
mod debug;
mod dedup_report;
mod delete;
mod doctor;
mod evict;
mod export;
mod finalise;
mod gc;
mod get;
mod import;
mod ingest;
mod init;
mod lease;
mod link;
mod ls;
mod made;
mod mv;
mod path;
mod pin;
mod plan;
mod rebuild;
mod register;
mod repair;
mod retention;
mod rm;
mod scrub;
mod search;
mod show;
mod stats;
mod status;
mod trash;
mod undelete;
mod unlink;
mod unlock;
mod unpin;
mod verified;
mod verify;
mod r#where;
mod why;
mod why_gone;

use anyhow::Result;
use clap::Subcommand;

use super::context::Context;
use super::exit::Exit;

/// What larder can be told to do. The arguments of a command are put together when it is the one that is meant, or is to
/// be described: all of them take longer than many a command.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub(crate) enum Command {
    /// Make a store
    Init(init::Args),
    /// Keep files and whole directory trees
    Add(add::Args),
    /// Keep a finished download, with where it came from
    Finalise(Box<finalise::Args>),
    /// List names, with what they cost
    Ls(ls::Args),
    /// Show everything about one blob
    Show(show::Args),
    /// Find blobs and their names by the beginning of a digest
    Where(r#where::Args),
    /// Tell what keeps a blob alive
    Why(why::Args),
    /// Tell what removed a blob or took a name away
    WhyGone(why_gone::Args),
    /// Tell what the store holds and costs
    Stats(stats::Args),
    /// Make one file outside the store
    Get(get::Args),
    /// Make the files of a tree outside the store
    Checkout(checkout::Args),
    /// Make a linked file private and writable
    Unlock(unlock::Args),
    /// Write the bytes of a blob to standard output
    Cat(cat::Args),
    /// Print where the file of a blob is
    Path(path::Args),
    /// Give a blob one more name
    Link(link::Args),
    /// Give a blob another name instead
    Mv(mv::Args),
    /// Take one name away, but never the last one
    Unlink(unlink::Args),
    /// Take names away, the last ones too
    Rm(rm::Args),
    /// Keep a blob whatever its names
    Pin(pin::Args),
    /// Keep it no longer
    Unpin(unpin::Args),
    /// Keep several copies of what matters
    Copies(copies::Args),
    /// Keep what a command uses while it runs
    Lease(lease::Args),
    /// Compare blobs with their digests
    Verify(verify::Args),
    /// Read everything over time, resumably and out of the way, and tell what is wrong
    Scrub(scrub::Args),
    /// Find files that were tampered with, without reading them
    Status(status::Args),
    /// Put good bytes in the place of damaged ones
    Repair(repair::Args),
    /// Compare the store's records with what is on the disk
    Check(check::Args),
    /// Put entries of the catalog into the trash, list or empty it
    Trash(trash::Args),
    /// Take entries out of the trash
    Undelete(undelete::Args),
    /// Put a model or document into the catalog, with its files
    Register(Box<register::Args>),
    /// Find entries of the catalog
    Search(Box<search::Args>),
    /// Move an entry to another state
    SetState(change::SetState),
    /// Add words to find an entry by, or take them away
    Tag(change::Tag),
    /// Say something of an entry
    Note(change::Note),
    /// Set what is known of an entry
    Meta(change::Meta),
    /// Record that an entry was used
    Touch(change::Touch),
    /// Take the record of an entry away, and nothing else
    Forget(delete::Forget),
    /// Take an entry away with its names and bytes
    Delete(delete::Delete),
    /// Look at the catalog as a whole
    #[command(subcommand)]
    Catalog(catalog::Command),
    /// Register what a manifest or another catalog lists
    ImportManifest(import::Args),
    /// Write the catalog as a manifest
    ExportManifest(Box<export::Args>),
    /// Tell what keeping bytes once saves
    DedupReport(dedup_report::Args),
    /// Let entries go by number and age
    Retention(retention::Args),
    /// Make room: entries into the trash, or away until a goal is reached
    Evict(evict::Args),
    /// Remove blobs that nothing keeps
    Gc(gc::Args),
    /// See to ingests that were broken off
    #[command(subcommand)]
    Ingest(ingest::Command),
    /// Show and set the options of the store
    #[command(subcommand)]
    Config(config::Command),
    /// Rewrite the journal without what is over
    Compact(compact::Args),
    /// Make the index anew from the journal
    Rebuild(rebuild::Args),
    /// Measure this machine and this store, and say what follows
    Doctor(doctor::Args),
    /// Print what a shell needs to complete larder's words
    Completions(completions::Completions),
    /// Print manual pages
    Man(completions::Man),
    /// Look into the store's own files
    #[command(subcommand)]
    Debug(debug::Command),
}

impl Command {
    /// The word that calls it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Command::Init(_) => "init",
            Command::Add(_) => "add",
            Command::Ls(_) => "ls",
            Command::Show(_) => "show",
            Command::Where(_) => "where",
            Command::Why(_) => "why",
            Command::WhyGone(_) => "why-gone",
            Command::Stats(_) => "stats",
            Command::Get(_) => "get",
            Command::Checkout(_) => "checkout",
            Command::Unlock(_) => "unlock",
            Command::Cat(_) => "cat",
            Command::Path(_) => "path",
            Command::Link(_) => "link",
            Command::Mv(_) => "mv",
            Command::Unlink(_) => "unlink",
            Command::Rm(_) => "rm",
            Command::Pin(_) => "pin",
            Command::Unpin(_) => "unpin",
            Command::Copies(_) => "copies",
            Command::Lease(_) => "lease",
            Command::Verify(_) => "verify",
            Command::Scrub(_) => "scrub",
            Command::Status(_) => "status",
            Command::Repair(_) => "repair",
            Command::Check(_) => "check",
            Command::Finalise(_) => "finalise",
            Command::Trash(_) => "trash",
            Command::Undelete(_) => "undelete",
            Command::Register(_) => "register",
            Command::Search(_) => "search",
            Command::SetState(_) => "set-state",
            Command::Tag(_) => "tag",
            Command::Note(_) => "note",
            Command::Meta(_) => "meta",
            Command::Touch(_) => "touch",
            Command::Forget(_) => "forget",
            Command::Delete(_) => "delete",
            Command::Catalog(_) => "catalog",
            Command::ImportManifest(_) => "import-manifest",
            Command::ExportManifest(_) => "export-manifest",
            Command::DedupReport(_) => "dedup-report",
            Command::Retention(_) => "retention",
            Command::Evict(_) => "evict",
            Command::Gc(_) => "gc",
            Command::Ingest(_) => "ingest",
            Command::Compact(_) => "compact",
            Command::Config(_) => "config",
            Command::Rebuild(_) => "rebuild",
            Command::Doctor(_) => "doctor",
            Command::Completions(_) => "completions",
            Command::Man(_) => "man",
            Command::Debug(_) => "debug",
        }
    }

    /// Does it.
    pub(crate) fn run(&self, context: &Context) -> Result<Exit> {
        match self {
            Command::Init(args) => init::run(context, args),
            Command::Add(args) => add::run(context, args),
            Command::Ls(args) => ls::run(context, args),
            Command::Show(args) => show::run(context, args),
            Command::Where(args) => r#where::run(context, args),
            Command::Why(args) => why::run(context, args),
            Command::WhyGone(args) => why_gone::run(context, args),
            Command::Stats(args) => stats::run(context, args),
            Command::Get(args) => get::run(context, args),
            Command::Checkout(args) => checkout::run(context, args),
            Command::Unlock(args) => unlock::run(context, args),
            Command::Cat(args) => cat::run(context, args),
            Command::Path(args) => path::run(context, args),
            Command::Link(args) => link::run(context, args),
            Command::Mv(args) => mv::run(context, args),
            Command::Unlink(args) => unlink::run(context, args),
            Command::Rm(args) => rm::run(context, args),
            Command::Pin(args) => pin::run(context, args),
            Command::Unpin(args) => unpin::run(context, args),
            Command::Copies(args) => copies::run(context, args),
            Command::Lease(args) => lease::run(context, args),
            Command::Verify(args) => verify::run(context, args),
            Command::Scrub(args) => scrub::run(context, args),
            Command::Status(args) => status::run(context, args),
            Command::Repair(args) => repair::run(context, args),
            Command::Check(args) => check::run(context, args),
            Command::Finalise(args) => finalise::run(context, args),
            Command::Trash(args) => trash::run(context, args),
            Command::Undelete(args) => undelete::run(context, args),
            Command::Register(args) => register::run(context, args),
            Command::Search(args) => search::run(context, args),
            Command::SetState(args) => change::set_state(context, args),
            Command::Tag(args) => change::tag(context, args),
            Command::Note(args) => change::note(context, args),
            Command::Meta(args) => change::meta(context, args),
            Command::Touch(args) => change::touch(context, args),
            Command::Forget(args) => delete::forget(context, args),
            Command::Delete(args) => delete::delete(context, args),
            Command::Catalog(command) => catalog::run(context, command),
            Command::ImportManifest(args) => import::run(context, args),
            Command::ExportManifest(args) => export::run(context, args),
            Command::DedupReport(args) => dedup_report::run(context, args),
            Command::Retention(args) => retention::run(context, args),
            Command::Evict(args) => evict::run(context, args),
            Command::Gc(args) => gc::run(context, args),
            Command::Ingest(command) => ingest::run(context, command),
            Command::Compact(args) => compact::run(context, args),
            Command::Config(command) => config::run(context, command),
            Command::Rebuild(args) => rebuild::run(context, args),
            Command::Doctor(args) => doctor::run(context, args),
            Command::Completions(args) => completions::completions(context, args),
            Command::Man(args) => completions::man(context, args),
            Command::Debug(command) => debug::run(context, command),
        }
    }
}
