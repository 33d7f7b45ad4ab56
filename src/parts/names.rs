//! The directory view: hardlinked aliases as files under `names/`.
//!
//! A file is removed or replaced only by renaming it aside, seeing that it is the one that the alias put there, and
//! otherwise putting it back: larder never removes a file that somebody else put there. The place aside follows from
//! the name alone, so whoever finishes after a crash finds what was set aside.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::format::layout::Layout;
use crate::machine::kept::KeptOpen;
use crate::machine::{Entry, File, FileKind, Machine, Meta, Open};
use crate::vocabulary::planted::{Bug, planted};
use crate::vocabulary::{Digest, Error, Name, Result};

/// More directories than this are synced with one `syncfs` where that can be trusted.
const FEW_DIRECTORIES: usize = 8;
/// Directories that are open at once, at most, where each is synced by itself: a process has few descriptors.
const MOST_DIRECTORIES: usize = 200;

/// How the reason begins why a name has no file when its blob has as many links as there can be. In front, since long
/// reasons are cut short.
const NO_LINKS_LEFT: &str = "its blob has as many links as the filesystem allows (EMLINK)";

/// Whether a recorded reason says that one more inode of the blob would help.
pub fn wants_another_inode(reason: &str) -> bool {
    reason.starts_with(NO_LINKS_LEFT)
}

/// What a name should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The blob it means.
    pub digest: Digest,
    /// The inode recorded for it.
    pub inode: u64,
    /// Its carriers, by number, with the inodes recorded for them: a name is a link to one of these where the blob's file
    /// has as many links as its filesystem allows, or where more people may read the carrier.
    pub carriers: Vec<(u32, u64)>,
}

/// One name to be made to agree with the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The name.
    pub name: Name,
    /// What it should be; `None`: no file.
    pub wanted: Option<Wanted>,
    /// Inodes that the alias may have put there before.
    pub ours: Vec<u64>,
    /// The blob that it meant before.
    pub was: Option<Digest>,
}

/// Why a name does not agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The name.
    pub name: Name,
    /// Why.
    pub reason: String,
}

/// The files under `names/` of one store.
#[derive(Clone)]
pub struct Names {
    machine: Arc<dyn Machine>,
    layout: Layout,
    /// The 256 directories of blobs, which never go away.
    shards: Arc<KeptOpen>,
    directory_mode: u32,
    blob_mode: u32,
    syncfs: bool,
}

/// Which directories are synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syncs {
    /// None: a store that never syncs.
    None,
    /// Those that change.
    Changed,
    /// Those of names that agree already, too: whoever made them agree may have died before he synced them.
    All,
}

/// What is in the place of a name, or aside for it.
enum Stands {
    /// What should be there.
    Right,
    /// Nothing, and something should.
    Nothing,
    /// Something that has to go first.
    Something,
}

/// Directories that are about to change: a sync vouches for what happens after its descriptor was opened.
struct Watch<'a> {
    names: &'a Names,
    syncs: Syncs,
    /// Stands for all of them once there are more than a few.
    filesystem: Option<Box<dyn File>>,
    each: BTreeMap<PathBuf, Box<dyn File>>,
    /// Directories below `names/` that were seen to be directories.
    seen: BTreeSet<PathBuf>,
    /// The directory of the name before, seen to be one and opened by [`Watch::open`]; names of one come together. Open to
    /// reach its entries through, if it can be.
    near: Option<(PathBuf, Option<Box<dyn File>>)>,
}

impl Names {
    /// The directory view of the store at `layout`, whose 256 directories of blobs are the `shards`. `modes`: of
    /// directories and of blobs. `syncfs`: whether it reports errors here.
    pub fn new(
        machine: &Arc<dyn Machine>,
        layout: &Layout,
        shards: &Arc<KeptOpen>,
        (directory_mode, blob_mode): (u32, u32),
        syncfs: bool,
    ) -> Self {
        let (machine, layout, shards) = (Arc::clone(machine), layout.clone(), Arc::clone(shards));
        Names { machine, layout, shards, directory_mode, blob_mode, syncfs }
    }

    /// Links `path` to the file of a blob. `within`: the directory of `path`, if it is open.
    fn link_blob(&self, digest: &Digest, path: &Path, within: Option<&dyn File>) -> io::Result<()> {
        let (blob, first) = (self.layout.blob(digest), digest.as_bytes()[0]);
        let shard = self.shards.get(first.into(), || self.layout.blob_dir(first));
        self.machine.link_in(Entry::of(&blob, shard), Entry::of(path, within))
    }

    /// Makes each name agree, and syncs directories. What cannot be applied is returned and does not stop the rest; an
    /// error is a failed sync.
    pub fn apply(&self, changes: &[Change], syncs: Syncs) -> Result<Vec<Refusal>> {
        let mut watch = Watch::new(self, syncs)?;
        let mut refusals = Vec::new();
        // What goes makes room for what comes: a name may become a directory of others, or the other way round.
        let (come, go): (Vec<&Change>, Vec<&Change>) = changes.iter().partition(|change| change.wanted.is_some());
        for change in go.into_iter().chain(come) {
            if let Err(reason) = self.settle(change, &mut watch)? {
                refusals.push(Refusal { name: change.name.clone(), reason });
            }
        }
        watch.sync()?;
        Ok(refusals)
    }

    /// Makes one name agree; the inner error is why it cannot.
    fn settle(&self, change: &Change, watch: &mut Watch<'_>) -> Result<Result<(), String>> {
        let path = self.layout.name(&change.name);
        if watch.is_near(&path) && change.is_fresh() && self.link_near(change, &path, watch).is_ok() {
            return Ok(Ok(()));
        }
        if watch.syncs == Syncs::All {
            watch.with_ancestors(&path)?;
            watch.open(&self.layout.staging())?;
        }
        let leads = watch.leads_to(&path);
        if matches!(leads, Ok(true)) && change.is_fresh() && watch.syncs != Syncs::All {
            watch.open(path.parent().expect("a name is below names/"))?;
            watch.come_near(&path);
            if self.link_near(change, &path, watch).is_ok() {
                return Ok(Ok(()));
            }
            // What is there is looked at, and may go.
            watch.near = None;
        }
        match (leads, &change.wanted) {
            (Ok(true), _) => match self.stands(change, &path) {
                Stands::Right => return Ok(Ok(())),
                Stands::Something => watch.open(&self.layout.staging())?,
                Stands::Nothing => {}
            },
            (Ok(false), Some(_)) => {
                if let Err(e) = watch.make_parents(&path)? {
                    return Ok(Err(format!("cannot make the directory of {}: {e}", path.display())));
                }
            }
            // Nothing of ours is behind something that is no directory of ours; it may be aside, though.
            (Ok(false) | Err(_), None) => {
                watch.open(&self.layout.staging())?;
                return Ok(self.settle_aside(change, &path));
            }
            (Err(reason), Some(_)) => return Ok(Err(reason)),
        }
        watch.open(path.parent().expect("a name is below names/"))?;
        let agreed = self.agree(change, &path);
        if agreed.is_ok() && change.wanted.is_none() {
            self.prune(&path, watch)?;
        }
        Ok(agreed)
    }

    /// Makes a name of the usual case in the directory that was come near to.
    fn link_near(&self, change: &Change, path: &Path, watch: &Watch<'_>) -> io::Result<()> {
        let within = watch.near.as_ref().and_then(|(_, directory)| directory.as_deref());
        self.link_blob(&change.wanted_digest(), path, within)
    }

    /// What is there, as far as a look tells. What stands aside is always something to do.
    fn stands(&self, change: &Change, path: &Path) -> Stands {
        let (Ok(now), Ok(None)) = (self.look(path), self.look(&self.aside(&change.name))) else {
            return Stands::Something;
        };
        match (&now, &change.wanted) {
            (None, None) => Stands::Right,
            // The directory of other names, below one that means nothing.
            (Some(meta), None) if meta.kind == FileKind::Directory => Stands::Right,
            (Some(meta), Some(wanted)) if self.is_wanted(meta, wanted) => Stands::Right,
            (None, Some(_)) => Stands::Nothing,
            (Some(_), _) => Stands::Something,
        }
    }

    fn agree(&self, change: &Change, path: &Path) -> Result<(), String> {
        self.settle_aside(change, path)?;
        match (self.look(path)?, &change.wanted) {
            (None, None) => return Ok(()),
            (Some(meta), None) if meta.kind == FileKind::Directory => return Ok(()),
            (Some(meta), Some(wanted)) if self.is_wanted(&meta, wanted) => return Ok(()),
            (Some(meta), Some(_)) if meta.kind == FileKind::Directory => self.clear(path)?,
            (Some(_), _) => self.set_aside(change, path)?,
            (None, Some(_)) => {}
        }
        change.wanted.as_ref().map_or(Ok(()), |wanted| self.put(wanted, path))
    }

    /// Gives `path` to the blob.
    fn put(&self, wanted: &Wanted, path: &Path) -> Result<(), String> {
        let made = if wanted.digest == Digest::EMPTY {
            self.machine.open(path, Open::CreateNew { mode: self.blob_mode }).map(drop)
        } else {
            self.link(wanted, path)
        };
        made.map_err(|e| match e.kind() {
            io::ErrorKind::TooManyLinks => format!("{NO_LINKS_LEFT}: cannot make {}", path.display()),
            _ => format!("cannot make {}: {e}", path.display()),
        })
    }

    /// Links `path` to the blob's file, or, where there are carriers, to the first of all these files that takes the link.
    fn link(&self, wanted: &Wanted, path: &Path) -> io::Result<()> {
        let blob = self.layout.blob(&wanted.digest);
        if wanted.carriers.is_empty() {
            return self.machine.link(&blob, path);
        }
        let mut refused: Option<io::Error> = None;
        for file in self.files_of(wanted, blob) {
            match self.machine.link(&file, path) {
                Err(e) if matches!(e.kind(), io::ErrorKind::TooManyLinks | io::ErrorKind::PermissionDenied) => {
                    // One more inode would help, which has to be known; else the first one tells why.
                    if refused.is_none() || e.kind() == io::ErrorKind::TooManyLinks {
                        refused = Some(e);
                    }
                }
                done => return done,
            }
        }
        Err(refused.unwrap_or_else(|| io::ErrorKind::NotFound.into()))
    }

    /// The blob's file and its carriers, in the order in which a name is to be a link to them: what more people may read
    /// comes first, then what is this user's own, then the blob's own file, then the youngest carrier.
    fn files_of(&self, wanted: &Wanted, blob: PathBuf) -> Vec<PathBuf> {
        let user = self.machine.user();
        let mut files = Vec::with_capacity(1 + wanted.carriers.len());
        let mut offer = |path: PathBuf, number: u32, inode: Option<u64>| {
            let there = self.machine.lstat(&path).ok().filter(|meta| inode.is_none_or(|inode| inode == meta.inode));
            if let Some(meta) = there {
                let readers = (meta.mode & 0o044).count_ones();
                files.push((Reverse(readers), meta.uid != user, Reverse(number), path));
            }
        };
        offer(blob, u32::MAX, None);
        for (number, inode) in &wanted.carriers {
            offer(self.layout.carrier(&wanted.digest, *number), *number, Some(*inode));
        }
        files.sort();
        files.into_iter().map(|(.., path)| path).collect()
    }

    /// Renames what is at `path` aside, and removes it if it is ours; otherwise puts it back.
    fn set_aside(&self, change: &Change, path: &Path) -> Result<(), String> {
        let aside = self.aside(&change.name);
        self.machine.rename(path, &aside).map_err(|e| format!("cannot move {} aside: {e}", path.display()))?;
        self.settle_aside(change, path)
    }

    /// Removes a directory that holds nothing but empty directories: whoever took the names below away died before it
    /// did so.
    fn clear(&self, path: &Path) -> Result<(), String> {
        let trouble = |e: io::Error| format!("{} is a directory: {e}", path.display());
        let entries = self.machine.list(path).map_err(trouble)?;
        if entries.iter().any(|entry| entry.kind != FileKind::Directory) {
            return Err(format!("{} is a directory with files in it", path.display()));
        }
        for entry in entries {
            self.clear(&path.join(entry.name))?;
        }
        self.machine.remove_dir(path).map_err(trouble)
    }

    /// Deals with what stands aside: ours goes; what is not ours goes back.
    fn settle_aside(&self, change: &Change, path: &Path) -> Result<(), String> {
        let aside = self.aside(&change.name);
        let Some(meta) = self.look(&aside)? else { return Ok(()) };
        if self.is_ours(change, &meta) || planted(Bug::AsideUnchecked) {
            return self.machine.unlink(&aside).map_err(|e| format!("cannot remove {}: {e}", aside.display()));
        }
        match self.machine.rename_new(&aside, path) {
            Ok(()) => Err(format!("{} was put there by somebody else", path.display())),
            Err(e) => {
                Err(format!("{} keeps a file that somebody else put at {}: {e}", aside.display(), path.display()))
            }
        }
    }

    /// Removes the directories above `path` that are empty now, up to `names/`. Failing is no harm.
    fn prune(&self, path: &Path, watch: &mut Watch<'_>) -> Result<()> {
        let top = self.layout.names();
        let mut directory = path.parent();
        while let Some(here) = directory.filter(|d| *d != top && d.starts_with(&top)) {
            let above = here.parent().expect("it is below names/");
            watch.open(above)?;
            if self.machine.remove_dir(here).is_err() {
                return Ok(());
            }
            // A directory of this name may be made again, and would be another one.
            watch.seen.remove(here);
            watch.each.remove(here);
            watch.near = None;
            directory = Some(above);
        }
        Ok(())
    }

    fn look(&self, path: &Path) -> Result<Option<Meta>, String> {
        match self.machine.lstat(path) {
            Ok(meta) => Ok(Some(meta)),
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            Err(e) => Err(format!("cannot look at {}: {e}", path.display())),
        }
    }

    /// Where the file of a name stands aside until it is settled.
    pub fn aside(&self, name: &Name) -> PathBuf {
        self.layout.staging().join(format!("aside-{}", &blake3::hash(name.as_bytes()).to_hex()[..32]))
    }
}

impl<'a> Watch<'a> {
    fn new(names: &'a Names, syncs: Syncs) -> Result<Self> {
        let top = names.layout.names();
        let filesystem = match names.syncfs && syncs != Syncs::None {
            true => Some(names.machine.open(&top, Open::Directory).map_err(|e| Error::io("open", &top, e))?),
            false => None,
        };
        Ok(Watch { names, syncs, filesystem, each: BTreeMap::new(), seen: BTreeSet::new(), near: None })
    }

    /// Opens a directory before it is changed. One that is not there is the trouble of the name, told when it is
    /// applied; any other failure would leave a change that nothing vouches for.
    fn open(&mut self, directory: &Path) -> Result<()> {
        let enough = self.filesystem.is_some() && self.each.len() > FEW_DIRECTORIES;
        if self.syncs == Syncs::None || enough || self.each.contains_key(directory) {
            return Ok(());
        }
        if self.each.len() >= MOST_DIRECTORIES {
            self.sync_each()?;
            self.near = None;
        }
        match self.names.machine.open(directory, Open::Directory) {
            Ok(handle) => _ = self.each.insert(directory.to_owned(), handle),
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
            Err(e) => return Err(Error::io("open", directory, e)),
        }
        Ok(())
    }

    /// Whether `path` is in the directory that was come near to: then that is watched, and is a directory.
    fn is_near(&self, path: &Path) -> bool {
        self.syncs != Syncs::All && self.near.as_ref().is_some_and(|(near, _)| Some(near.as_path()) == path.parent())
    }

    /// Opens the directory of `path`, which was seen to be one, to reach further names in it.
    fn come_near(&mut self, path: &Path) {
        let Some(directory) = path.parent().filter(|_| !self.is_near(path)) else { return };
        self.near = Some((directory.to_owned(), self.names.machine.keep_open(directory)));
    }

    /// Every directory from `names/` to the one of `path`, of those that are there.
    fn with_ancestors(&mut self, path: &Path) -> Result<()> {
        let top = self.names.layout.names();
        for directory in path.ancestors().skip(1).take_while(|directory| directory.starts_with(&top)) {
            self.open(directory)?;
        }
        Ok(())
    }

    /// Whether the directories above `path` are there. Anything else in their place, a symbolic link above all, is an
    /// error: what is behind it is not below `names/`.
    fn leads_to(&mut self, path: &Path) -> Result<bool, String> {
        for directory in self.above(path) {
            if self.seen.contains(&directory) {
                continue;
            }
            match self.names.look(&directory)? {
                None => return Ok(false),
                Some(meta) if meta.kind == FileKind::Directory => _ = self.seen.insert(directory),
                Some(_) => return Err(format!("{} is no directory", directory.display())),
            }
        }
        Ok(true)
    }

    /// Makes the directories above `path` that are missing.
    fn make_parents(&mut self, path: &Path) -> Result<io::Result<()>> {
        for directory in self.above(path) {
            if self.seen.contains(&directory) {
                continue;
            }
            self.open(directory.parent().expect("it is below names/"))?;
            match self.names.machine.create_dir(&directory, self.names.directory_mode) {
                Err(e) => return Ok(Err(e)),
                Ok(()) => _ = self.seen.insert(directory),
            }
        }
        Ok(Ok(()))
    }

    /// The directories between `names/` and `path`, outermost first.
    fn above(&self, path: &Path) -> Vec<PathBuf> {
        let top = self.names.layout.names();
        let mut above: Vec<_> = path.ancestors().skip(1).take_while(|d| **d != *top).map(Path::to_owned).collect();
        above.reverse();
        above
    }

    fn sync(mut self) -> Result<()> {
        if planted(Bug::NamesDirSync) {
            return Ok(());
        }
        match self.filesystem.take().filter(|_| self.each.len() > FEW_DIRECTORIES) {
            Some(handle) => handle.sync_filesystem().map_err(|e| Error::io("sync", &self.names.layout.names(), e)),
            None => self.sync_each(),
        }
    }

    fn sync_each(&mut self) -> Result<()> {
        for (path, handle) in std::mem::take(&mut self.each) {
            handle.sync().map_err(|e| Error::io("sync", &path, e))?;
        }
        Ok(())
    }
}

impl Wanted {
    /// Whether this inode is recorded for it, as the blob's own or a carrier's.
    fn has(&self, inode: u64) -> bool {
        inode == self.inode || self.carriers.iter().any(|(_, carrier)| *carrier == inode)
    }
}

impl Change {
    /// Whether the name meant nothing before and is to be a link: the usual case, in which it is simply made.
    fn is_fresh(&self) -> bool {
        self.ours.is_empty()
            && self.was.is_none()
            && self.wanted.as_ref().is_some_and(|wanted| wanted.digest != Digest::EMPTY && wanted.carriers.is_empty())
    }

    fn wanted_digest(&self) -> Digest {
        self.wanted.as_ref().map_or(Digest::EMPTY, |wanted| wanted.digest)
    }
}

impl Names {
    /// Whether a file is one that the alias put there: its inode is the recorded one, or that of the blob's file now (a
    /// copied store has other inodes). Empty files are never hardlinked, and hold nothing to lose.
    fn is_ours(&self, change: &Change, meta: &Meta) -> bool {
        let wanted = change.wanted.as_ref().map(|wanted| wanted.digest);
        let mut digests = change.was.iter().chain(&wanted);
        let recorded = change.ours.contains(&meta.inode) || change.wanted.as_ref().is_some_and(|w| w.has(meta.inode));
        meta.kind == FileKind::File && (recorded || digests.any(|digest| self.is_file_of(meta, digest)))
    }

    fn is_wanted(&self, meta: &Meta, wanted: &Wanted) -> bool {
        let recorded = wanted.digest != Digest::EMPTY && wanted.has(meta.inode);
        meta.kind == FileKind::File && (recorded || self.is_file_of(meta, &wanted.digest))
    }

    fn is_file_of(&self, meta: &Meta, digest: &Digest) -> bool {
        if *digest == Digest::EMPTY {
            return meta.size_bytes == 0;
        }
        let blob = self.machine.lstat(&self.layout.blob(digest));
        blob.is_ok_and(|blob| (blob.device, blob.inode) == (meta.device, meta.inode))
    }
}
