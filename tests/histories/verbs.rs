//! What a process of a history does, and what it writes down of it.

use std::cell::{Cell, RefCell};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use larder::machine::simulated::Simulated;
use larder::machine::{Machine, Open};
use larder::vocabulary::limits::PART_BYTES;
use larder::work::copies::{CopiesOptions, copies};
use larder::work::ingest::{AddOptions, AliasKind, Checkpoints, Source, TakeIn, add};
use larder::work::lease::{Lease, Leased, lease};
use larder::work::mend::mend;
use larder::work::names::{Target, link, pin, plan_remove, remove, rename, unlink, unpin};
use larder::work::repair::{RepairOptions, RepairScope, repair};
use larder::work::resumable::{give_up, waiting};
use larder::{Error, ErrorKind, Event, Name, Observer, Prefix, Result, Silent};

use super::super::kit::Opened;
use super::choices::Choices;
use super::known::{CONTENTS, DIGESTS, Known, LARGE, OWN, PARSED};

/// One thing to do; numbers are those of names and contents.
#[derive(Clone, Copy, Debug)]
pub enum Verb {
    /// A file of one's own making, synced or not, is taken in.
    Add {
        name: usize,
        content: usize,
        take_in: TakeIn,
        counted: bool,
        synced: bool,
    },
    /// A directory with two files.
    AddTree,
    /// A file that an ingest can go on with, broken off after so many bytes.
    AddLarge {
        name: usize,
        stop_after: u64,
    },
    GiveUp,
    Link {
        from: usize,
        to: usize,
        replace: bool,
    },
    LinkDigest {
        content: usize,
        to: usize,
    },
    Rename {
        from: usize,
        to: usize,
        replace: bool,
    },
    Unlink(usize),
    /// With everything below it.
    Remove(&'static str),
    Pin(usize),
    Unpin(usize),
    /// Held until the process ends.
    Lease(usize),
    Collect {
        orphans: bool,
    },
    Compact,
    Fold,
    Rebuild,
    Copies {
        name: usize,
        count: u32,
    },
    Repair {
        all: bool,
    },
    CheckRepair,
    Reopen,
}

impl Verb {
    /// One by chance, for the process with this number: names of its own mostly.
    pub fn choose(choices: &mut Choices, process: usize) -> Self {
        let own = |choices: &mut Choices| process * 4 + choices.below(4) as usize;
        let any = |choices: &mut Choices| match choices.below(5) {
            0 => OWN + choices.below(2) as usize,
            _ => process * 4 + choices.below(4) as usize,
        };
        let content = |choices: &mut Choices| choices.below(LARGE as u64) as usize;
        // Nobody else pins these.
        let pinned = |choices: &mut Choices| process + 3 * choices.below(2) as usize;
        match choices.below(32) {
            0..7 => Verb::Add {
                name: any(choices),
                content: content(choices),
                take_in: choices.of(&[TakeIn::Copy, TakeIn::Copy, TakeIn::Link, TakeIn::Move]),
                counted: choices.below(6) == 0,
                synced: choices.below(2) == 0,
            },
            7 => Verb::AddTree,
            8 => Verb::AddLarge { name: own(choices), stop_after: choices.of(&[0, 0, 70_000, 140_000]) },
            9 => Verb::GiveUp,
            10..13 => Verb::Link { from: own(choices), to: any(choices), replace: choices.below(2) == 0 },
            13 => Verb::LinkDigest { content: content(choices), to: any(choices) },
            14..17 => Verb::Rename { from: own(choices), to: own(choices), replace: choices.below(2) == 0 },
            17 => Verb::Unlink(own(choices)),
            18 | 19 => {
                Verb::Remove(
                    choices.of(&[["p0", "p0/a", "p0/d"], ["p1", "p1/a", "p1/d"], ["p2", "p2/a", "p2/d"]][process]),
                )
            }
            20 => Verb::Pin(pinned(choices)),
            21 => Verb::Unpin(pinned(choices)),
            22 => Verb::Lease(any(choices)),
            23..26 => Verb::Collect { orphans: choices.below(2) == 0 },
            26 => Verb::Compact,
            27 => Verb::Fold,
            28 => Verb::Rebuild,
            29 => Verb::Copies { name: own(choices), count: 1 + choices.below(3) as u32 },
            30 => match choices.below(4) {
                0 => Verb::CheckRepair,
                1 => Verb::Repair { all: true },
                2 => Verb::Repair { all: false },
                _ => Verb::Reopen,
            },
            _ => Verb::Collect { orphans: true },
        }
    }
}

impl Verb {
    /// Its own name, without numbers.
    pub fn word(&self) -> String {
        let text = format!("{self:?}");
        text.split([' ', '(']).next().unwrap_or_default().to_owned()
    }
}

/// A process at its work.
pub struct Worker {
    opened: Opened,
    number: usize,
    /// What its names mean, as far as it was told; it alone gives them meanings.
    known: RefCell<Known>,
    /// That, before what is being done now.
    before: Cell<Known>,
    leases: Vec<Lease>,
    sources: u32,
    /// Nothing goes wrong: only refusals may be answers.
    calm: bool,
}

impl Worker {
    pub fn start(process: &Arc<Simulated>, number: usize, known: Known, calm: bool) -> Result<Self> {
        let opened = Opened::open(process)?;
        let (known, before) = (RefCell::new(known), Cell::new(known));
        Ok(Worker { opened, number, known, before, leases: Vec::new(), sources: 0, calm })
    }

    /// The store as this process has it open.
    pub fn opened(&self) -> &Opened {
        &self.opened
    }

    /// What holds, by what this process was told.
    pub fn known(&self) -> Known {
        *self.known.borrow()
    }

    /// Does one thing. What goes wrong is noted, and the next thing is done as if nothing had been.
    pub fn act(&mut self, verb: &Verb) {
        let Err(error) = self.attempt(verb) else {
            return self.opened.process.note(&format!("done {}", verb.word()));
        };
        use ErrorKind::*;
        let refused = matches!(error.kind(), NotFound | Taken | Refused | Busy | Interrupted | Invalid);
        assert!(refused || !self.calm, "{verb:?}: {error}");
        self.opened.process.note(&format!("{verb:?}: {error}"));
    }

    fn attempt(&mut self, verb: &Verb) -> Result<()> {
        let opened = &self.opened;
        let (ctx, ledger) = (opened.ctx(), &opened.ledger);
        let ttl = |now: bool| if now { Duration::ZERO } else { Duration::from_secs(7 * 86_400) };
        match *verb {
            Verb::Add { name, content, take_in, counted, synced } => {
                let path = self.source(content, synced)?;
                let alias = counted.then_some(AliasKind::Counted);
                self.add(&path, &[(name, content)], AddOptions { take_in, alias, ..named(name) }, 0)
            }
            Verb::AddTree => {
                let (first, path) = (self.number * 4, format!("/p{}", self.number));
                let options = AddOptions { replace: true, ..AddOptions::default() };
                self.add(&path, &[(first, 1), (first + 2, 3)], options, 0)
            }
            Verb::AddLarge { name, stop_after } => {
                let part = PART_BYTES as u64;
                let checkpoints = Checkpoints { from_bytes: part, every_bytes: part };
                self.add("/large", &[(name, LARGE)], AddOptions { checkpoints, ..named(name) }, stop_after)
            }
            Verb::GiveUp => give_up(&ctx, &waiting(&ctx)?.waiting).map(drop),
            Verb::Link { from, to, replace } => {
                let content = self.means(from)?;
                self.naming(&[(to, Some(content))], || {
                    link(&ctx, &Target::Name(PARSED[from].clone()), &PARSED[to], replace, None).map(drop)
                })
            }
            Verb::LinkDigest { content, to } => self.naming(&[(to, Some(content))], || {
                link(&ctx, &Target::Digest(DIGESTS[content]), &PARSED[to], false, None).map(drop)
            }),
            Verb::Rename { from, to, replace } => {
                let content = self.means(from)?;
                // A name that is renamed to itself means nothing at no time.
                let meanings = [(from, None), (to, Some(content))];
                self.naming(&meanings[usize::from(from == to)..], || rename(&ctx, &PARSED[from], &PARSED[to], replace))
            }
            Verb::Unlink(name) => self.naming(&[(name, None)], || unlink(&ctx, &PARSED[name])),
            Verb::Remove(prefix) => {
                let below = Prefix::Below(Name::new(prefix)?);
                let gone: Vec<_> = (0..OWN).filter(|name| below.contains(&PARSED[*name])).map(|n| (n, None)).collect();
                self.naming(&gone, || {
                    let plan = plan_remove(&ctx, &[below])?;
                    remove(&ctx, &plan, &Silent).map(drop)
                })
            }
            Verb::Pin(content) => {
                self.pinning(content, true, || pin(&ctx, &Target::Digest(DIGESTS[content]), "kept").map(drop))
            }
            Verb::Unpin(content) => {
                self.pinning(content, false, || unpin(&ctx, &Target::Digest(DIGESTS[content])).map(drop))
            }
            Verb::Lease(name) => {
                let leased = lease(&ctx, &[Leased::Names(Prefix::Below(PARSED[name].clone()))])?;
                self.leases.push(leased);
                Ok(())
            }
            Verb::Collect { orphans } => opened.collect_with(Duration::ZERO, ttl(orphans)).map(drop),
            Verb::Compact => ledger.compact().map(drop),
            Verb::Fold => ledger.fold(true),
            Verb::Rebuild => ledger.rebuild().map(drop),
            Verb::Copies { name, count } => {
                let options = CopiesOptions { copies: count, dry_run: false };
                copies(&ctx, &[Target::Name(PARSED[name].clone())], &[], &options, &Silent).map(drop)
            }
            Verb::Repair { all } => {
                let scope = if all { RepairScope::All } else { RepairScope::Known };
                repair(&ctx, &scope, &RepairOptions::default(), &Silent).map(drop)
            }
            // It may pin what it takes back in.
            Verb::CheckRepair => {
                self.note("mends", true);
                mend(&ctx, &Silent).map(drop)
            }
            Verb::Reopen => {
                self.opened = Opened::open(&Arc::clone(&self.opened.process))?;
                Ok(())
            }
        }
    }

    /// What a name means for certain.
    fn means(&self, name: usize) -> Result<usize> {
        let unknown = || Error::new(ErrorKind::NotFound, "take a name of one's own", "it may mean nothing");
        self.known.borrow().meaning(name).flatten().ok_or_else(unknown)
    }

    /// A new file outside the store, which this process has written.
    fn source(&mut self, content: usize, synced: bool) -> Result<String> {
        self.sources += 1;
        let process = &self.opened.process;
        let path = format!("/in/{}-{}", process.number(), self.sources);
        let failed = |e| Error::system("make a source", e);
        let file = process.open(path.as_ref(), Open::CreateNew { mode: 0o644 }).map_err(failed)?;
        file.write_at(&CONTENTS[content], 0).map_err(failed)?;
        if synced {
            file.sync().map_err(failed)?;
        }
        Ok(path)
    }

    /// Adds; what the observer is told is acknowledged.
    fn add(&self, path: &str, meanings: &[(usize, usize)], options: AddOptions, stop_after: u64) -> Result<()> {
        let names: Vec<_> = meanings.iter().map(|(name, content)| (*name, Some(*content))).collect();
        let noting = Noting { process: &self.opened.process, told: Mutex::default(), stop_after, read: Mutex::new(0) };
        self.intend(&names);
        let came = add(&self.opened.ctx(), &[Source { path: path.into() }], &options, &noting);
        let told = noting.told.into_inner().expect("nobody panicked");
        told.iter().for_each(|(name, content)| self.note(&format!("is {name} {content}"), false));
        let open: Vec<_> = names.into_iter().filter(|(name, _)| !told.iter().any(|(told, _)| told == name)).collect();
        self.settle(&open, came.map(drop), false)
    }

    /// Does what gives names a meaning, all of them together.
    fn naming(&self, meanings: &[(usize, Option<usize>)], work: impl FnOnce() -> Result<()>) -> Result<()> {
        self.intend(meanings);
        self.settle(meanings, work(), true)
    }

    fn intend(&self, meanings: &[(usize, Option<usize>)]) {
        self.before.set(*self.known.borrow());
        meanings.iter().for_each(|(name, content)| self.note(&format!("may {name} {}", word(*content)), true));
    }

    /// What an answer says of names that were to get a meaning: they have it, or they have kept the one before.
    fn settle(&self, meanings: &[(usize, Option<usize>)], came: Result<()>, all: bool) -> Result<()> {
        let before = self.before.get();
        for (name, content) in meanings.iter().filter(|(name, _)| *name < OWN) {
            match (&came, before.meaning(*name)) {
                (Ok(()), _) if all => self.note(&format!("is {name} {}", word(*content)), true),
                (Err(error), Some(old)) if leaves_all(error) => self.note(&format!("is {name} {}", word(old)), true),
                _ => {}
            }
        }
        came
    }

    fn pinning(&self, content: usize, there: bool, work: impl FnOnce() -> Result<()>) -> Result<()> {
        let before = self.known.borrow().pin(content);
        self.note(&format!("may-pin {content} {}", u8::from(there)), true);
        let came = work();
        let is = |there: bool| self.note(&format!("is-pin {content} {}", u8::from(there)), true);
        match (&came, before) {
            (Ok(()), _) => is(there),
            (Err(error), Some(before)) if leaves_all(error) => is(before),
            _ => {}
        }
        came
    }

    /// Writes down what holds from now on, in the log too unless it is there already.
    fn note(&self, note: &str, log: bool) {
        self.known.borrow_mut().hear(note);
        if log {
            self.opened.process.note(note);
        }
    }
}

fn named(name: usize) -> AddOptions {
    AddOptions { name: Some(PARSED[name].clone()), replace: true, ..AddOptions::default() }
}

fn word(content: Option<usize>) -> String {
    content.map_or("-".into(), |content| content.to_string())
}

/// Whether an answer promises that nothing was done.
fn leaves_all(error: &Error) -> bool {
    use ErrorKind::*;
    matches!(error.kind(), NotFound | Taken | Refused | NotKept | NoSpace)
}

/// Writes down what is acknowledged at the moment it is, and stops a large file half-way.
struct Noting<'a> {
    process: &'a Arc<Simulated>,
    told: Mutex<Vec<(usize, usize)>>,
    stop_after: u64,
    read: Mutex<u64>,
}

impl Observer for Noting<'_> {
    fn event(&self, event: &Event) {
        let Event::Added { name, digest, .. } = event else { return };
        let name = PARSED.iter().position(|known| known == name).expect("a name of a history");
        let content = DIGESTS.iter().position(|known| known == digest).expect("a content of a history");
        if name < OWN {
            self.process.note(&format!("is {name} {content}"));
            self.told.lock().expect("nobody panicked").push((name, content));
        }
    }

    fn progress(&self, files: u64, bytes: u64) {
        if files == 0 {
            *self.read.lock().expect("nobody panicked") += bytes;
        }
    }

    fn cancelled(&self) -> bool {
        self.stop_after > 0 && *self.read.lock().expect("nobody panicked") >= self.stop_after
    }
}
