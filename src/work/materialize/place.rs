//! One file: by which way, and into its place.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Mode, look, store_root, taken};
use crate::format::table::{AliasRow, BlobRow};
use crate::hashing::Sha256;
use crate::hashing::file::read_through;
use crate::ledger::{Snapshot, Tables};
use crate::machine::{Entry, File, FileKind, Machine, Meta, Open, trouble};
use crate::parts::blobs::stamp;
use crate::vocabulary::{Digest, Error, ErrorKind, Event, Observer, Result, Stamp};
use crate::work::Context;
use crate::work::blob::{Meter, file_of, missing, open_readable, sound, usable};

/// Blobs with a strange stamp whose bytes were found good are remembered up to this many, so that a blob with many
/// names is hashed once.
const PROVED_MOST: usize = 16_384;

/// Makes files for blobs.
pub(super) struct Maker<'a> {
    pub(super) ctx: Context<'a>,
    pub(super) snapshot: Arc<Snapshot>,
    /// The ways to try, in order.
    pub(super) ways: &'static [Mode],
    pub(super) umask: u32,
    /// Set once the store's filesystem has said that it has no reflinks at all.
    pub(super) no_reflinks: AtomicBool,
    replace: bool,
    /// Whether any blob has a carrier.
    has_carriers: bool,
    store: PathBuf,
    proved: Mutex<BTreeMap<Digest, Stamp>>,
    /// Blobs that were read whole and are right, and of which nobody knows yet.
    read: Mutex<Vec<Digest>>,
}

/// Blobs that were read before it is noted.
const READ_MOST: usize = 1024;

impl Drop for Maker<'_> {
    fn drop(&mut self) {
        let read = std::mem::take(self.read.get_mut().unwrap_or_else(PoisonError::into_inner));
        self.ctx.ledger.note_readings(&read);
    }
}

/// One file that is wanted.
pub(super) struct Item {
    /// The name or digest that it is made for.
    pub(super) from: String,
    pub(super) digest: Digest,
    pub(super) size_bytes: u64,
    /// What the name remembers, if it is made for one.
    pub(super) alias: Option<AliasRow>,
    /// The file itself.
    pub(super) destination: PathBuf,
}

/// What was made.
pub(super) struct Made {
    /// How; `None` where it was there already.
    pub(super) mode: Option<Mode>,
    pub(super) size_bytes: u64,
    /// Why each way before that one was not taken.
    pub(super) reasons: Vec<String>,
    /// Whether mtime or executable bit are not those of the name.
    pub(super) not_restored: bool,
}

/// How a link went.
enum Linked {
    Made,
    Unchanged,
    Impossible(String),
}

impl<'a> Maker<'a> {
    /// `ways` are tried in order; `replace`: whether what is at a destination may go.
    pub(super) fn new(ctx: Context<'a>, snapshot: Arc<Snapshot>, ways: &'static [Mode], replace: bool) -> Result<Self> {
        let has_carriers = snapshot.has_carriers()?;
        Ok(Maker {
            ctx,
            snapshot,
            has_carriers,
            ways,
            umask: ctx.ledger.machine.umask(),
            no_reflinks: AtomicBool::new(false),
            replace,
            store: store_root(&ctx)?,
            proved: Mutex::default(),
            read: Mutex::default(),
        })
    }

    /// A blob's own file was read to its end, and its bytes are right: a verification that cost nothing.
    pub(super) fn was_read(&self, digest: &Digest) {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.push(*digest);
        if read.len() >= READ_MOST {
            let read = std::mem::take(&mut *read);
            self.ctx.ledger.note_readings(&read);
        }
    }

    /// Makes files of one directory, as [`Maker::make`] makes each.
    pub(super) fn make_all(&self, items: Vec<Item>, observer: &dyn Observer) -> Vec<(Result<Made>, Item)> {
        let above = items.first().and_then(|item| item.destination.parent());
        let within = above.filter(|_| items.len() > 1).and_then(|above| self.machine().keep_open(above));
        items.into_iter().map(|item| (self.make_within(&item, within.as_deref(), observer), item)).collect()
    }

    /// Makes one file and tells `observer`. [`ErrorKind::Interrupted`] where that asked to stop; nothing is left then.
    pub(super) fn make(&self, item: &Item, observer: &dyn Observer) -> Result<Made> {
        self.make_within(item, None, observer)
    }

    /// As [`Maker::make`], in a directory that may be open.
    fn make_within(&self, item: &Item, within: Option<&dyn File>, observer: &dyn Observer) -> Result<Made> {
        let meter = Meter::new(observer, item.size_bytes);
        let made = if meter.goes_on() { self.by_some_way(item, within, &meter) } else { Err(interrupted(item)) };
        match &made {
            Err(e) if e.kind() == ErrorKind::Interrupted => return made,
            _ => meter.finish(),
        }
        if let Ok(Made { mode: Some(mode), reasons, .. }) = &made {
            observer.event(&Event::Materialized {
                from: item.from.clone(),
                path: item.destination.clone(),
                size_bytes: item.size_bytes,
                mode: mode.word(),
                note: (!reasons.is_empty()).then(|| reasons.join("; ")),
            });
        }
        made
    }

    fn by_some_way(&self, item: &Item, within: Option<&dyn File>, meter: &Meter<'_>) -> Result<Made> {
        let row = usable(&*self.snapshot, &item.digest)?;
        let blob = self.sound(item, &row, meter)?;
        let mut reasons = Vec::new();
        if self.is_simply_linked(item, within) {
            let (mode, not_restored) = (Some(Mode::Hardlink), differs(item, &blob));
            return Ok(Made { mode, size_bytes: item.size_bytes, reasons, not_restored });
        }
        if let Some(there) = self.private_already(item, &blob, meter)? {
            let not_restored = differs(item, &there);
            return Ok(Made { mode: None, size_bytes: item.size_bytes, reasons, not_restored });
        }
        let (mode, not_restored) = match self.ways[0] {
            Mode::Symlink => (self.symlink(item)?, differs(item, &blob)),
            Mode::Hardlink => match self.hardlink(item, &blob)? {
                Linked::Made => (Some(Mode::Hardlink), differs(item, &blob)),
                Linked::Unchanged => (None, false),
                Linked::Impossible(why) => {
                    reasons.push(why);
                    self.private(item, &mut reasons, meter)?
                }
            },
            Mode::Reflink | Mode::Copy => self.private(item, &mut reasons, meter)?,
        };
        Ok(Made { mode, size_bytes: item.size_bytes, reasons, not_restored })
    }

    /// The private file that is there already with the blob's bytes, where one may be made and nothing is to be
    /// replaced: what was broken off goes on where it stopped. A file that cannot be read is somebody else's matter.
    fn private_already(&self, item: &Item, blob: &Meta, meter: &Meter<'_>) -> Result<Option<Meta>> {
        let private = self.ways.iter().any(|way| matches!(way, Mode::Reflink | Mode::Copy));
        let Some(there) = look(&self.ctx, &item.destination)?.filter(|_| private && !self.replace) else {
            return Ok(None);
        };
        let own = there.kind == FileKind::File && (there.device, there.inode) != (blob.device, blob.inode);
        if !own || there.size_bytes != item.size_bytes {
            return Ok(None);
        }
        let Ok(file) = self.machine().open(&item.destination, Open::Read) else { return Ok(None) };
        let mut hasher = Sha256::default();
        match read_through(file.as_ref(), &mut hasher, &|_| meter.goes_on(), &mut |_, _| Ok(())) {
            Ok(_) => Ok((hasher.finish() == item.digest).then_some(there)),
            Err(_) if !meter.goes_on() => Err(interrupted(item)),
            Err(_) => Ok(None),
        }
    }

    /// What the blob's file looks like. Whatever way is taken, it is known to be good by its stamp or its bytes; copying
    /// looks at the bytes in any case, so there a strange stamp is no reason to read them twice.
    fn sound(&self, item: &Item, row: &BlobRow, meter: &Meter<'_>) -> Result<Meta> {
        let ledger = self.ctx.ledger;
        if self.ways[0] == Mode::Copy {
            return file_of(ledger, &*self.snapshot, &item.digest);
        }
        if let Some(proved) = self.proved().get(&item.digest).copied()
            && let Some(meta) = ledger.blobs.meta(&item.digest)?
            && stamp(&meta).agrees(&proved)
        {
            return Ok(meta);
        }
        let meta = sound(ledger, &*self.snapshot, &item.digest, row, meter)?;
        if !stamp(&meta).agrees(&row.stamp) {
            let mut proved = self.proved();
            if proved.len() < PROVED_MOST {
                proved.insert(item.digest, stamp(&meta));
            }
        }
        Ok(meta)
    }

    fn proved(&self) -> std::sync::MutexGuard<'_, BTreeMap<Digest, Stamp>> {
        self.proved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The usual case: nothing is at the destination, and the blob's own file is linked there. Whatever keeps that from
    /// being done is looked at when it is tried step by step.
    fn is_simply_linked(&self, item: &Item, within: Option<&dyn File>) -> bool {
        let usual = self.ways[0] == Mode::Hardlink && item.size_bytes > 0 && !self.has_carriers;
        usual && self.ctx.ledger.blobs.link(&item.digest, Entry::of(&item.destination, within)).is_ok()
    }

    fn hardlink(&self, item: &Item, blob: &Meta) -> Result<Linked> {
        let there = look(&self.ctx, &item.destination)?;
        if there.is_some_and(|there| is_the_same(&there, blob, item)) {
            return Ok(Linked::Unchanged);
        }
        self.refuse_if_taken(item, there.as_ref())?;
        if item.size_bytes == 0 {
            return Ok(Linked::Impossible("empty files are never hardlinked".to_owned()));
        }
        let from = self.ctx.ledger.blobs.path(&item.digest);
        if self.readable(item)? != from {
            return Ok(Linked::Impossible("the blob's own file is not for this user to read".to_owned()));
        }
        let machine = self.machine();
        if there.is_none() {
            return self.judge_link(item, machine.link(&from, &item.destination));
        }
        let temporary = Temporary::new(machine, &item.destination)?;
        match self.judge_link(item, machine.link(&from, &temporary.path))? {
            // The guard removes the second name: renaming one name of a file over another one of it does nothing.
            Linked::Made => temporary.replace(&item.destination).map(|()| Linked::Made),
            other => Ok(other),
        }
    }

    /// The file of the blob to link to: its own, unless that is not for this user to read and a carrier is.
    fn readable(&self, item: &Item) -> Result<PathBuf> {
        let ledger = self.ctx.ledger;
        let own = || ledger.blobs.path(&item.digest);
        if !self.has_carriers || self.snapshot.carriers(&item.digest)?.is_empty() {
            return Ok(own());
        }
        Ok(open_readable(ledger, &*self.snapshot, &item.digest).map_or_else(|_| own(), |(path, _)| path))
    }

    fn judge_link(&self, item: &Item, done: io::Result<()>) -> Result<Linked> {
        let Err(e) = done else { return Ok(Linked::Made) };
        match e.kind() {
            io::ErrorKind::AlreadyExists => Err(taken(&item.destination, "something was put there meanwhile")),
            io::ErrorKind::NotFound => Err(self.not_found(item, e)),
            _ => match why_no_link(&e) {
                Some(why) => Ok(Linked::Impossible(why.to_owned())),
                None => Err(Error::io("link", &item.destination, e)),
            },
        }
    }

    /// Either the blob went away or the directory did.
    fn not_found(&self, item: &Item, e: io::Error) -> Error {
        match self.ctx.ledger.blobs.meta(&item.digest) {
            Ok(None) => missing(self.ctx.ledger, &item.digest),
            _ => Error::io("make", &item.destination, e),
        }
    }

    fn symlink(&self, item: &Item) -> Result<Option<Mode>> {
        let readable = self.readable(item)?;
        let below =
            readable.strip_prefix(self.ctx.ledger.layout.root()).expect("blobs and carriers are below the store");
        let target = self.store.join(below);
        let machine = self.machine();
        let there = look(&self.ctx, &item.destination)?;
        let is_link = there.is_some_and(|there| there.kind == FileKind::Symlink);
        if is_link && machine.read_link(&item.destination).is_ok_and(|to| to == target) {
            return Ok(None);
        }
        self.refuse_if_taken(item, there.as_ref())?;
        let temporary = Temporary::new(machine, &item.destination)?;
        machine.symlink(&target, &temporary.path).map_err(|e| Error::io("make", &item.destination, e))?;
        self.put(temporary, &item.destination)?;
        Ok(Some(Mode::Symlink))
    }

    /// Makes a file of the user's own, under a temporary name until it is whole.
    fn private(&self, item: &Item, reasons: &mut Vec<String>, meter: &Meter<'_>) -> Result<(Option<Mode>, bool)> {
        self.refuse_if_taken(item, look(&self.ctx, &item.destination)?.as_ref())?;
        let temporary = Temporary::new(self.machine(), &item.destination)?;
        let (mode, restored) = self.fill(item, &temporary.path, reasons, meter)?;
        self.put(temporary, &item.destination)?;
        Ok((Some(mode), !restored))
    }

    fn put(&self, temporary: Temporary<'_>, destination: &Path) -> Result<()> {
        if self.replace { temporary.replace(destination) } else { temporary.place(destination) }
    }

    fn refuse_if_taken(&self, item: &Item, there: Option<&Meta>) -> Result<()> {
        match there {
            None => Ok(()),
            Some(meta) if meta.kind == FileKind::Directory => {
                Err(taken(&item.destination, "a directory is there, which is never replaced"))
            }
            Some(_) if self.replace => Ok(()),
            Some(_) => Err(taken(&item.destination, "something is there already, and it was not said to replace it")),
        }
    }

    pub(super) fn machine(&self) -> &'a dyn Machine {
        self.ctx.ledger.machine.as_ref()
    }
}

fn interrupted(item: &Item) -> Error {
    Error::new(ErrorKind::Interrupted, format!("make {}", item.destination.display()), "asked to stop")
}

/// Whether a destination is what a link would make it. Every empty file is like every other.
fn is_the_same(there: &Meta, blob: &Meta, item: &Item) -> bool {
    let same_inode = (there.device, there.inode) == (blob.device, blob.inode);
    there.kind == FileKind::File && (same_inode || (item.size_bytes == 0 && there.size_bytes == 0))
}

/// Whether the blob's file has another mtime or executable bit than the name, which a link cannot change.
fn differs(item: &Item, blob: &Meta) -> bool {
    let executable = blob.mode & 0o111 != 0;
    item.alias.as_ref().is_some_and(|alias| alias.mtime_ns != blob.mtime_ns || alias.executable != executable)
}

/// Why there can be no hardlink, where another way may still do; `None` for an error that is one.
fn why_no_link(e: &io::Error) -> Option<&'static str> {
    Some(match e.kind() {
        io::ErrorKind::TooManyLinks => "the blob has as many names as its filesystem allows (EMLINK)",
        io::ErrorKind::CrossesDevices => {
            "a link cannot lead to another filesystem, nor through a bind mount to the same one (EXDEV)"
        }
        io::ErrorKind::PermissionDenied if trouble::is_not_permitted(e) => {
            "links are not permitted (EPERM): the filesystem has none, or the blob is somebody else's and \
             fs.protected_hardlinks is set"
        }
        io::ErrorKind::PermissionDenied => "there is no permission to link (EACCES)",
        // A directory of ext4 can be full where a file still fits elsewhere: writing one tells.
        io::ErrorKind::StorageFull => "there is no room for one more name (ENOSPC)",
        _ if trouble::is_unsupported(e) => "the filesystem has no hardlinks",
        _ => return None,
    })
}

/// A file beside its destination under a name of its own, which is gone in the end however it ends.
pub(in crate::work) struct Temporary<'a> {
    machine: &'a dyn Machine,
    path: PathBuf,
}

impl<'a> Temporary<'a> {
    /// A path in the directory of `destination` that nothing has; whoever makes something there makes it new.
    pub(in crate::work) fn new(machine: &'a dyn Machine, destination: &Path) -> Result<Self> {
        let mut random = [0; 8];
        machine.random(&mut random).map_err(|e| Error::system("get random bytes", e))?;
        let name = format!(".larder-{:016x}", u64::from_le_bytes(random));
        Ok(Temporary { machine, path: destination.with_file_name(name) })
    }

    /// Where it is.
    pub(in crate::work) fn path(&self) -> &Path {
        &self.path
    }

    /// Puts it in the place of what is there.
    pub(super) fn replace(self, destination: &Path) -> Result<()> {
        self.machine.rename(&self.path, destination).map_err(|e| Error::io("make", destination, e))
    }

    /// Puts it where nothing is.
    fn place(self, destination: &Path) -> Result<()> {
        let done = match self.machine.rename_new(&self.path, destination) {
            // The second name goes when this does.
            Err(e) if trouble::is_unsupported(&e) => self.machine.link(&self.path, destination),
            done => done,
        };
        done.map_err(|e| match e.kind() {
            io::ErrorKind::AlreadyExists => taken(destination, "something was put there meanwhile"),
            _ => Error::io("make", destination, e),
        })
    }
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        let _ = self.machine.unlink(&self.path);
    }
}
