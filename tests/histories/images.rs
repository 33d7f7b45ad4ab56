//! Looking at what a power cut leaves of a history, once and twice, and counting what was looked at.

use std::collections::HashSet;
use std::fmt;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::str::FromStr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use larder::ledger::Tables;
use larder::machine::simulated::{Fingerprint, Image, World, run};

use super::super::kit;
use super::known::Known;
use super::play::{AFTER, History, Played, does};
use super::verbs::{Verb, Worker};

/// One image of one history: the still of the film and the image of it; for a second crash, those of the second film.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    pub still: usize,
    pub image: usize,
    pub second: Option<(usize, usize)>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.still, self.image)?;
        self.second.map_or(Ok(()), |(still, image)| write!(f, ".{still}.{image}"))
    }
}

impl FromStr for Place {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let numbers: Vec<usize> = text.split('.').map(str::parse).collect::<Result<_, _>>()?;
        let number = |at: usize| numbers.get(at).copied().unwrap_or(0);
        let second = (numbers.len() > 2).then(|| (number(2), number(3)));
        Ok(Place { still: number(0), image: number(1), second })
    }
}

/// What was looked at so far, over all histories.
#[derive(Default)]
pub struct Gallery {
    images: Mutex<HashSet<u128, BuildHasherDefault<Mixed>>>,
    looks: Mutex<HashSet<u128, BuildHasherDefault<Mixed>>>,
    made: AtomicU64,
    after_two: AtomicU64,
}

/// Numbers that are hashes already need no other.
#[derive(Default)]
pub struct Mixed(u64);

impl std::hash::Hasher for Mixed {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _: &[u8]) {}
    fn write_u128(&mut self, number: u128) {
        self.0 = number as u64;
    }
}

impl Gallery {
    /// Whether this image was not looked at yet knowing just this, whether this is a second crash or not.
    fn is_new(&self, print: Fingerprint, known: &Known, second: bool) -> bool {
        self.made.fetch_add(1, Ordering::Relaxed);
        let hasher = BuildHasherDefault::<DefaultHasher>::default();
        let image = u128::from(hasher.hash_one(print)) << 64 | u128::from(hasher.hash_one((print, 1)));
        let look = image ^ u128::from(hasher.hash_one(known)).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        if !self.looks.lock().unwrap().insert(look) {
            return false;
        }
        let is_first = self.images.lock().unwrap().insert(image);
        self.after_two.fetch_add(u64::from(is_first && second), Ordering::Relaxed);
        true
    }

    /// Images that were made, each as often as it was.
    pub fn made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }

    /// Distinct images that were first seen after a second crash.
    pub fn after_two(&self) -> u64 {
        self.after_two.load(Ordering::Relaxed)
    }

    /// Distinct images.
    pub fn distinct(&self) -> u64 {
        self.images.lock().unwrap().len() as u64
    }

    /// Distinct images, each once for everything that was known when the power went.
    pub fn looks(&self) -> u64 {
        self.looks.lock().unwrap().len() as u64
    }
}

/// How much of a history is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Portion {
    /// The crash at one call in so many, from this one on.
    pub every: usize,
    pub from: usize,
    /// Images of each crash by chance, beside the basic ones.
    pub samples: usize,
    /// One image in so many is recovered and worked in, and the power is cut a second time at each call of that.
    pub twice_every: usize,
    /// Images by chance of each of those crashes.
    pub twice_samples: usize,
    /// In one image in so many the store goes on, and a collection leaves nothing over.
    pub goes_on_every: usize,
}

/// Who looks: at everything, or at one image alone.
pub struct Look<'a> {
    pub portion: Portion,
    pub gallery: &'a Gallery,
    pub only: Option<Place>,
    /// What else is to hold, before anything is recovered.
    pub also: &'a (dyn Fn(&World, &Known) + Sync),
}

impl Look<'_> {
    /// Looks at the images of a history. What is wrong is a panic that says how to see it again.
    pub fn at(&self, history: &History) {
        let played = history.play();
        for (still, (crash, known)) in played.stills.iter().enumerate() {
            let left_out = still % self.portion.every != self.portion.from % self.portion.every;
            if left_out || played.repeats(still) || self.only.is_some_and(|only| only.still != still) {
                continue;
            }
            for (number, image) in crash.portion(still as u64, self.portion.samples).enumerate() {
                let place = Place { still, image: number, second: None };
                let passed = self.only.is_some_and(|only| only.image != number);
                if passed || !self.gallery.is_new(image.fingerprint(), known, false) {
                    continue;
                }
                explained(history, &played, place, &image.label, || self.at_image(history, place, &image, known));
            }
        }
        self.without_a_crash(history, &played);
    }

    fn at_image(&self, history: &History, place: Place, image: &Image, known: &Known) {
        let world = image.world(AFTER[1]);
        (self.also)(&world, known);
        let turn = place.still / self.portion.every * 31 + place.image;
        let twice = self.only.map_or(turn.is_multiple_of(self.portion.twice_every), |only| only.second.is_some());
        if twice {
            return self.twice(history, place, image, known);
        }
        let mut worker = recovers(&world, known);
        if turn.is_multiple_of(self.portion.goes_on_every) {
            goes_on(&world, &mut worker, known);
        }
    }

    /// Recovers and works on in an image, films it, and looks at what a second power cut leaves.
    fn twice(&self, history: &History, first: Place, image: &Image, known: &Known) {
        let (world, mut known) = (image.world(AFTER[1]), *known);
        world.film();
        match history.afterwards_trouble.filter(|_| first.image.is_multiple_of(2)) {
            None => {
                let mut worker = recovers(&world, &known);
                history.afterwards.iter().for_each(|verb| worker.act(verb));
            }
            Some(trouble) => {
                trouble.befalls(&world);
                let process = world.process("recovery");
                let calm = trouble.is_kill() && !known.troubled;
                _ = run(&process, || does(&process, 0, known, calm, &history.afterwards));
                world.clear_faults();
                known.troubled = !calm;
            }
        }
        let played = Played::of(&world, known);
        for (still, (crash, known)) in played.stills.iter().enumerate().filter(|(still, _)| !played.repeats(*still)) {
            for (number, image) in crash.portion(still as u64, self.portion.twice_samples).enumerate() {
                let place = Place { second: Some((still, number)), ..first };
                let passed = self.only.is_some_and(|only| only != place);
                if passed || !self.gallery.is_new(image.fingerprint(), known, true) {
                    continue;
                }
                explained(history, &played, place, &image.label, || {
                    let world = image.world(AFTER[2]);
                    (self.also)(&world, known);
                    recovers(&world, known);
                });
            }
        }
    }

    /// The machine as it goes on when nothing cuts its power: its place is behind the last still.
    fn without_a_crash(&self, history: &History, played: &Played) {
        let place = Place { still: played.stills.len(), image: 0, second: None };
        if self.only.is_none_or(|only| only == place) && !kit::is_aborted(&played.world) {
            let known = played.stills.last().expect("there is an end").1;
            explained(history, played, place, "no power cut", || _ = recovers(&played.world, &known));
        }
    }
}

/// Opens the store as the next process does, lets it finish what is unfinished, and holds it against what is known.
fn recovers(world: &World, known: &Known) -> Worker {
    kit::never_lies(world);
    let worker = Worker::start(&world.process("recovery"), 0, *known, !known.troubled).expect("the store opens");
    let ledger = &worker.opened().ledger;
    known.holds(ledger.snapshot().expect("the records can be read").as_ref());
    ledger.hold(|_| Ok(())).expect("the store can be written");
    let snapshot = ledger.snapshot().expect("the records can be read");
    assert_eq!(snapshot.damage, [], "a crash is no damage");
    assert!(!snapshot.is_fenced().expect("the records can be read"), "a crash puts up no fence");
    known.holds(snapshot.as_ref());
    kit::agrees_with(world, worker.opened(), known.troubled);
    kit::never_lies(world);
    worker
}

/// More is added, and after a collection nothing is there that nothing keeps.
fn goes_on(world: &World, worker: &mut Worker, known: &Known) {
    worker.act(&Verb::AddTree);
    worker.act(&Verb::Rename { from: 0, to: 1, replace: true });
    worker.act(&Verb::GiveUp);
    if !known.troubled {
        kit::nothing_is_left_over(world, worker.opened());
    }
    worker.known().holds(worker.opened().ledger.snapshot().expect("the records can be read").as_ref());
}

/// What stands before a place in the words of a failure.
pub const SEE_AGAIN: &str = "to see it again: ";

/// Looks; if that panics, says at what.
fn explained(history: &History, played: &Played, place: Place, label: &str, look: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(look)) {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or(payload.downcast_ref::<&str>().copied()).unwrap_or("it panicked");
        // Of a second crash the place is in the words already, and what led to the first one is still to be told.
        let place = if text.contains(SEE_AGAIN) { String::new() } else { format!("\n{SEE_AGAIN}{place}") };
        panic!("{text}{place}\n{label}; {history:?}; before it:\n{}", played.log);
    }
}
