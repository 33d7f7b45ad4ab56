//! The files that a manifest names: where they are, what their bytes are, and into the store with them.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::Mutex;

use super::{Files, Importing, Item};
use crate::format::manifest::Place;
use crate::ledger::Tables;
use crate::machine::{FileKind, Machine};
use crate::vocabulary::limits::{ENTRY_VARIANTS, NAME_DEPTH};
use crate::vocabulary::{Digest, Error, ErrorKind, Event, Key, Name, Observer, Result, StoredUri, Variant};
use crate::work::catalog::names::{name_for, other_name_for};
use crate::work::catalog::verify::hash;
use crate::work::catalog::{blob_uri, register};
use crate::work::ingest::{AddOptions, TakeIn, add_named};

/// What says so in the evidence.
const BY: &str = "import";

/// The directory that holds the files of a manifest.
pub(super) struct Root {
    /// As the user wrote it.
    given: PathBuf,
    /// As it really is.
    directory: PathBuf,
    /// The files in it by their names without ending: those of a flat directory of models.
    stems: BTreeMap<String, PathBuf>,
}

impl Root {
    pub(super) fn new(machine: &dyn Machine, root: &Path) -> Result<Self> {
        let directory = machine.canonical(root).map_err(|e| Error::io("find", root, e))?;
        let listed = machine.list(&directory).map_err(|e| Error::io("list", root, e))?;
        let mut stems = BTreeMap::new();
        for entry in listed.into_iter().filter(|entry| entry.kind == FileKind::File) {
            let path = directory.join(&entry.name);
            for name in [path.file_name(), path.file_stem()].into_iter().flatten() {
                stems.entry(name.to_string_lossy().into_owned()).or_insert_with(|| path.clone());
            }
        }
        Ok(Root { given: root.to_owned(), directory, stems })
    }

    /// Where a path of the manifest leads, without a look at the disk.
    fn path(&self, path: &Path) -> std::result::Result<PathBuf, String> {
        let mut found = if path.is_absolute() { PathBuf::from("/") } else { self.directory.clone() };
        let mut depth = 0;
        for component in path.components() {
            match component {
                Component::ParentDir if depth == 0 && !path.is_absolute() => return Err(self.outside(path)),
                Component::ParentDir => {
                    found.pop();
                    depth -= 1;
                }
                Component::Normal(part) => {
                    found.push(part);
                    depth += 1;
                }
                Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
            }
        }
        match found.strip_prefix(&self.given) {
            Ok(below) if path.is_absolute() => Ok(self.directory.join(below)),
            _ => Ok(found),
        }
    }

    /// The same file without symbolic links, if it is below this directory: nothing else is touched.
    fn inside(&self, machine: &dyn Machine, path: &Path) -> std::result::Result<PathBuf, String> {
        match machine.canonical(path) {
            Ok(real) if real.starts_with(&self.directory) => Ok(real),
            Err(e) if path.starts_with(&self.directory) => Err(said(Error::io("find", path, e))),
            // Nobody learns from an answer what is at a place that is not to be looked at.
            _ => Err(self.outside(path)),
        }
    }

    fn outside(&self, path: &Path) -> String {
        format!("{} is outside of {}, the directory that may be read", path.display(), self.directory.display())
    }
}

fn said(error: Error) -> String {
    match std::error::Error::source(&error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// What is wrong with the files of a line.
struct Trouble(String);

/// A file of a variant of an item.
struct Job {
    item: usize,
    variant: usize,
    path: PathBuf,
}

impl Importing<'_> {
    /// Finds the files of a batch, and reads or takes them in where that is asked for. What cannot be found or read is
    /// told, and its entry left out.
    pub(super) fn with_files(&mut self, batch: Vec<Item>) -> Result<Vec<Item>> {
        let mut ready = Vec::new();
        for mut item in batch {
            match self.located(&mut item) {
                Ok(()) => ready.push(item),
                Err(Trouble(why)) => self.unread(item.line, why),
            }
        }
        let jobs = self.jobs(&mut ready);
        let found = match self.options.files {
            Files::Leave => return Ok(ready),
            Files::Hash => self.hash(jobs)?,
            Files::Adopt(how) => self.adopt(jobs, &ready, how)?,
        };
        Ok(self.with_found(ready, found))
    }

    fn unread(&mut self, line: u64, reason: String) {
        self.report.failed += 1;
        self.observer.event(&Event::BadLine { line, kind: "file", reason });
    }

    /// Gives every variant the URI of the place where the line says that its file is.
    fn located(&self, item: &mut Item) -> std::result::Result<(), Trouble> {
        let Some(root) = &self.root else { return Ok(()) };
        let listed = &mut item.listed;
        if listed.entry.variants.is_empty()
            && let Some(path) = root.stems.get(listed.entry.card.key.reference()).filter(|_| !listed.whole)
        {
            listed.entry.variants.push(Variant::new("", listed.entry.card.registered_ns));
            listed.places.push(Place::Path(path.clone()));
        }
        for (variant, place) in listed.entry.variants.iter_mut().zip(&mut listed.places) {
            if *place == Place::None
                && variant.uri.is_empty()
                && !listed.whole
                && let Some(path) = root.stems.get(listed.entry.card.key.reference())
            {
                *place = Place::Path(path.clone());
            }
            let Place::Path(path) = place else { continue };
            let found = root.path(path).map_err(Trouble)?;
            if variant.uri.is_empty() {
                let uri = StoredUri::of_file(&found).map_err(|e| Trouble(e.of(&path.to_string_lossy()).to_string()))?;
                variant.uri = uri.to_string();
            }
            *path = found;
        }
        listed.entry.check().map_err(|e| Trouble(e.to_string()))
    }

    /// The files of a batch, those of directories as variants of their own. What cannot be had is told and left out.
    fn jobs(&mut self, batch: &mut Vec<Item>) -> Vec<Job> {
        let mut jobs = Vec::new();
        if self.options.files == Files::Leave {
            return jobs;
        }
        let mut index = 0;
        while index < batch.len() {
            match self.files_of(&mut batch[index]) {
                Ok(files) => {
                    let of_item = files.into_iter();
                    jobs.extend(of_item.map(|(variant, path)| Job { item: index, variant, path }));
                    index += 1;
                }
                Err(Trouble(why)) => {
                    let item = batch.remove(index);
                    self.unread(item.line, why);
                }
            }
        }
        jobs
    }

    fn files_of(&self, item: &mut Item) -> std::result::Result<Vec<(usize, PathBuf)>, Trouble> {
        let machine = self.ctx.ledger.machine.as_ref();
        let Some(root) = &self.root else { return Ok(Vec::new()) };
        let listed = &mut item.listed;
        let mut files = Vec::new();
        let mut variant = 0;
        while variant < listed.entry.variants.len() {
            let Place::Path(path) = &listed.places[variant] else {
                variant += 1;
                continue;
            };
            let path = root.inside(machine, path).map_err(Trouble)?;
            let meta = machine.lstat(&path).map_err(|e| Trouble(said(Error::io("look at", &path, e))))?;
            match meta.kind {
                FileKind::File => {
                    files.push((variant, path));
                    variant += 1;
                }
                FileKind::Directory if listed.entry.variants.len() == 1 => {
                    let found = tree(machine, &path).map_err(Trouble)?;
                    let whole = listed.entry.variants.remove(0);
                    listed.places.clear();
                    for (name, path) in found {
                        let uri = StoredUri::of_file(&path).map_err(|e| Trouble(e.of(&name).to_string()))?.to_string();
                        listed.entry.variants.push(Variant { uri, ..Variant::new(name, whole.created_ns) });
                        listed.places.push(Place::Path(path));
                    }
                    listed.entry.check().map_err(|e| Trouble(e.to_string()))?;
                }
                _ => return Err(Trouble(format!("{} is no regular file", path.display()))),
            }
        }
        Ok(files)
    }

    /// Digest and size of each file, or why there is none.
    fn hash(&mut self, jobs: Vec<Job>) -> Result<Vec<Found>> {
        let (machine, observer) = (self.ctx.ledger.machine.as_ref(), self.observer);
        let found = self.ctx.workers.map(jobs, |job| {
            let hashed = hash(machine, &job.path, &|_| !observer.cancelled());
            (job, hashed)
        });
        let each = found.into_iter().map(|(job, hashed)| match hashed {
            Ok((digest, size_bytes)) => Ok(Found::new(job, Ok((digest, size_bytes, None)))),
            Err(e) => Ok(Found::new(job, Err(e))),
        });
        each.collect()
    }

    /// The same, with each file in the store under a name of its own. Where the name that it would get means other bytes,
    /// it gets another one.
    fn adopt(&mut self, jobs: Vec<Job>, batch: &[Item], take_in: TakeIn) -> Result<Vec<Found>> {
        let options = AddOptions { take_in, alias: self.options.alias, ..AddOptions::default() };
        let key = |job: &Job| -> &Key { &batch[job.item].listed.entry.card.key };
        let mut left: Vec<(Job, Name)> = jobs
            .into_iter()
            .map(|job| {
                let name = name_for(key(&job), &file_name(&batch[job.item], &job));
                (job, name)
            })
            .collect();
        let mut found = Vec::new();
        for attempt in 0..2 {
            let files: Vec<(PathBuf, Name)> = left.iter().map(|(job, name)| (job.path.clone(), name.clone())).collect();
            let heard = Heard { observer: self.observer, added: Mutex::default(), failed: Mutex::default() };
            let added = add_named(self.ctx, &files, &options, &heard);
            let (kept, refused) = (lock(heard.added), lock(heard.failed));
            let mut again = Vec::new();
            for (job, name) in left {
                let why = refused.get(&job.path);
                // Another file may have the name, and this one be wanted under another one, too, and have failed there.
                let taken = match why {
                    None => Some(false),
                    Some(_) => self.is_taken(&name, &job.path),
                };
                match (kept.get(&name), taken) {
                    (Some((digest, size)), Some(false)) => {
                        found.push(Found::new(job, Ok((*digest, *size, Some(name)))));
                    }
                    (_, Some(true)) if attempt == 0 && added.is_ok() => {
                        let other = other_name_for(key(&job), &name);
                        again.push((job, other));
                    }
                    _ => {
                        let why = why.cloned().unwrap_or_else(|| "it was not taken in".to_owned());
                        found.push(Found::new(job, Err(Error::new(ErrorKind::Io, "take it in", why))));
                    }
                }
            }
            // What is in the store by now is put on record, whatever became of the rest.
            if added?.interrupted {
                self.report.interrupted = true;
            }
            left = again;
            if left.is_empty() {
                break;
            }
        }
        Ok(found)
    }

    /// Whether a name means other bytes than those of a file, or is a directory of names. `None` where that cannot be found
    /// out: the file keeps its name, and is told with the reason for which it was refused.
    fn is_taken(&self, name: &Name, path: &Path) -> Option<bool> {
        let machine = self.ctx.ledger.machine.as_ref();
        let find_out = || -> Result<bool> {
            let now = self.ctx.ledger.snapshot()?;
            let Some(alias) = now.alias(name)? else { return Ok(now.clash(name)?.is_some()) };
            let meta = machine.lstat(path).map_err(|e| Error::io("look at", path, e))?;
            if alias.size_bytes != meta.size_bytes {
                return Ok(true);
            }
            let (digest, _) = hash(machine, path, &|_| !self.observer.cancelled())?;
            Ok(digest != alias.digest)
        };
        find_out().ok()
    }

    /// Entries with what was found of their files. One that has a file of which nothing was found is told and left out.
    fn with_found(&mut self, batch: Vec<Item>, found: Vec<Found>) -> Vec<Item> {
        let mut of_item: BTreeMap<usize, Vec<Found>> = BTreeMap::new();
        found.into_iter().for_each(|found| of_item.entry(found.job.item).or_default().push(found));
        let now_ns = self.ctx.ledger.machine.now_ns();
        let mut ready = Vec::new();
        for (index, mut item) in batch.into_iter().enumerate() {
            match self.learn(&mut item, of_item.remove(&index).unwrap_or_default(), now_ns) {
                Ok(()) => ready.push(item),
                // Whoever stopped it knows.
                Err(_) if self.report.interrupted || self.observer.cancelled() => self.report.interrupted = true,
                Err(Trouble(why)) => self.unread(item.line, why),
            }
        }
        ready
    }

    fn learn(&mut self, item: &mut Item, found: Vec<Found>, now_ns: u64) -> std::result::Result<(), Trouble> {
        if found.is_empty() {
            return Ok(());
        }
        let entry = &mut item.listed.entry;
        let mut seen = (0, 0);
        for Found { job, outcome } in found {
            let (digest, size_bytes, name) =
                outcome.map_err(|e| Trouble(format!("{}: {}", job.path.display(), said(e))))?;
            let variant = &mut entry.variants[job.variant];
            variant.expected = variant.expected.or(variant.digest.filter(|said| *said != digest));
            variant.digest = Some(digest);
            variant.size_bytes = Some(size_bytes);
            if let Some(name) = name {
                variant.uri = blob_uri(&digest);
                variant.alias = Some(name);
            }
            seen = (seen.0 + 1, seen.1 + size_bytes);
        }
        register::judge(&mut entry.card, &entry.variants, &[], BY.to_owned(), now_ns);
        entry.check().map_err(|e| Trouble(e.to_string()))?;
        self.report.files += seen.0;
        self.report.bytes += seen.1;
        self.observer.progress(0, seen.1);
        let wrong =
            entry.variants.iter().find(|v| v.expected.is_some() && v.digest.is_some() && v.expected != v.digest);
        let told = entry.variants.iter().all(|variant| variant.expected.is_some());
        *match (wrong, told) {
            (Some(_), _) => &mut self.report.mismatched,
            (None, true) => &mut self.report.verified,
            (None, false) => &mut self.report.hashed,
        } += 1;
        if let Some(Variant { expected: Some(expected), digest: Some(digest), .. }) = wrong {
            let reason = format!("{}: its digest is {digest}, and {expected} was expected", entry.card.key);
            self.observer.event(&Event::BadLine { line: item.line, kind: "mismatch", reason });
        }
        Ok(())
    }
}

/// What was found of one file.
struct Found {
    job: Job,
    outcome: Result<(Digest, u64, Option<Name>)>,
}

impl Found {
    fn new(job: Job, outcome: Result<(Digest, u64, Option<Name>)>) -> Self {
        Found { job, outcome }
    }
}

/// What a file is called below the name of its entry. A document without a URL, and a model, has its own name.
fn file_name(item: &Item, job: &Job) -> Vec<u8> {
    let entry = &item.listed.entry;
    let variant = &entry.variants[job.variant].name;
    let has_url = entry.card.key.source_url().is_some_and(|url| !url.is_empty());
    let base = job.path.file_name().map(|name| name.as_encoded_bytes().to_vec()).unwrap_or_default();
    match variant.as_str() {
        "" if has_url => Vec::new(),
        "" => base,
        name if entry.variants.len() > 1 && Name::new(name).is_ok() => name.as_bytes().to_vec(),
        _ => base,
    }
}

/// Every regular file below a directory, by its path from there, in order. Symbolic links are left out.
fn tree(machine: &dyn Machine, directory: &Path) -> std::result::Result<Vec<(String, PathBuf)>, String> {
    let mut files = Vec::new();
    let mut pending = vec![(String::new(), directory.to_owned(), 0)];
    while let Some((name, path, depth)) = pending.pop() {
        let mut listed = machine.list(&path).map_err(|e| said(Error::io("list", &path, e)))?;
        listed.sort_by(|a, b| b.name.cmp(&a.name));
        for entry in listed {
            let own = entry.name.to_str().ok_or_else(|| format!("{:?} is no text", entry.name))?;
            let below = if name.is_empty() { own.to_owned() } else { format!("{name}/{own}") };
            match entry.kind {
                FileKind::Directory if depth < NAME_DEPTH => {
                    pending.push((below, path.join(&entry.name), depth + 1));
                }
                FileKind::File if files.len() < ENTRY_VARIANTS => files.push((below, path.join(&entry.name))),
                FileKind::File | FileKind::Directory => {
                    return Err(format!("{} has too many files for one entry", directory.display()));
                }
                FileKind::Symlink | FileKind::Special => {}
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Hears what became of each file that is taken in, and hands on the rest.
struct Heard<'a> {
    observer: &'a dyn Observer,
    added: Mutex<BTreeMap<Name, (Digest, u64)>>,
    failed: Mutex<BTreeMap<PathBuf, String>>,
}

fn lock<T>(mutex: Mutex<T>) -> T {
    mutex.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Observer for Heard<'_> {
    fn event(&self, event: &Event) {
        match event {
            Event::Added { name, digest, size_bytes, .. } => {
                let mut added = self.added.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                added.insert(name.clone(), (*digest, *size_bytes));
            }
            Event::Failed { path, reason } | Event::Skipped { path, reason } => {
                let mut failed = self.failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                failed.insert(path.clone(), reason.clone());
            }
            other => self.observer.event(other),
        }
    }

    fn expect(&self, _: u64, bytes: u64) {
        self.observer.expect(0, bytes);
    }

    fn cancelled(&self) -> bool {
        self.observer.cancelled()
    }
}
