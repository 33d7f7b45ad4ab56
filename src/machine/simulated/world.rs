//! A world: one simulated machine with its disk, and what a test may do to it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::call::Log;
use super::content::Content;
use super::crash::{CrashState, Snapshot, Still};
use super::disk::{Answer, Disk};
use super::fault::Fault;
use super::options::Options;
use super::path::Place;
use super::pending::What;
use super::process::Simulated;
use super::state::{Shared, State};
use super::tree::{Body, Fingerprint, Id, ROOT, Seen};

/// The moment at which a new world begins: 2026-01-01 00:00:00 UTC, in nanoseconds.
const BEGIN_NS: u64 = 1_767_225_600_000_000_000;

/// A simulated machine. Copies are the same world.
#[derive(Clone)]
pub struct World {
    pub(super) shared: Arc<Shared>,
}

impl World {
    /// An empty filesystem; everything that is left to chance follows from the seed.
    pub fn new(seed: u64) -> Self {
        let options = Options::default();
        let disk = Disk::new(BEGIN_NS as i64, options.user);
        World::from_state(State::new(seed, options, disk, BEGIN_NS))
    }

    pub(super) fn from_state(state: State) -> Self {
        World { shared: Arc::new(Shared::new(state)) }
    }

    /// Starts a process.
    pub fn process(&self, name: &str) -> Arc<Simulated> {
        Arc::new(Simulated::start(self.shared.clone(), name))
    }

    /// Changes what kind of machine it is.
    pub fn configure(&self, change: impl FnOnce(&mut Options)) {
        change(&mut self.shared.lock().options);
    }

    /// Sets how many more bytes of blocks fit on the disk.
    pub fn set_free_bytes(&self, free: u64) {
        let mut state = self.shared.lock();
        state.options.capacity_bytes = Some(state.disk.used_bytes().saturating_add(free));
    }

    /// Sets how many more inodes fit on the disk.
    pub fn set_free_inodes(&self, free: u64) {
        let mut state = self.shared.lock();
        state.options.capacity_inodes = Some(state.disk.used_inodes().saturating_add(free));
    }

    /// Lets something go wrong.
    pub fn fail(&self, fault: Fault) {
        self.shared.lock().faults.push(fault);
    }

    /// Nothing goes wrong any more that was to.
    pub fn clear_faults(&self) {
        self.shared.lock().faults.clear();
    }

    /// What was called so far.
    pub fn log(&self) -> Log {
        self.shared.lock().log.clone()
    }

    /// How many counted calls there were.
    pub fn calls(&self) -> u64 {
        self.shared.lock().log.counted
    }

    /// Cuts the power, if it is not off already, and tells what that leaves. All processes are killed.
    pub fn power_cut(&self) -> CrashState {
        let mut state = self.shared.lock();
        state.cut_power();
        state.crash.clone().unwrap_or_else(|| CrashState::of(&state))
    }

    /// What a power cut has left, if there was one.
    pub fn crashed(&self) -> Option<CrashState> {
        self.shared.lock().crash.clone()
    }

    /// What a power cut would leave now; nothing happens.
    pub fn balance(&self) -> CrashState {
        CrashState::of(&self.shared.lock())
    }

    /// From now on keeps what a power cut would leave before each counted call: one run of a workload shows every crash
    /// of it.
    pub fn film(&self) {
        self.shared.lock().film = Some(Vec::new());
    }

    /// The film so far, in order; it ends here.
    pub fn take_film(&self) -> Vec<Still> {
        self.shared.lock().film.take().unwrap_or_default()
    }

    /// Makes everything durable.
    pub fn settle(&self) {
        self.shared.lock().disk.settle_all();
    }

    /// The filesystem as callers see it now, to make worlds from.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::of(&self.shared.lock())
    }

    /// Tells the filesystem as callers see it now from others.
    pub fn fingerprint(&self) -> Fingerprint {
        self.shared.lock().disk.volatile.fingerprint()
    }

    /// The wall clock, nanoseconds since the epoch.
    pub fn clock_ns(&self) -> u64 {
        self.shared.lock().clock_ns
    }

    /// Sets the wall clock, forwards or backwards.
    pub fn set_clock_ns(&self, clock_ns: u64) {
        self.shared.lock().clock_ns = clock_ns;
    }

    /// Lets time pass on all clocks.
    pub fn advance(&self, time: std::time::Duration) {
        self.shared.lock().pass(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Every path with what it names.
    pub fn tree(&self) -> BTreeMap<PathBuf, Seen> {
        let state = self.shared.lock();
        let tree = &state.disk.volatile;
        let seen = |(path, id): (PathBuf, Id)| Some((path, Seen::of(tree.get(id)?)));
        tree.walk().into_iter().filter_map(seen).collect()
    }

    /// Every file below a directory, in the order of their paths.
    pub fn files(&self, under: impl AsRef<Path>) -> Vec<(PathBuf, Seen)> {
        let state = self.shared.lock();
        let tree = &state.disk.volatile;
        let Ok((_, id)) = state.find(under.as_ref(), false) else { return Vec::new() };
        let files = tree.files(id, under.as_ref()).into_iter();
        files.filter_map(|(path, id)| Some((path, Seen::of(tree.get(id)?)))).collect()
    }

    /// What a path names, symbolic links not followed.
    pub fn look(&self, path: impl AsRef<Path>) -> Option<Seen> {
        let state = self.shared.lock();
        let (_, id) = state.find(path.as_ref(), false).ok()?;
        state.disk.node(id).ok().map(Seen::of)
    }

    /// The bytes of a file, if it is there.
    pub fn read(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        self.look(path).filter(|seen| seen.kind == super::super::FileKind::File).map(|seen| seen.content.to_vec())
    }

    /// Puts a file on the disk, durable, with the directories that lead to it; a file that is there gets these bytes.
    pub fn put(&self, path: impl AsRef<Path>, bytes: &[u8]) {
        let content = Content::from(bytes);
        self.place(path.as_ref(), |state, place| match place.node {
            Some(id) => {
                state.break_leases(id);
                state.disk.change(What::Replace { id, content });
            }
            None => _ = state.disk.create(place, Body::File(content), 0o644),
        });
    }

    /// Puts a directory on the disk, durable, with those that lead to it.
    pub fn put_dir(&self, path: impl AsRef<Path>) {
        self.place(path.as_ref(), |state, place| _ = state.disk.create(place, Body::Directory(BTreeMap::new()), 0o755));
    }

    /// Puts a symbolic link on the disk, durable.
    pub fn put_symlink(&self, target: impl AsRef<Path>, path: impl AsRef<Path>) {
        let target = target.as_ref().to_path_buf();
        self.place(path.as_ref(), |state, place| _ = state.disk.create(place, Body::Symlink(target), 0o777));
    }

    /// Puts a fifo on the disk, durable.
    pub fn put_fifo(&self, path: impl AsRef<Path>) {
        self.place(path.as_ref(), |state, place| _ = state.disk.create(place, Body::Special, 0o644));
    }

    /// Changes a slot from outside, and makes just that durable.
    fn place(&self, path: &Path, effect: impl FnOnce(&mut State, &Place)) {
        if let Some(parent) = path.parent().filter(|parent| *parent != Path::new("/") && *parent != Path::new("")) {
            self.put_dir_if_missing(parent);
        }
        let mut state = self.shared.lock();
        state.pass(1_000);
        state.tick();
        if let Ok(place) = state.disk.resolve(path, false) {
            let before = std::mem::take(&mut state.disk.pending);
            effect(&mut state, &place);
            state.disk.settle_all();
            state.disk.pending = before;
        }
    }

    fn put_dir_if_missing(&self, path: &Path) {
        if self.shared.lock().find(path, true).is_err() {
            self.put_dir(path);
        }
    }

    /// Changes an inode from outside, in the cache and on the disk. Whether the path names one.
    fn tamper(&self, path: &Path, effect: impl FnOnce(&mut State, Id) -> Answer<()>) -> bool {
        let mut state = self.shared.lock();
        let Ok((_, id)) = state.find(path, false) else { return false };
        id != ROOT && effect(&mut state, id).is_ok()
    }

    /// Flips a bit of a file's byte, in the cache and on the disk, and no time tells.
    pub fn corrupt(&self, path: impl AsRef<Path>, offset: u64) -> bool {
        self.tamper(path.as_ref(), |state, id| {
            state.disk.volatile.change_content(id, |content| content.flip(offset));
            state.disk.durable.change_content(id, |content| content.flip(offset));
            Ok(())
        })
    }

    /// A range of a file cannot be read from now on (`EIO`).
    pub fn bad_sector(&self, path: impl AsRef<Path>, range: std::ops::Range<u64>) -> bool {
        self.tamper(path.as_ref(), |state, id| {
            state.disk.bad.entry(id).or_default().push(range);
            Ok(())
        })
    }

    /// Somebody has a file open for writing: no read lease.
    pub fn declare_writer(&self, path: impl AsRef<Path>) -> bool {
        self.tamper(path.as_ref(), |state, id| {
            state.writers.push(id);
            state.break_leases(id);
            Ok(())
        })
    }

    /// Nobody outside writes any more.
    pub fn clear_writers(&self) {
        self.shared.lock().writers.clear();
    }

    /// Gives a file another owner.
    pub fn set_owner(&self, path: impl AsRef<Path>, owner: u32) -> bool {
        self.tamper(path.as_ref(), |state, id| {
            for tree in [&mut state.disk.volatile, &mut state.disk.durable] {
                tree.get_mut(id).into_iter().for_each(|node| node.owner = owner);
            }
            Ok(())
        })
    }

    /// The kernel's own write-back of a file's unsynced data fails, as if a sync had failed that nobody asked for.
    pub fn fail_writeback(&self, path: impl AsRef<Path>) -> bool {
        self.tamper(path.as_ref(), |state, id| {
            state.disk.lose_data(Some(id));
            Ok(())
        })
    }
}
