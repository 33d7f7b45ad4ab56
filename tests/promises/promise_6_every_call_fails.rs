//! Promise 6, in full: every call of every verb fails with every plausible errno, once and from then on.
//!
//! What is required of each such point:
//!
//! 1. the answer: done, partly done and told, or a clean error that says what was attempted on what and is no misuse;
//! 2. nothing that was acknowledged before or meanwhile is lost, neither in the world as it is nor after a power cut;
//!    no digest lies; no source and no file outside the store is lost or half made;
//! 3. the store opens and can be written, and a check finds nothing but what the next `gc` takes and names that are told;
//! 4. the same verb, given again when the trouble is over, comes to its end, or says that it is done;
//! 5. then a check finds nothing, after one `check --repair` where names are told, and after `gc` nothing is left over.
//!
//! By default like calls fail at few places and with some of the errors each; `LARDER_LONG=1` takes them all, and more
//! images. `LARDER_VERB=gc` takes one situation alone, by its name in `tests/promises/every_call/verbs.rs`.

#[path = "every_call/errors.rs"]
mod errors;
#[path = "every_call/verbs.rs"]
mod verbs;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use crate::kit::{self, Account, Opened, is_aborted, long};
use larder::machine::simulated::{Call, CallKind, Fault, Images, Snapshot, World, errno, run};
use larder::work::check::check;
use larder::work::mend::mend;
use larder::{ErrorKind, Event, FindingCode, Observer, Silent};

use errors::{ERRORS, Plausible};
use verbs::{Came, Verb, verbs};

/// What came of all cases of one verb.
#[derive(Debug, Default)]
struct Tally {
    calls: usize,
    cases: u64,
    images: u64,
    whole: u64,
    partly: u64,
    errors: BTreeMap<String, u64>,
    broken: Vec<String>,
}

/// One case: what fails, and where.
struct Case<'a> {
    verb: &'a Verb,
    plausible: &'a Plausible,
    nth: u64,
    always: bool,
}

impl Case<'_> {
    fn fault(&self) -> Fault {
        let fault = match self.plausible.short {
            Some(written) => Fault::short_write(self.plausible.number, written),
            None => Fault::errno(self.plausible.number),
        };
        let kinds = self.plausible.kinds.iter().filter(|_| self.plausible.short.is_none());
        let fault = kinds.fold(fault, |fault, kind| fault.kind(*kind)).nth(self.nth);
        if self.always { fault.always() } else { fault }
    }

    fn run(&self, start: &Snapshot, tally: &mut Tally) {
        let world = start.world(self.nth);
        world.configure(|options| options.log_reads = true);
        let process = world.process("workload");
        world.fail(self.fault().process(process.number()));
        let came = run(&process, || (self.verb.work)(&process)).finished().expect("nobody killed it");
        drop(process);
        world.clear_faults();
        world.configure(|options| options.log_reads = false);
        tally.cases += 1;
        match &came {
            Ok(Came::Whole) => tally.whole += 1,
            Ok(Came::Partly) => tally.partly += 1,
            Err(error) => {
                *tally.errors.entry(format!("{:?}", error.kind())).or_default() += 1;
                self.is_clean(error);
            }
        }
        let whole = matches!(came, Ok(Came::Whole));
        let mut account = Account::knowing(self.verb.known);
        account.go_on(&world.log());
        account.troubled = true;
        let images = if long() { usize::MAX } else { 1 };
        let cut: Vec<_> = world.balance().images(Images::Basic).skip(1).collect();
        // The first of these drops all that nobody has synced.
        for image in cut.iter().take(images) {
            self.holds(
                &image.world(!self.nth),
                whole && self.verb.durable,
                &account,
                long() || tally.images.is_multiple_of(4) || is_aborted(&world),
            );
            tally.images += 1;
        }
        if !is_aborted(&world) {
            self.holds(&world, whole, &account, true);
        }
    }

    /// It says what was attempted, on what, and why; it is of a kind that a caller can act on.
    fn is_clean(&self, error: &larder::Error) {
        let words = error.to_string();
        assert!(words.starts_with("cannot ") && words.len() > 12, "no clean error: {words}");
        let names_it = words.contains('/') || self.verb.things.iter().any(|thing| words.contains(thing));
        assert!(names_it, "it does not name the thing: {words}");
        let usage = matches!(error.kind(), ErrorKind::Invalid | ErrorKind::Mismatch | ErrorKind::Untrusted);
        assert!(!usage, "a failing call is no misuse: {words} ({:?})", error.kind());
    }

    /// What is so in a world that such a failure has left.
    fn holds(&self, world: &World, whole: bool, account: &Account, again: bool) {
        (self.verb.always)(world);
        if self.verb.recovers || whole {
            if !self.verb.flawed || whole {
                kit::never_lies(world);
            }
            if self.verb.recovers {
                let mut opened = Opened::open(&world.process("recovery")).expect("the store opens after any trouble");
                opened.troubled = true;
                opened.ledger.hold(|_| Ok(())).expect("the store can be written after any trouble");
                account.holds(opened.ledger.snapshot().unwrap().as_ref());
                if !self.verb.flawed {
                    kit::agrees(world, &opened);
                    nothing_worse(&opened);
                }
                if whole {
                    (self.verb.done)(world, &opened);
                }
            }
        }
        if again {
            self.goes_on(world, account);
        }
    }

    /// The same again, and no trouble: it comes to its end, and nothing is left.
    fn goes_on(&self, world: &World, account: &Account) {
        let process = world.process("again");
        match (self.verb.work)(&process) {
            Ok(Came::Whole) => {}
            Ok(Came::Partly) => panic!("the same again is not done whole"),
            Err(error) => assert!((self.verb.already)(&error), "the same again: {error} ({:?})", error.kind()),
        }
        drop(process);
        let mut account = account.clone();
        account.go_on(&world.log());
        let opened = Opened::open(&world.process("after")).unwrap();
        opened.ledger.hold(|_| Ok(())).unwrap();
        account.holds(opened.ledger.snapshot().unwrap().as_ref());
        (self.verb.done)(world, &opened);
        (self.verb.always)(world);
        let findings = codes(&opened);
        if findings.keys().any(|code| mended_by_hand(*code)) {
            let report = mend(&opened.ctx(), &Silent).unwrap();
            assert!(report.failed == 0, "{report:?}: {:?}", codes(&opened));
        }
        kit::nothing_is_left_over(world, &opened);
        assert_eq!(codes(&opened), BTreeMap::new(), "check is not clean after gc");
        (self.verb.done)(world, &opened);
    }
}

/// What names could not be given or taken is told, and mended by `check --repair` (or by the next use of the name).
fn mended_by_hand(code: FindingCode) -> bool {
    use FindingCode::*;
    matches!(code, NameUnapplied | NameDeparted | NameMissing | NameWrongInode | StagingAside)
}

/// What failing calls may leave behind: what the next `gc` removes, and names that are told and mended.
fn nothing_worse(opened: &Opened) {
    use FindingCode::*;
    for code in codes(opened).into_keys() {
        let left_over =
            matches!(code, Orphan | CarrierOrphan | StagingStale | BlobUnlisted | JournalUnfinished | RunUnnamed);
        assert!(left_over || mended_by_hand(code), "a failing call left {code:?}");
    }
}

#[derive(Default)]
struct Found(std::sync::Mutex<BTreeMap<FindingCode, String>>);

impl Observer for Found {
    fn event(&self, event: &Event) {
        if let Event::Found(finding) = event {
            self.0.lock().unwrap().insert(finding.code, format!("{finding:?}"));
        }
    }
}

/// What a check finds.
fn codes(opened: &Opened) -> BTreeMap<FindingCode, String> {
    let found = Found::default();
    check(&opened.ctx(), &found).expect("a check comes to its end");
    found.0.into_inner().unwrap()
}

/// The calls of the verb when nothing fails.
fn calls(verb: &Verb, start: &Snapshot) -> Vec<Call> {
    let world = start.world(0);
    world.configure(|options| options.log_reads = true);
    let process = world.process("counting");
    let came = (verb.work)(&process).unwrap_or_else(|error| panic!("{}: {error}", verb.name));
    assert_eq!(came, Came::Whole, "{} does not even work undisturbed", verb.name);
    let number = process.number();
    let opened = verb.recovers.then(|| Opened::open(&world.process("looking")).unwrap());
    if let Some(opened) = opened {
        (verb.done)(&world, &opened);
    }
    world.log().calls().iter().filter(|call| call.process == number).cloned().collect()
}

/// At which of so many calls it fails. What is done to many like paths (the 256 directories of blobs, say) fails at the
/// first, the second and the last of them, and at some between; each of the few others at every one. Of the errors that
/// a call may give, each like call takes the first, which is EIO, and of the others every third; the next one takes
/// others, so that each error comes to each kind of call.
fn places(plausible: &Plausible, nth_error: usize, calls: &[Call], always: bool) -> Vec<u64> {
    let concerned = || calls.iter().filter(|call| plausible.kinds.contains(&call.kind)).enumerate();
    let mut alike: BTreeMap<(CallKind, String), Vec<u64>> = BTreeMap::new();
    for (at, call) in concerned() {
        alike.entry((call.kind, likeness(&call.path))).or_default().push(at as u64 + 1);
    }
    let mut chosen: BTreeSet<u64> = BTreeSet::new();
    for (group, ((kind, _), places)) in alike.iter().enumerate() {
        if long() {
            chosen.extend(places);
            continue;
        }
        let turn = (group + nth_error + usize::from(always)) % 3;
        if nth_error > 0 && turn != 0 || nth_error == 0 && always && turn == 0 {
            continue;
        }
        let most = if kind.counted() && !always && nth_error == 0 { 3 } else { 1 };
        // Another error takes other ones.
        let shift = plausible.number as usize % places.len();
        let step = places.len().div_ceil(most).max(1);
        chosen.extend(places.iter().skip(shift % step).step_by(step));
        chosen.extend(places.last().filter(|_| !always && kind.counted()));
    }
    chosen.into_iter().collect()
}

/// A path without what is by chance in it.
fn likeness(path: &Path) -> String {
    let is_chance = |part: &str| part.len() == 2 || part.len() >= 16;
    let parts = path.components().map(|part| part.as_os_str().to_string_lossy().into_owned());
    parts.map(|part| if is_chance(&part) { "*".into() } else { part }).collect::<Vec<_>>().join("/")
}

fn every_call_fails(verb: &Verb) -> Tally {
    let start = (verb.start)();
    let undisturbed = calls(verb, &start);
    let mut tally = Tally { calls: undisturbed.len(), ..Tally::default() };
    for (nth_error, plausible) in ERRORS.iter().enumerate() {
        for always in [false, true] {
            if always && !plausible.lasts {
                continue;
            }
            for nth in places(plausible, nth_error, &undisturbed, always) {
                let case = Case { verb, plausible, nth, always };
                TALLIED.set(true);
                let came = catch_unwind(AssertUnwindSafe(|| case.run(&start, &mut tally)));
                TALLIED.set(false);
                if let Err(payload) = came {
                    let text = payload.downcast_ref::<String>().cloned();
                    let text = text.or(payload.downcast_ref::<&str>().map(|t| (*t).to_owned())).unwrap_or_default();
                    let how = if always { "from then on" } else { "once" };
                    let concerned = undisturbed.iter().filter(|call| plausible.kinds.contains(&call.kind));
                    let at = concerned.map(ToString::to_string).nth(nth as usize - 1).unwrap_or_default();
                    let broken = format!("{}: {} {how} at {nth}, {at}: {text}", verb.name, plausible.name);
                    if tally.broken.len() < 4 {
                        println!("BROKEN {}", &broken[..broken.len().min(1500)]);
                    }
                    tally.broken.push(broken);
                }
            }
        }
    }
    let Tally { calls, cases, images, whole, partly, errors, broken } = &tally;
    println!(
        "{:22} {calls:4} calls, {cases:5} cases, {images:5} images; {whole} done, {partly} in part, {errors:?}, {} broken",
        verb.name,
        broken.len()
    );
    tally
}

std::thread_local! {
    /// Whether a panic of this thread is caught and tallied.
    static TALLIED: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

fn quiet_where_it_is_tallied() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !TALLIED.get() {
            before(info);
        }
    }));
}

/// So many threads that both cores are used, and each verb by itself.
fn all_of(verbs: &[Verb]) -> Vec<Tally> {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let tallies = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(verb) = verbs.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
                    let tally = every_call_fails(verb);
                    tallies.lock().unwrap().push(tally);
                }
            });
        }
    });
    tallies.into_inner().unwrap()
}

#[test]
fn every_call_of_every_verb_fails_with_every_plausible_error() {
    quiet_where_it_is_tallied();
    let only = std::env::var("LARDER_VERB").ok();
    let verbs: Vec<Verb> =
        verbs().into_iter().filter(|verb| only.as_ref().is_none_or(|only| only == verb.name)).collect();
    let tallies = all_of(&verbs);
    let sum = |count: &dyn Fn(&Tally) -> u64| tallies.iter().map(count).sum::<u64>();
    let (calls, cases, images) = (sum(&|t| t.calls as u64), sum(&|t| t.cases), sum(&|t| t.images));
    println!("{} verbs, {calls} calls, {} errors, {cases} cases, {images} images", verbs.len(), ERRORS.len());
    let broken: Vec<&String> = tallies.iter().flat_map(|tally| &tally.broken).collect();
    assert!(broken.is_empty(), "{} cases are broken; the first: {}", broken.len(), broken[0]);
    if only.is_none() {
        assert!(verbs.len() >= 43 && calls > 9_000 && cases > 8_000 && images > 8_000, "so few?");
    }
}
