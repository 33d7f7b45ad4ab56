//! Whole trees: what is below a prefix, below a directory.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use super::place::{Item, Made, Maker};
use super::reader::{LISTED_MOST, try_open};
use super::{LINKED, MaterializeOptions, MaterializeReport, inside_the_store, look, refuse_in_store, taken, ways};
use crate::format::table::AliasRow;
use crate::ledger::{Snapshot, Tables};
use crate::machine::{FileKind, Meta};
use crate::vocabulary::{Digest, Error, ErrorKind, Event, Name, Observer, Prefix, Result};
use crate::work::Context;
use crate::work::blob::in_full;

/// Names that are worked on at once: memory is bounded by this, however many there are.
const CHUNK: usize = 2048;
/// Files of one directory that one thread makes, at most: two threads in one directory wait for each other, one thread
/// with a whole large directory lets the others wait.
const GROUP: usize = 256;

/// Recreates below `directory` what is below `prefix`, in parallel, by default by hardlink. The directory is made if it
/// is not there; the directory above it must be.
///
/// Every directory below it is made or found as one: nothing is put through a symbolic link or into the store. What
/// cannot be made is told as [`Event::Failed`] and counted, and the rest goes on. Nothing is replaced unless asked for.
/// Nothing is synced: a checkout can be made again, and making it again leaves what is linked already as it is. A prefix
/// that no name has is [`ErrorKind::NotFound`], a directory inside the store [`ErrorKind::Refused`].
///
/// While it runs, a session keeps its blobs from being collected, as long as they are few enough to be listed and the
/// store is free to be written to at its beginning; otherwise a blob that is collected meanwhile is a failed file.
pub fn checkout(
    ctx: &Context<'_>,
    prefix: &Prefix,
    directory: &Path,
    options: &MaterializeOptions,
    observer: &dyn Observer,
) -> Result<MaterializeReport> {
    let snapshot = ctx.ledger.snapshot()?;
    let extent = Extent::of(&snapshot, prefix)?;
    if extent.files == 0 && *prefix != Prefix::Everything {
        return Err(Error::new(ErrorKind::NotFound, format!("find {prefix}"), "no name is or begins with it"));
    }
    let root = prepare(ctx, directory)?;
    let _session = try_open(ctx, extent.listed());
    observer.expect(extent.files, extent.bytes);
    let maker = Maker::new(*ctx, snapshot.clone(), ways(options.mode, LINKED), options.replace)?;
    let mut directories = Directories::new(*ctx, &snapshot, prefix, root)?;
    let mut report = MaterializeReport { destination: directory.to_owned(), ..MaterializeReport::default() };
    let mut names = snapshot.aliases(prefix);
    let mut groups = Vec::new();
    loop {
        // The next names are read while the files of those before are made.
        let make = || ctx.workers.map(groups, |group: Vec<Item>| maker.make_all(group, observer));
        let mut read = || groups_of(names.by_ref().take(CHUNK), &mut directories);
        let (done, next) = ctx.workers.both(make, &mut read);
        for (made, item) in done.into_iter().flatten() {
            count(&mut report, observer, made, item);
        }
        let next = next?;
        for (path, size_bytes, e) in next.failed {
            fail(&mut report, observer, path, size_bytes, &e);
        }
        if report.interrupted || (next.groups.is_empty() && next.names == 0) {
            return Ok(report);
        }
        groups = next.groups;
    }
}

/// Files to be made, those of one directory together.
#[derive(Default)]
struct Groups {
    groups: Vec<Vec<Item>>,
    /// How many names were read for it.
    names: usize,
    /// What cannot be made: where, its bytes, and why.
    failed: Vec<(PathBuf, u64, Error)>,
}

fn groups_of(
    names: impl Iterator<Item = Result<(Name, AliasRow)>>,
    directories: &mut Directories<'_>,
) -> Result<Groups> {
    let mut found = Groups::default();
    for row in names {
        let (name, row) = row?;
        found.names += 1;
        let size_bytes = row.size_bytes;
        match item(directories, name, row) {
            Err((path, e)) => found.failed.push((path, size_bytes, e)),
            Ok(item) => match found.groups.last_mut() {
                Some(group) if group.len() < GROUP && is_beside(&group[0], &item) => group.push(item),
                _ => found.groups.push(vec![item]),
            },
        }
    }
    Ok(found)
}

fn is_beside(one: &Item, other: &Item) -> bool {
    one.destination.parent() == other.destination.parent()
}

fn item(directories: &mut Directories<'_>, name: Name, row: AliasRow) -> Result<Item, (PathBuf, Error)> {
    let destination = directories.path(&name);
    match directories.lead_to(&name) {
        Err(e) => Err((destination, e)),
        Ok(()) => Ok(Item {
            from: name.to_string(),
            digest: row.digest,
            size_bytes: row.size_bytes,
            alias: Some(row),
            destination,
        }),
    }
}

fn count(report: &mut MaterializeReport, observer: &dyn Observer, made: Result<Made>, item: Item) {
    match made {
        Ok(made) => report.count(&made),
        Err(e) if e.kind() == ErrorKind::Interrupted => report.interrupted = true,
        // Its bytes are counted already.
        Err(e) => tell(report, observer, item.destination, &e),
    }
}

fn fail(report: &mut MaterializeReport, observer: &dyn Observer, path: PathBuf, size_bytes: u64, e: &Error) {
    observer.progress(1, size_bytes);
    tell(report, observer, path, e);
}

fn tell(report: &mut MaterializeReport, observer: &dyn Observer, path: PathBuf, e: &Error) {
    report.failed += 1;
    observer.event(&Event::Failed { path, reason: in_full(e) });
}

/// How much there is to do.
#[derive(Default)]
struct Extent {
    files: u64,
    bytes: u64,
    digests: BTreeSet<Digest>,
}

impl Extent {
    fn of(snapshot: &Snapshot, prefix: &Prefix) -> Result<Self> {
        let mut extent = Extent::default();
        for row in snapshot.aliases(prefix) {
            let (_, alias) = row?;
            extent.files += 1;
            extent.bytes = extent.bytes.saturating_add(alias.size_bytes);
            if extent.digests.len() <= LISTED_MOST {
                extent.digests.insert(alias.digest);
            }
        }
        Ok(extent)
    }

    /// What a session can list; nothing where there is too much.
    fn listed(&self) -> Vec<Digest> {
        if self.digests.len() > LISTED_MOST { Vec::new() } else { self.digests.iter().copied().collect() }
    }
}

/// Makes the directory if it is not there, and gives its real path.
fn prepare(ctx: &Context<'_>, directory: &Path) -> Result<PathBuf> {
    let machine = ctx.ledger.machine.as_ref();
    match machine.stat(directory) {
        Ok(meta) if meta.kind == FileKind::Directory => {}
        Ok(_) => return Err(taken(directory, "it is no directory")),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            refuse_in_store(ctx, directory)?;
            let made = machine.create_dir(directory, 0o777 & !machine.umask());
            made.map_err(|e| Error::io("make", directory, e))?;
        }
        Err(e) => return Err(Error::io("look at", directory, e)),
    }
    let real = machine.canonical(directory).map_err(|e| Error::io("find", directory, e))?;
    if real.starts_with(super::store_root(ctx)?) {
        return Err(inside_the_store(directory));
    }
    Ok(real)
}

/// The directories below the root, as they are walked into in the order of names.
struct Directories<'a> {
    ctx: Context<'a>,
    snapshot: &'a Snapshot,
    prefix: &'a Prefix,
    root: PathBuf,
    store: Meta,
    mode: u32,
    /// Those above the name before, outermost first: known to be directories.
    entered: Vec<Name>,
}

impl<'a> Directories<'a> {
    fn new(ctx: Context<'a>, snapshot: &'a Snapshot, prefix: &'a Prefix, root: PathBuf) -> Result<Self> {
        let machine = ctx.ledger.machine.as_ref();
        let at = ctx.ledger.layout.root();
        let store = machine.stat(at).map_err(|e| Error::io("look at", at, e))?;
        let mode = 0o777 & !machine.umask();
        Ok(Directories { ctx, snapshot, prefix, root, store, mode, entered: Vec::new() })
    }

    /// Where the file of a name goes.
    fn path(&self, name: &Name) -> PathBuf {
        self.root.join(self.prefix.relative(name))
    }

    /// Makes sure that everything above the file of `name` is a directory.
    fn lead_to(&mut self, name: &Name) -> Result<()> {
        let above: Vec<Name> = name.ancestors().filter(|above| self.is_below_prefix(above)).collect();
        let known = self.entered.iter().zip(&above).take_while(|(entered, above)| entered == above).count();
        self.entered.truncate(known);
        for directory in above.into_iter().skip(known) {
            self.enter(&directory)?;
            self.entered.push(directory);
        }
        Ok(())
    }

    fn is_below_prefix(&self, name: &Name) -> bool {
        match self.prefix {
            Prefix::Everything => true,
            Prefix::Below(top) => name != top && self.prefix.contains(name),
        }
    }

    fn enter(&self, name: &Name) -> Result<()> {
        let path = self.path(name);
        if self.snapshot.alias(name)?.is_some() {
            return Err(taken(&path, "one name is a file, and others are below it: it cannot be both"));
        }
        match look(&self.ctx, &path)? {
            None => self.create(&path),
            Some(meta) if (meta.device, meta.inode) == (self.store.device, self.store.inode) => {
                Err(inside_the_store(&path))
            }
            Some(meta) if meta.kind == FileKind::Directory => Ok(()),
            Some(meta) if meta.kind == FileKind::Symlink => {
                Err(taken(&path, "a symbolic link is there, and nothing is put through one"))
            }
            Some(_) => Err(taken(&path, "something that is no directory is there")),
        }
    }

    fn create(&self, path: &Path) -> Result<()> {
        match self.ctx.ledger.machine.create_dir(path, self.mode) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Err(taken(path, "something was put there meanwhile")),
            done => done.map_err(|e| Error::io("make", path, e)),
        }
    }
}
