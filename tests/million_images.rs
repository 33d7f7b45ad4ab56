//! At least a million different disks: histories of all verbs by several processes, with failing calls, failed syncs and
//! kills, cut off at every call, and cut off again at every call of the first process after that.
//!
//! Each image that was not seen before is what it says: another set of names, bytes, modes or links than any other. The
//! next process opens the store on it, finishes what is unfinished, and everything is held against what was
//! acknowledged before the power went.
//!
//! `LARDER_HISTORIES=100000` looks at more of them, `LARDER_SEED=n` begins with another history, and `LARDER_LONG=1` looks
//! at ten times as many. A failure says how to see the one image again: `LARDER_SEED=n LARDER_IMAGE=still.image`.
#![allow(missing_docs, clippy::print_stdout)]

mod histories;
mod kit;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use histories::{Choices, Gallery, History, Look, Place, Portion, SEE_AGAIN};
use larder::machine::simulated::Fingerprint;

/// What is looked at of each history: about 200 images.
const PORTION: Portion =
    Portion { every: 1, from: 0, samples: 8, twice_every: 40, twice_samples: 4, goes_on_every: 16 };
/// What the default run comes to, and surely so: the number of its histories is fixed, not its time.
const MILLION: u64 = 1_000_000;
/// Of which so many are needed, and some more.
const HISTORIES: u64 = 6_500;

fn history(seed: u64) -> History {
    History::choose(&mut Choices::of_seed(seed))
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

/// Looks at so many histories from a seed on, on all cores.
fn campaign(first: u64, count: u64, gallery: &Gallery) {
    let (next, over, failed) = (AtomicU64::new(0), AtomicBool::new(false), Mutex::new(None));
    let work = || {
        while !over.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return;
            }
            if number > 0 && number.is_multiple_of(1000) {
                println!("{number} histories, {} distinct images", gallery.distinct());
            }
            let seed = first + number;
            let look = Look { portion: PORTION, gallery, only: None, also: &|_, _| () };
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| look.at(&history(seed)))) {
                over.store(true, Ordering::Relaxed);
                failed.lock().unwrap().get_or_insert(advice(seed, &*payload));
            }
        }
    };
    std::thread::scope(|scope| {
        (0..std::thread::available_parallelism().map_or(1, usize::from)).for_each(|_| _ = scope.spawn(work));
    });
    if let Some(failure) = failed.into_inner().unwrap() {
        panic!("{failure}");
    }
}

/// What failed, with the command that shows it again.
fn advice(seed: u64, payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or(payload.downcast_ref::<&str>().copied()).unwrap_or("it panicked");
    let place = text.lines().find_map(|line| line.strip_prefix(SEE_AGAIN));
    let one = place.map_or(String::new(), |place| format!(" LARDER_IMAGE={place}"));
    format!("{text}\nLARDER_SEED={seed}{one} cargo test --test million_images a_million_distinct_images")
}

#[test]
fn a_million_distinct_images() {
    let seed = number("LARDER_SEED");
    if let Ok(place) = std::env::var("LARDER_IMAGE") {
        let only = Some(place.parse().expect("LARDER_IMAGE is the place of an image"));
        let gallery = Gallery::default();
        let seed = seed.expect("LARDER_SEED says of which history");
        Look { portion: PORTION, gallery: &gallery, only, also: &|_, _| () }.at(&history(seed));
        println!("image {place} of history {seed}: {} looked at, nothing wrong", gallery.looks());
        return;
    }
    let wanted = HISTORIES * if kit::long() { 10 } else { 1 };
    let histories = number("LARDER_HISTORIES").unwrap_or(wanted);
    let (gallery, first, began) = (Gallery::default(), seed.unwrap_or(0), Instant::now());
    println!("LARDER_SEED={first} LARDER_HISTORIES={histories}");
    campaign(first, histories, &gallery);
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "from LARDER_SEED={first}: {histories} histories, {} images, {} distinct, {} of them after a second crash, {} \
         times looked at with other knowledge; {seconds:.0} s, {:.0} distinct images a second",
        gallery.made(),
        gallery.distinct(),
        gallery.after_two(),
        gallery.looks() - gallery.distinct(),
        gallery.distinct() as f64 / seconds,
    );
    assert!(histories < HISTORIES || gallery.distinct() >= MILLION, "too few distinct images");
    assert!(gallery.distinct() > 50 * histories, "hardly any distinct image");
    assert!(gallery.after_two() > gallery.distinct() / 10, "hardly any second crash");
}

/// Few enough for the defects that are planted, each of which starts it.
#[test]
fn some_thousand_images() {
    let gallery = Gallery::default();
    campaign(1 << 32, 80, &gallery);
    assert!(gallery.distinct() > 5_000);
}

/// The same seed gives the same images, and the place of a failure that image alone.
#[test]
fn what_is_wrong_with_one_image_is_seen_again_in_it_alone() {
    let seed = 3;
    let every = |only, also: &(dyn Fn(Fingerprint) + Sync)| {
        let gallery = Gallery::default();
        let look = Look { portion: PORTION, gallery: &gallery, only, also: &|world, _| also(world.fingerprint()) };
        look.at(&history(seed));
        gallery.looks()
    };
    let (first, second) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    let looks = every(None, &|print| first.lock().unwrap().push(print));
    assert_eq!(every(None, &|print| second.lock().unwrap().push(print)), looks);
    let all = first.into_inner().unwrap();
    assert_eq!(second.into_inner().unwrap(), all, "the same history again is another one");
    for which in [all.len() / 7, all.len() / 2, all.len() - 1] {
        let bad = |print: Fingerprint| assert!(print != all[which], "this one is wrong");
        let failure = catch_unwind(AssertUnwindSafe(|| every(None, &bad))).expect_err("one is wrong");
        let advice = advice(seed, &*failure);
        let place = advice.rsplit_once("LARDER_IMAGE=").and_then(|(_, rest)| rest.split(' ').next());
        let place: Place = place.expect("it says where").parse().expect("and can be read");
        let again = catch_unwind(AssertUnwindSafe(|| every(Some(place), &bad))).expect_err("it is wrong again");
        assert!(self::advice(seed, &*again).contains("this one is wrong"));
        assert!(every(Some(place), &|_| ()) <= 2, "that image alone, and the one before a second crash");
    }
}

/// A history can be chosen by bytes, too: whatever they are, its images hold.
#[test]
fn histories_that_bytes_choose_hold() {
    histories::look_at_bytes(&[0]);
    for number in 0..12u8 {
        let mut choices = vec![0; 48];
        blake3::Hasher::new().update(&[number]).finalize_xof().fill(&mut choices);
        histories::look_at_bytes(&choices);
    }
}

/// Histories would show nothing if their verbs were refused.
#[test]
fn every_verb_is_done_in_some_history() {
    let mut done = BTreeSet::new();
    let mut known = BTreeSet::new();
    for seed in 0..300 {
        let history = history(seed);
        known.extend(history.processes.iter().flatten().map(|verb| verb.word()));
        let log = history.play().log;
        done.extend(log.notes().filter_map(|note| note.strip_prefix("done ")).map(str::to_owned));
    }
    assert_eq!(done, known);
    assert_eq!(known.len(), 20, "{known:?}");
}
