//! `larder where`: blobs and their names by the beginning of a digest.

use anyhow::Result;
use larder::work::find::BlobInfo;
use larder::{DigestPrefix, Error, ErrorKind, StoredUri};

use super::show;
use crate::cli::context::{Access, Context};
use crate::cli::exit::Exit;
use crate::cli::json::Line;
use crate::cli::text;

/// The arguments of `larder where`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  larder where 9f86d081
  larder where sha256:9f86")]
pub(crate) struct Args {
    /// 4 to 64 hexadecimal digits, with or without sha256:
    #[arg(value_name = "DIGEST-PREFIX")]
    prefix: DigestPrefix,
}

/// Finds.
pub(crate) fn run(context: &Context, args: &Args) -> Result<Exit> {
    let blobs = context.open(Access::Read)?.locate(&args.prefix)?;
    if blobs.is_empty() {
        let attempt = format!("find a blob whose digest begins with {}", args.prefix);
        return Err(Error::new(ErrorKind::NotFound, attempt, "there is none").into());
    }
    for blob in &blobs {
        if context.out.json() { context.out.object(line(blob))? } else { context.out.line(&words(context, blob))? }
    }
    if context.out.json() {
        context.out.object(Line::event("summary").with("blobs", blobs.len()))?;
    }
    Ok(Exit::Done)
}

fn line(blob: &BlobInfo) -> Line {
    Line::event("where")
        .with("digest", blob.digest.to_string())
        .with("size_bytes", blob.size_bytes)
        .with("uri", StoredUri::Blob(blob.digest).to_string())
        .names(blob.aliases.iter().map(|alias| &alias.name))
        .list("entries", blob.entries.iter().map(show::entry))
}

fn words(context: &Context, blob: &BlobInfo) -> String {
    let mut words = format!("{}  {}", blob.digest, context.size(blob.size_bytes));
    for alias in &blob.aliases {
        words.push_str("\n  ");
        words.push_str(&text::name(&alias.name));
    }
    for entry in &blob.entries {
        words.push_str("\n  entry ");
        words.push_str(&show::entry_words(entry));
    }
    if blob.aliases.is_empty() && blob.entries.is_empty() {
        words.push_str("\n  no name: `larder why` tells what keeps it");
    }
    words
}
