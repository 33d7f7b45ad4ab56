//! `larder ls`: names, and what they cost.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::time::Duration;

use anyhow::Result;
use larder::store::Store;
use larder::work::find::AliasInfo;
use larder::work::names::Target;
use larder::{Digest, Error, ErrorKind, Prefix};

use crate::cli::context::{Access, Context};
use crate::cli::exit::Exit;
use crate::cli::fault::output_error;
use crate::cli::json::Line;
use crate::cli::text;
use crate::cli::words::{self, Sort};

/// The arguments of `larder ls`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Names go to standard output, one per line; what they cost together follows on standard error (with -l and --json on \
standard output). -q leaves it out, which is faster on a large store.

Example:
  larder ls models -l --sort size
  larder ls --older 30d --min-size 1GiB")]
pub(crate) struct Args {
    /// Only this name and what is below it; `.` is everything
    #[arg(value_name = "PREFIX", value_parser = words::prefix(), default_value = ".")]
    prefix: Prefix,
    /// In which order
    #[arg(long, value_enum, value_name = "BY", default_value_t)]
    sort: Sort,
    /// The other way round
    #[arg(long)]
    reverse: bool,
    /// Only blobs of at least this size: 4096, 10MiB, 1GB
    #[arg(long, value_name = "SIZE", value_parser = words::size)]
    min_size: Option<u64>,
    /// Only blobs of at most this size
    #[arg(long, value_name = "SIZE", value_parser = words::size)]
    max_size: Option<u64>,
    /// Only names added longer ago than this: 12h, 30d
    #[arg(long, value_name = "AGE", value_parser = words::duration)]
    older: Option<Duration>,
    /// Only names added since this long ago
    #[arg(long, value_name = "AGE", value_parser = words::duration)]
    newer: Option<Duration>,
    /// With size, age, digest and kind of each name
    #[arg(long, short)]
    long: bool,
}

impl Args {
    /// Whether names come in the order in which the store has them, so that none need be kept.
    fn streams(&self) -> bool {
        self.sort == Sort::Name && !self.reverse
    }

    fn keeps(&self, info: &AliasInfo, now_ns: u64) -> bool {
        let age = Duration::from_nanos(now_ns.saturating_sub(info.added_ns));
        self.min_size.is_none_or(|least| info.size_bytes >= least)
            && self.max_size.is_none_or(|most| info.size_bytes <= most)
            && self.older.is_none_or(|least| age > least)
            && self.newer.is_none_or(|most| age <= most)
    }

    fn order(&self, a: &AliasInfo, b: &AliasInfo) -> Ordering {
        let order = match self.sort {
            Sort::Name => a.name.cmp(&b.name),
            Sort::Size => b.size_bytes.cmp(&a.size_bytes).then_with(|| a.name.cmp(&b.name)),
            Sort::Age => b.added_ns.cmp(&a.added_ns).then_with(|| a.name.cmp(&b.name)),
        };
        if self.reverse { order.reverse() } else { order }
    }
}

/// Lists.
pub(crate) fn run(context: &Context, args: &Args) -> Result<Exit> {
    let store = context.open(Access::Read)?;
    let wants_costs = context.out.json() || !context.out.quiet();
    let now_ns = context.machine.now_ns();
    let (mut costs, mut kept, mut seen) = (Costs::default(), Vec::new(), false);
    store.list(&args.prefix, &mut |info| {
        seen = true;
        if !args.keeps(&info, now_ns) {
            return Ok(());
        }
        if wants_costs {
            costs.count(&info);
        }
        if args.streams() {
            show(context, args, &info)
        } else {
            kept.push(info);
            Ok(())
        }
    })?;
    if !seen {
        unknown(&args.prefix)?;
    }
    kept.sort_by(|a, b| args.order(a, b));
    kept.iter().try_for_each(|info| show(context, args, info))?;
    if wants_costs {
        summary(context, args, &costs.total(&store)?)?;
    }
    Ok(Exit::Done)
}

/// A prefix without names is unknown; a store without names is empty.
fn unknown(prefix: &Prefix) -> larder::Result<()> {
    match prefix {
        Prefix::Everything => Ok(()),
        Prefix::Below(name) => {
            let attempt = format!("list {}", text::name(name));
            Err(Error::new(ErrorKind::NotFound, attempt, "there is no such name, and none below it"))
        }
    }
}

fn show(context: &Context, args: &Args, info: &AliasInfo) -> larder::Result<()> {
    let shown = if context.out.json() {
        context.out.object(line(info))
    } else if args.long {
        context.out.line(&long(context, info))
    } else {
        context.out.line(&text::name(&info.name))
    };
    shown.map_err(output_error)
}

fn long(context: &Context, info: &AliasInfo) -> String {
    let size = context.size(info.size_bytes);
    let flag = if info.executable { "x" } else { "-" };
    let (added, kind) = (text::time(info.added_ns), words::alias(info.kind));
    format!("{size:>10}  {added}  {}  {kind:10} {flag}  {}", text::short(&info.digest), text::name(&info.name))
}

/// A name in JSON.
fn line(info: &AliasInfo) -> Line {
    fields(Line::event("name"), info)
}

/// The fields of an alias, in `line`.
pub(super) fn fields(line: Line, info: &AliasInfo) -> Line {
    line.name(&info.name)
        .with("digest", info.digest.to_string())
        .with("size_bytes", info.size_bytes)
        .with("alias", words::alias(info.kind))
        .with("executable", info.executable)
        .time("mtime", info.mtime_ns)
        .time("added", info.added_ns)
}

/// How often each blob was listed, and what all the names stand for.
#[derive(Debug, Default)]
struct Costs {
    names: u64,
    logical_bytes: u64,
    listed: HashMap<Digest, u64>,
}

/// What the listed names cost together.
#[derive(Debug, Default, PartialEq, Eq)]
struct Total {
    names: u64,
    blobs: u64,
    logical_bytes: u64,
    physical_bytes: u64,
    reclaimable_bytes: u64,
}

impl Costs {
    fn count(&mut self, info: &AliasInfo) {
        self.names += 1;
        self.logical_bytes += info.size_bytes;
        *self.listed.entry(info.digest).or_default() += 1;
    }

    /// Looks at each blob once. Only a blob all of whose names are listed would go with them.
    fn total(&self, store: &Store) -> larder::Result<Total> {
        let (names, blobs, logical_bytes) = (self.names, self.listed.len() as u64, self.logical_bytes);
        let mut total = Total { names, blobs, logical_bytes, ..Total::default() };
        for (digest, listed) in &self.listed {
            let Some(blob) = unless_gone(store.show(&Target::Digest(*digest)))? else { continue };
            total.physical_bytes += blob.allocated_bytes;
            if blob.aliases.len() as u64 <= *listed {
                total.reclaimable_bytes += unless_gone(store.reclaimable(digest))?.unwrap_or(0);
            }
        }
        Ok(total)
    }
}

/// Another process may have removed the blob since it was listed.
fn unless_gone<T>(found: larder::Result<T>) -> larder::Result<Option<T>> {
    match found {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        found => found.map(Some),
    }
}

fn summary(context: &Context, args: &Args, total: &Total) -> Result<()> {
    if context.out.json() {
        let line = Line::event("summary")
            .with("names", total.names)
            .with("blobs", total.blobs)
            .with("logical_bytes", total.logical_bytes)
            .with("physical_bytes", total.physical_bytes)
            .with("reclaimable_bytes", total.reclaimable_bytes);
        return Ok(context.out.object(line)?);
    }
    let words = format!(
        "{}, {}: {} by name, {} on the disk, {} reclaimable",
        text::count(total.names, "name"),
        text::count(total.blobs, "blob"),
        context.size(total.logical_bytes),
        context.size(total.physical_bytes),
        context.size(total.reclaimable_bytes)
    );
    if args.long {
        context.out.line(&words)?
    } else {
        context.out.note(&words)
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use larder::Name;
    use larder::work::ingest::AliasKind;

    use super::*;

    fn info(name: &str, size_bytes: u64, added_ns: u64) -> AliasInfo {
        let (name, digest) = (Name::new(name).unwrap(), Digest::EMPTY);
        AliasInfo { name, digest, size_bytes, kind: AliasKind::Hardlinked, mtime_ns: 0, executable: false, added_ns }
    }

    fn args(sort: Sort) -> Args {
        Args {
            prefix: Prefix::Everything,
            sort,
            reverse: false,
            min_size: None,
            max_size: None,
            older: None,
            newer: None,
            long: false,
        }
    }

    #[test]
    fn filters_and_orders() {
        let (small, large) = (info("b", 1, 5_000_000_000), info("a", 9, 1_000_000_000));
        let now_ns = 6_000_000_000;
        let filter = Args { min_size: Some(2), ..args(Sort::Name) };
        assert!(!filter.keeps(&small, now_ns) && filter.keeps(&large, now_ns));
        let filter = Args { older: Some(Duration::from_secs(3)), max_size: Some(9), ..args(Sort::Name) };
        assert!(!filter.keeps(&small, now_ns) && filter.keeps(&large, now_ns));
        let filter = Args { newer: Some(Duration::from_secs(3)), ..args(Sort::Name) };
        assert!(filter.keeps(&small, now_ns) && !filter.keeps(&large, now_ns));
        assert_eq!(args(Sort::Name).order(&large, &small), Ordering::Less);
        assert_eq!(args(Sort::Size).order(&large, &small), Ordering::Less);
        assert_eq!(args(Sort::Age).order(&large, &small), Ordering::Greater);
        assert_eq!(Args { reverse: true, ..args(Sort::Size) }.order(&large, &small), Ordering::Greater);
    }

    #[test]
    fn a_name_in_json_has_its_documented_fields() {
        let text = line(&info("a", 3, 1_000_000_000)).close();
        let expected = format!(
            "{{\"schema\":1,\"event\":\"name\",\"name\":\"a\",\"digest\":\"{}\",\"size_bytes\":3,\"alias\":\"hardlinked\",\
             \"executable\":false,\"mtime\":\"1970-01-01T00:00:00Z\",\"added\":\"1970-01-01T00:00:01Z\"}}",
            Digest::EMPTY
        );
        assert_eq!(text, expected);
    }
}
