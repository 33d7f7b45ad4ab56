//! A machine in memory that counts reads: what the index needs of one, and nothing else.

use std::any::Any;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::machine::{File, FileKind, Filesystem, Listed, Lock, Machine, Meta, Open};

type Bytes = Arc<Mutex<Vec<u8>>>;

/// Files by path; there is one directory, above all of them.
#[derive(Default)]
pub(super) struct Memory {
    files: Mutex<BTreeMap<PathBuf, Bytes>>,
    drawn: AtomicU64,
    /// Calls of `read_at` and the bytes that they gave.
    pub(super) reads: Arc<AtomicU64>,
    pub(super) read_bytes: Arc<AtomicU64>,
    /// Every write, sync and rename in order, as words.
    pub(super) log: Arc<Mutex<Vec<String>>>,
    /// Whether the next writes fail.
    pub(super) full: Arc<AtomicBool>,
}

impl Memory {
    pub(super) fn bytes(&self, path: &Path) -> Vec<u8> {
        self.files.lock().unwrap()[path].lock().unwrap().clone()
    }

    /// Puts other bytes in the file at `path`, as seen by those who have it open too.
    pub(super) fn set(&self, path: &Path, bytes: &[u8]) {
        let mut files = self.files.lock().unwrap();
        *files.entry(path.to_owned()).or_default().lock().unwrap() = bytes.to_vec();
    }

    pub(super) fn names(&self) -> Vec<String> {
        let files = self.files.lock().unwrap();
        files.keys().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
    }

    /// Reads and bytes read since the last time it was asked.
    pub(super) fn take_reads(&self) -> (u64, u64) {
        (self.reads.swap(0, Ordering::Relaxed), self.read_bytes.swap(0, Ordering::Relaxed))
    }

    fn handle(&self, path: &Path, bytes: Option<Bytes>) -> Box<dyn File> {
        Box::new(MemoryFile {
            name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            bytes,
            reads: Arc::clone(&self.reads),
            read_bytes: Arc::clone(&self.read_bytes),
            log: Arc::clone(&self.log),
            full: Arc::clone(&self.full),
        })
    }

    fn note(&self, what: &str, path: &Path) {
        self.log.lock().unwrap().push(format!("{what} {}", path.file_name().unwrap().to_string_lossy()));
    }
}

fn absent() -> io::Error {
    io::Error::from(io::ErrorKind::NotFound)
}

impl Machine for Memory {
    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn File>> {
        let mut files = self.files.lock().unwrap();
        let bytes = match how {
            Open::Directory => None,
            Open::CreateNew { mode } => {
                assert_eq!(mode, 0o640);
                assert!(!files.contains_key(path));
                Some(Arc::clone(files.entry(path.to_owned()).or_default()))
            }
            Open::Read | Open::ReadWrite => Some(Arc::clone(files.get(path).ok_or_else(absent)?)),
        };
        Ok(self.handle(path, bytes))
    }

    fn list(&self, _: &Path) -> io::Result<Vec<Listed>> {
        let listed = |name: String| Listed { name: OsString::from(name), kind: FileKind::File, inode: 0 };
        Ok(self.names().into_iter().map(listed).collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.note("rename to", to);
        let mut files = self.files.lock().unwrap();
        let bytes = files.remove(from).ok_or_else(absent)?;
        files.insert(to.to_owned(), bytes);
        Ok(())
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        self.files.lock().unwrap().remove(path).map(|_| ()).ok_or_else(absent)
    }

    fn random(&self, buffer: &mut [u8]) -> io::Result<()> {
        let drawn = blake3::hash(&self.drawn.fetch_add(1, Ordering::Relaxed).to_le_bytes());
        buffer.copy_from_slice(&drawn.as_bytes()[..buffer.len()]);
        Ok(())
    }

    fn create_dir(&self, _: &Path, _: u32) -> io::Result<()> {
        unreachable!()
    }
    fn lstat(&self, _: &Path) -> io::Result<Meta> {
        unreachable!()
    }
    fn stat(&self, _: &Path) -> io::Result<Meta> {
        unreachable!()
    }
    fn link(&self, _: &Path, _: &Path) -> io::Result<()> {
        unreachable!()
    }
    fn rename_new(&self, _: &Path, _: &Path) -> io::Result<()> {
        unreachable!()
    }
    fn exchange(&self, _: &Path, _: &Path) -> io::Result<()> {
        unreachable!()
    }
    fn remove_dir(&self, _: &Path) -> io::Result<()> {
        unreachable!()
    }
    fn symlink(&self, _: &Path, _: &Path) -> io::Result<()> {
        unreachable!()
    }
    fn read_link(&self, _: &Path) -> io::Result<PathBuf> {
        unreachable!()
    }
    fn canonical(&self, _: &Path) -> io::Result<PathBuf> {
        unreachable!()
    }
    fn reflink(&self, _: &dyn File, _: &dyn File) -> io::Result<()> {
        unreachable!()
    }
    fn link_limit(&self, _: &Path) -> io::Result<Option<u64>> {
        unreachable!()
    }
    fn filesystem(&self, _: &Path) -> io::Result<Filesystem> {
        unreachable!()
    }
    fn now_ns(&self) -> u64 {
        unreachable!()
    }
    fn monotonic_ns(&self) -> u64 {
        unreachable!()
    }
    fn pause(&self, _: Duration) {
        unreachable!()
    }
    fn umask(&self) -> u32 {
        unreachable!()
    }
    fn user(&self) -> u32 {
        unreachable!()
    }
    fn syncfs_reports_errors(&self) -> bool {
        unreachable!()
    }
}

/// A file, or the directory, which has no bytes.
struct MemoryFile {
    name: String,
    bytes: Option<Bytes>,
    reads: Arc<AtomicU64>,
    read_bytes: Arc<AtomicU64>,
    log: Arc<Mutex<Vec<String>>>,
    full: Arc<AtomicBool>,
}

impl File for MemoryFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let bytes = self.bytes.as_ref().unwrap().lock().unwrap();
        let rest = bytes.get(offset as usize..).unwrap_or_default();
        let read = rest.len().min(buffer.len());
        buffer[..read].copy_from_slice(&rest[..read]);
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.read_bytes.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }

    fn write_at(&self, written: &[u8], offset: u64) -> io::Result<()> {
        if self.full.load(Ordering::Relaxed) {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        let mut bytes = self.bytes.as_ref().unwrap().lock().unwrap();
        let end = offset as usize + written.len();
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[offset as usize..end].copy_from_slice(written);
        Ok(())
    }

    fn meta(&self) -> io::Result<Meta> {
        let (kind, mode) = if self.bytes.is_some() { (FileKind::File, 0o640) } else { (FileKind::Directory, 0o750) };
        let size_bytes = self.bytes.as_ref().map_or(0, |bytes| bytes.lock().unwrap().len() as u64);
        let (uid, gid, device, inode, links) = (0, 0, 0, 0, 1);
        let (mtime_ns, ctime_ns, allocated_bytes) = (0, 0, size_bytes);
        Ok(Meta { kind, size_bytes, mode, uid, gid, device, inode, links, mtime_ns, ctime_ns, allocated_bytes })
    }

    fn sync(&self) -> io::Result<()> {
        self.log.lock().unwrap().push(format!("sync {}", self.name));
        Ok(())
    }

    fn start_writeback(&self, _: u64, _: u64) {}

    fn sync_data(&self) -> io::Result<()> {
        unreachable!()
    }
    fn sync_filesystem(&self) -> io::Result<()> {
        unreachable!()
    }
    fn set_len(&self, _: u64) -> io::Result<()> {
        unreachable!()
    }
    fn set_mode(&self, _: u32) -> io::Result<()> {
        unreachable!()
    }
    fn set_mtime(&self, _: i64) -> io::Result<()> {
        unreachable!()
    }
    fn extend(&self, _: u64, _: u64) -> io::Result<()> {
        unreachable!()
    }
    fn allocate(&self, _: u64) -> io::Result<()> {
        unreachable!()
    }
    fn try_lock(&self, _: Lock) -> io::Result<bool> {
        unreachable!()
    }
    fn let_children_inherit(&self) -> io::Result<()> {
        unreachable!()
    }
    fn unlock(&self) -> io::Result<()> {
        unreachable!()
    }
    fn next_data(&self, _: u64) -> io::Result<Option<(u64, u64)>> {
        unreachable!()
    }
    fn in_use(&self) -> bool {
        false
    }

    fn read_lease(&self) -> io::Result<bool> {
        unreachable!()
    }
    fn end_lease(&self) -> bool {
        unreachable!()
    }
    fn windows(&self, _: u64, _: u64, _: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        unreachable!()
    }
    fn drop_cache(&self) -> bool {
        unreachable!()
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}
