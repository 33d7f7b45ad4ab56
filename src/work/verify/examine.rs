//! One blob: read, compared, and looked at again before anything bad is said of it.

use std::io;
use std::path::Path;
use std::time::Duration;

use crate::format::record::copies::CarrierRow;
use crate::format::table::BlobRow;
use crate::hashing::sealed::{Stopped, blake3_sealed, digests_sealed};
use crate::hashing::{Hashed, Reading as How, Tree, digest_sealed, grow};
use crate::ledger::{Snapshot, Tables};
use crate::machine::{File, FileKind, Meta, Open, trouble};
use crate::vocabulary::events::{CarrierSeen, VerifyStatus};
use crate::vocabulary::limits::MAP_WINDOW_BYTES;
use crate::vocabulary::{Blake3, ByteRanges, Damage, Digest, Error, Event, Observer, Result};
use crate::work::Context;
use crate::work::blob::{Meter, NOT_REGULAR};
use crate::work::cache::Cache;
use crate::work::seen::Seen;
use crate::work::trees;

/// How often a blob is read whose record, or file, changes every time.
const TRIES: u32 = 8;
/// How long what is short of descriptors or memory is left to recover.
const RECOVERY: Duration = Duration::from_millis(50);
/// How often, and how long each time, a heal on record is waited for: its files change places right after the commit.
const HEAL_WAITS: u32 = 20;
const HEAL_WAIT: Duration = Duration::from_millis(5);

/// Examines blobs.
pub(in crate::work) struct Examiner<'a> {
    pub(in crate::work) ctx: Context<'a>,
    pub(in crate::work) snapshot: &'a Snapshot,
    pub(in crate::work) quarantine: bool,
    /// How it reads where it reads by itself.
    pub(in crate::work) reading: Reading,
    pub(in crate::work) observer: &'a dyn Observer,
}

/// How blobs are read, and with what they are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::work) struct Reading {
    /// With the BLAKE3 on record, where there is one; SHA-256 decides where that does not match.
    pub(in crate::work) by_blake3: bool,
    /// Leave the page cache as it was.
    pub(in crate::work) spare_cache: bool,
    /// Compare with BLAKE3 by all cores together: there is nothing else for them to do.
    pub(in crate::work) all_cores: bool,
}

/// What became of one blob.
pub(in crate::work) enum Examined {
    /// It was examined, and told.
    Found { seen: Box<Seen>, read_bytes: u64, quarantined: bool },
    /// It was collected meanwhile.
    Gone,
    /// The observer asked to stop.
    Stopped,
}

/// What one look at a blob's file has shown.
#[derive(Clone)]
pub(in crate::work) struct Look {
    pub(in crate::work) status: VerifyStatus,
    /// What exactly was wrong.
    pub(in crate::work) detail: String,
    /// The file that was looked at, if there is one.
    pub(in crate::work) file: Option<Meta>,
    pub(in crate::work) read_bytes: u64,
    /// Whether it was unreadable because the disk said so, and not for want of permission or descriptors.
    pub(in crate::work) by_disk: bool,
    /// Only where the record has none.
    pub(in crate::work) blake3: Option<Blake3>,
    /// Where it is wrong, once that was looked at.
    pub(in crate::work) damage: Damage,
    /// Whether it was compared with SHA-256, and not with another digest on record alone.
    pub(in crate::work) sha256: bool,
    /// The tree of its bytes, where reading it made one that was wanted.
    pub(in crate::work) tree: Option<Tree>,
}

impl Examiner<'_> {
    /// Reads a blob that is on record with `size_bytes`, and its carriers, and concludes.
    pub(in crate::work) fn examine(&self, digest: &Digest, size_bytes: u64) -> Result<Examined> {
        let meter = Meter::new(self.observer, size_bytes);
        let carriers = self.snapshot.carriers(digest)?.into_iter().map(|(number, row)| (number, row, None)).collect();
        let row = self.snapshot.blob(digest)?;
        self.conclude(Looked { digest, size_bytes, row, look: None, carriers, meter: &meter })
    }

    /// Concludes what is to be said of a blob of which each file was looked at once, and tells it.
    pub(in crate::work) fn conclude(&self, blob: Looked<'_>) -> Result<Examined> {
        let Looked { digest, size_bytes, row, look, carriers, meter } = blob;
        let (row, mut look) = match self.settle(digest, row, look, meter)? {
            Settled::Looked(row, look) => (row, look),
            Settled::Stopped => return Ok(Examined::Stopped),
            Settled::Gone => {
                meter.finish();
                return Ok(Examined::Gone);
            }
        };
        let path = self.ctx.ledger.blobs.path(digest);
        self.locate_damage(digest, row.as_ref(), &path, &mut look);
        self.make_tree_if_missing(digest, row.as_ref(), &look);
        let quarantined = self.quarantine_if_asked(digest, row.as_ref(), &mut look);
        let Some(carriers) = self.carriers(digest, size_bytes, row.as_ref(), carriers, meter)? else {
            return Ok(Examined::Stopped);
        };
        meter.finish();
        let Look { status, detail, read_bytes, file, blake3, damage, sha256, .. } = *look;
        let all = [damage.wrong.all(), damage.unreadable.all()].concat();
        let ranges = ByteRanges::of(all).all().iter().map(|range| (range.start, range.end)).collect();
        let (digest, time_ns) = (*digest, self.ctx.ledger.machine.now_ns());
        let seen = Seen { digest, status, detail, ranges, row, file, sha256, blake3, time_ns, carriers };
        if seen.findings() > 0 || self.observer.hears_of_good() {
            let names = self.snapshot.names_of(&digest)?;
            let (detail, carriers) = (seen.detail.clone(), seen.carriers.clone());
            self.observer.event(&Event::Verified { digest, names, size_bytes, status, detail, damage, carriers });
        }
        Ok(Examined::Found { seen: Box::new(seen), read_bytes, quarantined })
    }

    /// What is to be said of every carrier of a blob; `None`: asked to stop. One that was removed meanwhile is none.
    fn carriers(
        &self,
        digest: &Digest,
        size_bytes: u64,
        blob: Option<&BlobRow>,
        looked: Vec<(u32, CarrierRow, Option<FirstLook>)>,
        meter: &Meter<'_>,
    ) -> Result<Option<Vec<CarrierSeen>>> {
        let mut seen = Vec::new();
        for (number, row, look) in looked {
            let path = self.ctx.ledger.carriers.path(digest, number);
            let look = match look {
                Some(look) => look.or_else(|unread| unread.into_look(&path, Some(size_bytes)).ok_or(())).ok(),
                None => self.look_at_carrier(digest, number, size_bytes, meter),
            };
            let Some(mut look) = look else { return Ok(None) };
            self.locate_damage(digest, blob, &path, &mut look);
            let gone = || Ok::<_, Error>(!self.ledger_has(digest, number, &row)?);
            if look.status == VerifyStatus::Ok || !gone()? {
                let Look { status, detail, damage, .. } = look;
                seen.push(CarrierSeen { number, status, detail, damage });
            }
        }
        Ok(Some(seen))
    }

    /// Looks at one carrier; `None`: asked to stop.
    pub(in crate::work) fn look_at_carrier(
        &self,
        digest: &Digest,
        number: u32,
        size_bytes: u64,
        meter: &Meter<'_>,
    ) -> Option<Look> {
        let path = self.ctx.ledger.carriers.path(digest, number);
        let row = if self.reading.by_blake3 { self.snapshot.blob(digest).ok().flatten() } else { None };
        let blake3 = row.map_or(Blake3::UNKNOWN, |row| row.blake3);
        let against = Against { digest, size_bytes: Some(size_bytes), blake3, wants_tree: false };
        let look = look_once(&self.ctx, &path, &against, self.reading, false, meter);
        look.or_else(|unread| unread.into_look(&path, Some(size_bytes)).ok_or(())).ok()
    }

    /// Whether a carrier is on record now as it was when this work began.
    fn ledger_has(&self, digest: &Digest, number: u32, row: &CarrierRow) -> Result<bool> {
        let now = self.ctx.ledger.snapshot()?;
        Ok(now.carriers(digest)?.contains(&(number, *row)))
    }

    /// Looks at a blob until it is good, or what is wrong with it is not explained by what others do to it meanwhile.
    pub(in crate::work) fn look_until_settled(&self, digest: &Digest, meter: &Meter<'_>) -> Result<Settled> {
        self.settle(digest, self.snapshot.blob(digest)?, None, meter)
    }

    /// As [`Examiner::look_until_settled`], where it may have been looked at already as `row` says it is.
    fn settle(
        &self,
        digest: &Digest,
        mut row: Option<BlobRow>,
        mut first: Option<FirstLook>,
        meter: &Meter<'_>,
    ) -> Result<Settled> {
        let mut tries = TRIES;
        loop {
            let Some(look) = self.look(digest, row.as_ref(), first.take(), meter) else { return Ok(Settled::Stopped) };
            tries -= 1;
            if look.status == VerifyStatus::Ok || tries == 0 {
                return Ok(Settled::Looked(row, Box::new(look)));
            }
            match self.newest(digest, &row, &look)? {
                Newest::Same => return Ok(Settled::Looked(row, Box::new(look))),
                Newest::Gone => return Ok(Settled::Gone),
                Newest::Other(fresh) => row = fresh,
            }
        }
    }

    /// One look, and a second one where the first failed for want of something that comes back. `None`: asked to stop.
    fn look(
        &self,
        digest: &Digest,
        row: Option<&BlobRow>,
        first: Option<FirstLook>,
        meter: &Meter<'_>,
    ) -> Option<Look> {
        let ledger = self.ctx.ledger;
        let expected = row.map(|row| row.stamp.size_bytes);
        let path = ledger.blobs.path(digest);
        let unverified = row.is_some_and(|row| !row.is_verified());
        let blake3 = row.map_or(Blake3::UNKNOWN, |row| row.blake3);
        let lacks_tree = |row| ledger.policy.writable && trees::lacks_tree(ledger, digest, row);
        let wants_tree = self.reading.all_cores && first.is_none() && row.is_some_and(lacks_tree);
        let against = Against { digest, size_bytes: expected, blake3, wants_tree };
        let look_once = || look_once(&self.ctx, &path, &against, self.reading, unverified, meter);
        let mut result = first.unwrap_or_else(look_once);
        if matches!(&result, Err(unread) if trouble::is_transient(&unread.stopped.error)) {
            ledger.machine.pause(RECOVERY);
            result = look_once();
        }
        match result {
            Ok(mut look) => {
                if look.status == VerifyStatus::Missing
                    && let Ok(Some(known)) = self.snapshot.damaged(digest)
                    && known.quarantined
                {
                    look.detail = format!("its file is in quarantine: {}", known.reason);
                }
                Some(look)
            }
            Err(unread) => unread.into_look(&path, expected),
        }
    }

    /// What the records say now of a blob that looked bad.
    fn newest(&self, digest: &Digest, row: &Option<BlobRow>, look: &Look) -> Result<Newest> {
        // Without fresh records there is nothing to set against what was seen.
        let Ok(now) = self.ctx.ledger.snapshot() else { return Ok(Newest::Same) };
        let fresh = now.blob(digest)?;
        if fresh.is_none() && !now.is_rooted(digest)? {
            return Ok(Newest::Gone);
        }
        if fresh != *row {
            return Ok(Newest::Other(fresh));
        }
        // A heal is on record before its files change places. It is one only where the record is younger than this work.
        let recorded = row.as_ref().map(|row| row.stamp.inode);
        let healing = look.file.map(|file| file.inode) != recorded && self.snapshot.blob(digest)? != *row;
        Ok(if healing && self.becomes(digest, recorded) { Newest::Other(fresh) } else { Newest::Same })
    }

    /// Whether the blob's file becomes the one on record while it is waited for.
    fn becomes(&self, digest: &Digest, recorded: Option<u64>) -> bool {
        let machine = self.ctx.ledger.machine.as_ref();
        let path = self.ctx.ledger.blobs.path(digest);
        let is_there = || machine.lstat(&path).is_ok_and(|meta| Some(meta.inode) == recorded);
        (0..HEAL_WAITS).any(|_| {
            let there = is_there();
            if !there {
                machine.pause(HEAL_WAIT);
            }
            there
        })
    }
}

/// What looking has led to.
pub(in crate::work) enum Settled {
    /// The record that the last look was at, and what it showed.
    Looked(Option<BlobRow>, Box<Look>),
    /// The blob was collected meanwhile.
    Gone,
    /// The observer asked to stop.
    Stopped,
}

/// What the records say now.
enum Newest {
    Same,
    Gone,
    Other(Option<BlobRow>),
}

/// A blob of which each file was looked at once, or is to be: where opening one failed, for one.
pub(in crate::work) struct Looked<'a> {
    pub(in crate::work) digest: &'a Digest,
    /// On record.
    pub(in crate::work) size_bytes: u64,
    /// The record that it was looked at with.
    pub(in crate::work) row: Option<BlobRow>,
    pub(in crate::work) look: Option<FirstLook>,
    pub(in crate::work) carriers: Vec<(u32, CarrierRow, Option<FirstLook>)>,
    pub(in crate::work) meter: &'a Meter<'a>,
}

/// What one look at a file has shown, or why it could not be looked at.
pub(in crate::work) type FirstLook = Result<Look, Unread>;

/// What could not be done to a file, and where in it.
pub(in crate::work) struct Unread {
    attempt: &'static str,
    stopped: Stopped,
}

impl Unread {
    /// `None`: it was asked to stop.
    fn into_look(self, path: &Path, expected: Option<u64>) -> Option<Look> {
        let Unread { attempt, stopped: Stopped { offset, error } } = self;
        if error.kind() == io::ErrorKind::Interrupted {
            return None;
        }
        let of = expected.map_or_else(String::new, |size| format!(" of {size}"));
        let at = if offset == 0 { String::new() } else { format!(" at byte {offset}{of}") };
        let detail = format!("cannot {attempt} {}: {error}{at}", path.display());
        let by_disk = trouble::is_disk(&error);
        Some(Look {
            status: VerifyStatus::Unreadable,
            detail,
            file: None,
            read_bytes: offset,
            by_disk,
            blake3: None,
            damage: Damage::default(),
            sha256: true,
            tree: None,
        })
    }
}

/// What the bytes of a file should be.
struct Against<'a> {
    digest: &'a Digest,
    size_bytes: Option<u64>,
    /// [`Blake3::UNKNOWN`] where nothing is on record.
    blake3: Blake3,
    /// Whether its tree is missing.
    wants_tree: bool,
}

fn look_once(
    ctx: &Context<'_>,
    path: &Path,
    against: &Against<'_>,
    reading: Reading,
    unverified: bool,
    meter: &Meter<'_>,
) -> Result<Look, Unread> {
    let ledger = ctx.ledger;
    let at_beginning = |attempt, error| Unread { attempt, stopped: Stopped { offset: 0, error } };
    let meta = match ledger.machine.lstat(path) {
        Ok(meta) => meta,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(missing()),
        Err(e) => return Err(at_beginning("look at", e)),
    };
    if meta.kind != FileKind::File {
        return Ok(corrupt(NOT_REGULAR.to_owned(), meta, 0));
    }
    let file = match ledger.machine.open(path, Open::Read) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(missing()),
        Err(e) => return Err(at_beginning("open", e)),
    };
    let meta = file.meta().map_err(|e| at_beginning("look at", e))?;
    let cache = Cache::of(file, reading.spare_cache);
    let file = cache.file();
    let Against { digest, size_bytes: expected, .. } = *against;
    if reading.by_blake3
        && against.blake3 != Blake3::UNKNOWN
        && let Some(read) = by_blake3(ctx, &cache, against, reading.all_cores, meter)
    {
        let (read, tree) = match read {
            Ok((size_bytes, tree)) => (Ok(Hashed { digest: *digest, blake3: None, size_bytes }), tree),
            Err(stopped) => (Err(stopped), None),
        };
        return judge(file, meta, digest, expected, read).map(|look| Look { sha256: false, tree, ..look });
    }
    let go_on = |bytes| {
        cache.passed(bytes);
        meter.advance(bytes)
    };
    let read = match unverified {
        false => digest_sealed(file, &go_on).map(|(digest, size_bytes)| (digest, size_bytes, None)),
        true => digests_sealed(file, &go_on).map(|d| (d.digest, d.size_bytes, Some(d.blake3))),
    };
    let read = read.map(|(digest, size_bytes, blake3)| Hashed { digest, blake3, size_bytes });
    judge(file, meta, digest, expected, read)
}

/// The length of a file whose BLAKE3 is that on record, with its tree if that is wanted and was made on the way; `None`
/// where it is not, which says nothing yet: the record may be wrong.
fn by_blake3(
    ctx: &Context<'_>,
    cache: &Cache<Box<dyn File>>,
    against: &Against<'_>,
    all_cores: bool,
    meter: &Meter<'_>,
) -> Option<Result<(u64, Option<Tree>), Stopped>> {
    let found = match all_cores {
        true => {
            let (go_on, passed) = (|bytes| meter.advance(bytes), |range| cache.passed_range(range));
            grow(cache.file(), How::Sealed, ctx.workers, against.wants_tree, &go_on, &passed)
                .map(|grown| (grown.blake3, grown.size_bytes, grown.tree))
        }
        false => blake3_sealed(cache.file(), &|bytes| {
            cache.passed(bytes);
            meter.advance(bytes)
        })
        .map(|(found, size)| (found, size, None)),
    };
    match found {
        Ok((found, size, tree)) => (found == against.blake3).then_some(Ok((size, tree))),
        Err(stopped) => Some(Err(stopped)),
    }
}

/// What it means that a file, once it was opened, was read so.
pub(super) fn judge(
    file: &dyn File,
    meta: Meta,
    digest: &Digest,
    expected: Option<u64>,
    read: Result<Hashed, Stopped>,
) -> FirstLook {
    match read {
        Ok(Hashed { digest: found, size_bytes, blake3 }) if found == *digest => {
            let (status, detail, file) = (VerifyStatus::Ok, String::new(), Some(meta));
            let damage = Damage::default();
            Ok(Look {
                status,
                detail,
                file,
                read_bytes: size_bytes,
                by_disk: false,
                blake3,
                damage,
                sha256: true,
                tree: None,
            })
        }
        Ok(Hashed { digest: found, size_bytes, .. }) => {
            Ok(corrupt(difference(&found, size_bytes, expected), meta, size_bytes))
        }
        Err(stopped) if stopped.error.kind() == io::ErrorKind::UnexpectedEof => {
            Ok(corrupt(cut_short(file, &stopped, expected), meta, stopped.offset))
        }
        Err(stopped) => Err(Unread { attempt: "read", stopped: located(file, stopped) }),
    }
}

fn missing() -> Look {
    let detail = "its file is not there".to_owned();
    Look {
        status: VerifyStatus::Missing,
        detail,
        file: None,
        read_bytes: 0,
        by_disk: false,
        blake3: None,
        damage: Damage::default(),
        sha256: true,
        tree: None,
    }
}

fn corrupt(detail: String, file: Meta, read_bytes: u64) -> Look {
    Look {
        status: VerifyStatus::Corrupt,
        detail,
        file: Some(file),
        read_bytes,
        by_disk: false,
        blake3: None,
        damage: Damage::default(),
        sha256: true,
        tree: None,
    }
}

/// In what way bytes are other ones than they should be.
fn difference(found: &Digest, size: u64, expected: Option<u64>) -> String {
    match expected {
        Some(expected) if size < expected => {
            format!("truncated at {size} of {expected} bytes; what is left is {found}")
        }
        Some(expected) if size > expected => format!("{size} bytes instead of {expected}; they are {found}"),
        _ => format!("its {size} bytes are {found}"),
    }
}

fn cut_short(file: &dyn File, stopped: &Stopped, expected: Option<u64>) -> String {
    let size = file.meta().map_or(stopped.offset, |meta| meta.size_bytes);
    match expected {
        Some(expected) => format!("truncated at {size} of {expected} bytes while it was read"),
        None => format!("truncated at {size} bytes while it was read"),
    }
}

/// How finely the place of a read error is told, in bytes: the sector of most disks.
const SECTOR_BYTES: usize = 4096;

/// The same trouble, with the first sector that has it: whole windows are read, and bad sectors are small.
fn located(file: &dyn File, mut stopped: Stopped) -> Stopped {
    let number = stopped.error.raw_os_error();
    if number.is_none() || trouble::is_transient(&stopped.error) {
        return stopped;
    }
    let mut sector = [0; SECTOR_BYTES];
    for offset in (stopped.offset..).step_by(SECTOR_BYTES).take(MAP_WINDOW_BYTES / SECTOR_BYTES) {
        match file.read_at(&mut sector, offset) {
            Err(e) if e.raw_os_error() == number => {
                stopped.offset = offset;
                break;
            }
            Ok(SECTOR_BYTES) => {}
            _ => break,
        }
    }
    stopped
}
