//! What a test lets go wrong, and when.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::call::{CallKind, Request};

/// Something that goes wrong at some call: it fails, its process is killed, or the power goes.
///
/// Without a filter it concerns the counted calls of all processes; it strikes once, the first time that it applies,
/// unless told otherwise. A struck call has no effect (save a short write, and a failing sync, which loses data).
///
/// ```
/// use larder::machine::simulated::{CallKind, Fault, errno};
/// let third_sync = Fault::errno(errno::EIO).syncs().nth(3);
/// let no_links = Fault::errno(errno::EMLINK).kind(CallKind::Link).always();
/// let blackout = Fault::power_cut().at_call(17);
/// ```
#[derive(Clone)]
pub struct Fault {
    effect: Effect,
    kinds: Vec<CallKind>,
    paths: Option<PathFilter>,
    process: Option<u32>,
    number: Option<u64>,
    first: u64,
    always: bool,
    seen: u64,
}

/// Says whether a path is meant.
type PathFilter = Arc<dyn Fn(&Path) -> bool + Send + Sync>;

/// What happens to the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Fails(Strike),
    Kill,
    PowerCut,
}

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Strike {
    pub(super) errno: i32,
    /// Bytes of a write that reach the file before it fails.
    pub(super) written: u64,
    /// A sync fails at the filesystem's own metadata, not at the data of files.
    pub(super) metadata: bool,
}

impl Fault {
    /// The call fails with this error.
    pub fn errno(errno: i32) -> Self {
        Self::with(Effect::Fails(Strike { errno, written: 0, metadata: false }))
    }

    /// A write fails after some of its bytes have reached the file.
    pub fn short_write(errno: i32, written: u64) -> Self {
        Self::with(Effect::Fails(Strike { errno, written, metadata: false })).kind(CallKind::Write)
    }

    /// A sync fails in the metadata of the filesystem, as that of a directory always does.
    pub fn metadata_sync(errno: i32) -> Self {
        Self::with(Effect::Fails(Strike { errno, written: 0, metadata: true })).syncs()
    }

    /// The process that makes the call is killed before the call has an effect.
    pub fn kill() -> Self {
        Self::with(Effect::Kill)
    }

    /// The power goes before the call has an effect.
    pub fn power_cut() -> Self {
        Self::with(Effect::PowerCut)
    }

    fn with(effect: Effect) -> Self {
        Fault { effect, kinds: Vec::new(), paths: None, process: None, number: None, first: 1, always: false, seen: 0 }
    }

    /// Concerns only calls of this kind, counted or not; several kinds may be named.
    pub fn kind(mut self, kind: CallKind) -> Self {
        self.kinds.push(kind);
        self
    }

    /// Concerns only calls that sync.
    pub fn syncs(self) -> Self {
        self.kind(CallKind::Sync).kind(CallKind::SyncData).kind(CallKind::SyncFilesystem)
    }

    /// Concerns only calls of which one path is here or below.
    pub fn under(self, path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        self.path(move |other| other.starts_with(&path))
    }

    /// Concerns only calls of which one path is like this.
    pub fn path(mut self, like: impl Fn(&Path) -> bool + Send + Sync + 'static) -> Self {
        self.paths = Some(Arc::new(like));
        self
    }

    /// Concerns only calls of the process with this number.
    pub fn process(mut self, process: u32) -> Self {
        self.process = Some(process);
        self
    }

    /// Strikes at the counted call with this number.
    pub fn at_call(mut self, number: u64) -> Self {
        self.number = Some(number);
        self
    }

    /// Strikes the nth time that it applies, from 1.
    pub fn nth(mut self, nth: u64) -> Self {
        self.first = nth;
        self
    }

    /// Goes on striking once it has begun.
    pub fn always(mut self) -> Self {
        self.always = true;
        self
    }

    /// Whether it strikes this call.
    pub(super) fn strikes(&mut self, process: u32, number: Option<u64>, request: &Request<'_>) -> Option<Effect> {
        if !self.concerns(process, number, request) {
            return None;
        }
        self.seen += 1;
        let now = self.seen == self.first || (self.always && self.seen > self.first);
        now.then_some(self.effect)
    }

    fn concerns(&self, process: u32, number: Option<u64>, request: &Request<'_>) -> bool {
        let kind = if self.kinds.is_empty() { number.is_some() } else { self.kinds.contains(&request.kind) };
        let called = match self.number {
            Some(from) if self.always => number.is_some_and(|number| number >= from),
            Some(exactly) => number == Some(exactly),
            None => true,
        };
        kind && called
            && self.process.is_none_or(|only| only == process)
            && self.paths.as_ref().is_none_or(|like| request.paths().any(|path| like(path)))
    }
}
