//! The loops around a workload: a crash, a kill or a failing call at each of its calls.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::call::Log;
use super::crash::{Images, Snapshot};
use super::fault::Fault;
use super::process::{Outcome, Simulated, run};
use super::world::World;

/// What an enumeration went through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coverage {
    /// Counted calls of the workload.
    pub calls: u64,
    /// Images of the disk, or worlds, that were checked.
    pub images: u64,
    /// How many of them differ from each other.
    pub distinct: u64,
}

/// A way of going through everything that may happen to a workload.
pub struct Enumeration {
    seed: u64,
    start: Snapshot,
    images: Images,
    samples: usize,
}

impl Enumeration {
    /// Starts each run from what `start` shows now, all of it durable, with exhaustive images.
    pub fn new(seed: u64, start: &World) -> Self {
        Enumeration { seed, start: start.snapshot(), images: Images::Exhaustive, samples: 0 }
    }

    /// Which images are made of each crash.
    pub fn images(mut self, images: Images) -> Self {
        self.images = images;
        self
    }

    /// So many images by chance besides, for each crash.
    pub fn samples(mut self, samples: usize) -> Self {
        self.samples = samples;
        self
    }

    /// How many counted calls the workload makes when nothing happens to it.
    fn count(&self, workload: &impl Fn(&Arc<Simulated>)) -> u64 {
        self.attempt(workload, None).0.calls()
    }

    /// Runs the workload in a fresh world.
    fn attempt<T>(&self, workload: &impl Fn(&Arc<Simulated>) -> T, fault: Option<Fault>) -> (World, Outcome<T>) {
        let world = self.start.world(self.seed);
        fault.into_iter().for_each(|fault| world.fail(fault));
        let process = world.process("workload");
        let outcome = run(&process, || workload(&process));
        (world, outcome)
    }

    /// Cuts the power before each call and after the last, and checks a world for each distinct image that this leaves;
    /// `check` gets the number of the call, the world and the log up to the cut.
    pub fn power_cuts(&self, workload: impl Fn(&Arc<Simulated>), mut check: impl FnMut(u64, &World, &Log)) -> Coverage {
        let calls = self.count(&workload);
        let mut all = BTreeSet::new();
        let mut images = 0;
        for number in 0..=calls {
            let (world, _) = self.attempt(&workload, Some(Fault::power_cut().at_call(number)));
            let (crash, log) = (world.power_cut(), world.log());
            let mut here = BTreeSet::new();
            for image in crash.images(self.images).chain(crash.sample(self.seed ^ number, self.samples)) {
                images += 1;
                if here.insert(image.fingerprint()) {
                    let context = || format!("power cut before call {number}, {}; before it:\n{log}", image.label);
                    explained(context, || check(number, &image.world(!self.seed), &log));
                }
            }
            all.extend(here);
        }
        Coverage { calls, images, distinct: all.len() as u64 }
    }

    /// Kills the process before each call and checks the world that goes on.
    pub fn kills(&self, workload: impl Fn(&Arc<Simulated>), mut check: impl FnMut(u64, &World, &Log)) -> Coverage {
        let calls = self.count(&workload);
        let mut all = BTreeSet::new();
        for number in 0..calls {
            let (world, _) = self.attempt(&workload, Some(Fault::kill().at_call(number)));
            all.insert(world.fingerprint());
            let context = || format!("killed before call {number}");
            explained(context, || check(number, &world, &world.log()));
        }
        Coverage { calls, images: calls, distinct: all.len() as u64 }
    }

    /// Lets each call fail with an error, once or from then on, and checks the world and what the workload returned.
    pub fn failures<T>(
        &self,
        errno: i32,
        always: bool,
        workload: impl Fn(&Arc<Simulated>) -> T,
        mut check: impl FnMut(u64, &World, Outcome<T>),
    ) -> Coverage {
        let calls = self.count(&|process: &Arc<Simulated>| _ = workload(process));
        let mut all = BTreeSet::new();
        for number in 0..calls {
            let fault = Fault::errno(errno).at_call(number);
            let (world, outcome) = self.attempt(&workload, Some(if always { fault.always() } else { fault }));
            world.clear_faults();
            all.insert(world.fingerprint());
            explained(|| format!("errno {errno} at call {number}"), || check(number, &world, outcome));
        }
        Coverage { calls, images: calls, distinct: all.len() as u64 }
    }
}

/// Does a check; if it panics, says where.
fn explained(context: impl FnOnce() -> String, check: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(check)) {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or(payload.downcast_ref::<&str>().copied()).unwrap_or("the check failed");
        panic!("{text}\n{}", context());
    }
}

/// Runs a piece of work in an empty world and again with the power cut before each of its calls, and checks every
/// distinct image of the disk. See [`Enumeration`] to start from something else or to look at more.
pub fn enumerate(seed: u64, workload: impl Fn(&Arc<Simulated>), check: impl FnMut(u64, &World, &Log)) -> Coverage {
    Enumeration::new(seed, &World::new(seed)).power_cuts(workload, check)
}
