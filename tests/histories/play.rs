//! A history, and the film of it.

use std::sync::{Arc, OnceLock};

use larder::format::settings::Durability;
use larder::machine::simulated::{
    Action, CallKind, CrashState, Fault, Log, Outcome, Schedule, Simulated, Snapshot, World, errno, task,
};

use super::super::kit;
use super::choices::Choices;
use super::known::{CONTENTS, Known};
use super::verbs::{Verb, Worker};

/// The seeds of all worlds: histories differ in what is done, not in the names of sessions or the salts of segments.
const BEFORE: u64 = 1;
const FIRST: u64 = 2;
/// That of a world after so many crashes.
pub const AFTER: [u64; 3] = [FIRST, 3, 4];
/// About how many calls a history makes, counted or not.
const STEPS: u64 = 1500;
/// About how many counted calls the first process after a crash makes.
const RECOVERY_STEPS: u64 = 120;

/// What is done, in what order, and what goes wrong.
#[derive(Clone, Debug)]
pub struct History {
    pub start: usize,
    pub processes: Vec<Vec<Verb>>,
    pub schedule: u64,
    pub troubles: Vec<Trouble>,
    /// What the first process after a crash does when it has recovered.
    pub afterwards: Vec<Verb>,
    /// What goes wrong then.
    pub afterwards_trouble: Option<Trouble>,
}

/// What goes wrong from a step on.
#[derive(Clone, Copy, Debug)]
pub enum Trouble {
    Kill { step: u64, process: usize },
    Fails { step: u64, errno: i32, nth: u64, syncs: bool },
}

impl History {
    pub fn choose(choices: &mut Choices) -> Self {
        let processes = choices.of(&[1, 2, 2, 3]);
        let verbs = |choices: &mut Choices, process| {
            let count = 1 + choices.below(3);
            (0..count).map(|_| Verb::choose(choices, process)).collect()
        };
        let start = choices.below(STARTS as u64) as usize;
        let processes: Vec<Vec<Verb>> = (0..processes).map(|process| verbs(choices, process)).collect();
        let troubles =
            (0..choices.of(&[0, 0, 1, 1, 2])).map(|_| Trouble::choose(choices, processes.len(), STEPS)).collect();
        let schedule = choices.below(1 << 16);
        let afterwards = (0..choices.below(3)).map(|_| Verb::choose(choices, 0)).collect();
        let afterwards_trouble = (choices.below(4) == 0).then(|| Trouble::choose(choices, 1, RECOVERY_STEPS));
        History { start, processes, schedule, troubles, afterwards, afterwards_trouble }
    }

    fn calm(&self) -> bool {
        self.troubles.iter().all(|trouble| trouble.is_kill())
    }

    /// Plays it, and films it.
    pub fn play(&self) -> Played {
        let (start, known) = start(self.start);
        let mut known = *known;
        let world = start.world(FIRST);
        world.film();
        let calm = self.calm();
        let work = |(number, verbs): (usize, &Vec<Verb>)| {
            let verbs = verbs.clone();
            task("worker", move |process: Arc<Simulated>| does(&process, number, known, calm, &verbs))
        };
        let tasks = self.processes.iter().enumerate().map(work).collect();
        let schedule = Schedule::seeded(self.schedule);
        let schedule = self.troubles.iter().fold(schedule, |schedule, trouble| trouble.into_schedule(schedule));
        let report = schedule.run(&world, tasks);
        world.clear_faults();
        assert!(!report.stuck, "they wait for each other for ever");
        let killed = self.troubles.iter().any(|trouble| trouble.is_kill());
        let ended = |outcome: &Outcome<bool>| matches!(outcome, Outcome::Finished(true)) || killed;
        assert!(!calm || report.outcomes.iter().all(ended), "a store did not open");
        known.troubled = !calm;
        Played::of(&world, known)
    }
}

/// Does the work of one process; whether the store was opened.
pub fn does(process: &Arc<Simulated>, number: usize, known: Known, calm: bool, verbs: &[Verb]) -> bool {
    let Ok(mut worker) = Worker::start(process, number, known, calm) else { return false };
    verbs.iter().for_each(|verb| worker.act(verb));
    true
}

impl Trouble {
    fn choose(choices: &mut Choices, processes: usize, steps: u64) -> Self {
        let step = choices.below(steps);
        if choices.below(3) == 0 {
            return Trouble::Kill { step, process: choices.below(processes as u64) as usize };
        }
        use errno::*;
        let errno = choices.of(&[EIO, EIO, ENOSPC, ENOSPC, EDQUOT, EMLINK, EPERM, EMFILE]);
        Trouble::Fails { step, errno, nth: 1 + choices.below(6), syncs: choices.below(2) == 0 }
    }

    fn into_schedule(self, schedule: Schedule) -> Schedule {
        match self {
            Trouble::Kill { step, process } => schedule.with(step, Action::Kill(process)),
            Trouble::Fails { step, nth, .. } => schedule.with(step, Action::Fault(self.fault().nth(nth))),
        }
    }

    /// In a world where one process makes counted calls from 0.
    pub fn befalls(self, world: &World) {
        world.fail(match self {
            Trouble::Fails { nth, syncs: true, .. } => self.fault().nth(nth),
            Trouble::Kill { step, .. } | Trouble::Fails { step, .. } => self.fault().at_call(step),
        });
    }

    fn fault(self) -> Fault {
        match self {
            Trouble::Kill { .. } => Fault::kill(),
            Trouble::Fails { syncs: true, .. } => Fault::errno(errno::EIO).syncs(),
            Trouble::Fails { errno, .. } => Fault::errno(errno),
        }
    }

    pub fn is_kill(self) -> bool {
        matches!(self, Trouble::Kill { .. })
    }
}

/// What a power cut would have left at each call, and what was acknowledged by then.
pub struct Played {
    pub stills: Vec<(CrashState, Known)>,
    pub log: Log,
    /// The world as it is at the end, without any power cut.
    pub world: World,
}

impl Played {
    /// The film of a world, from what was known when it began.
    pub fn of(world: &World, mut known: Known) -> Self {
        let (film, log) = (world.take_film(), world.log());
        let mut heard = 0;
        let mut hear = |upto: usize| {
            let notes = log.calls()[heard..upto].iter().filter(|call| call.kind == CallKind::Note);
            notes.filter_map(|call| call.path.to_str()).for_each(|note| known.hear(note));
            heard = upto;
            known
        };
        let mut stills: Vec<_> = film.into_iter().map(|still| (still.crash, hear(still.logged))).collect();
        stills.push((world.balance(), hear(log.calls().len())));
        Played { stills, log: log.clone(), world: world.clone() }
    }

    /// Whether nothing has happened since the still before.
    pub fn repeats(&self, still: usize) -> bool {
        let Some(before) = still.checked_sub(1).and_then(|before| self.stills.get(before)) else { return false };
        let now = &self.stills[still];
        before.0.is_same(&now.0) && before.1 == now.1
    }
}

/// How many stores a history may begin with.
const STARTS: usize = 4;

/// A store, with or without an index, and what is known of it.
fn start(which: usize) -> &'static (Snapshot, Known) {
    static ALL: [OnceLock<(Snapshot, Known)>; STARTS] = [const { OnceLock::new() }; STARTS];
    ALL[which].get_or_init(|| {
        let durability = if which.is_multiple_of(2) { Durability::Batch } else { Durability::Each };
        let mut sources = vec![("/large".to_owned(), CONTENTS[5].clone()), ("/in/none".to_owned(), Vec::new())];
        for process in 0..3 {
            sources.push((format!("/p{process}/a"), CONTENTS[1].clone()));
            sources.push((format!("/p{process}/d/c"), CONTENTS[3].clone()));
        }
        let sources: Vec<_> = sources.iter().map(|(path, bytes)| (path.as_str(), bytes.as_slice())).collect();
        let world = kit::world(BEFORE, durability, &sources);
        // No history differs from another in its times alone, as long as nobody waits.
        world.configure(|options| (options.tears, options.call_time_ns) = (2, 0));
        let begin: [&[Verb]; 3] = match which {
            0 | 1 => [&[Verb::AddTree, Verb::Pin(3)], &[Verb::AddTree], &[]],
            _ => [&[Verb::AddTree, Verb::Pin(3)], &[Verb::AddTree, Verb::Compact], &[Verb::AddTree, Verb::Fold]],
        };
        for (number, verbs) in begin.iter().enumerate() {
            does(&world.process("before"), number, Known::default(), true, verbs);
        }
        world.settle();
        let mut known = Known::default();
        world.log().notes().for_each(|note| known.hear(note));
        (world.snapshot(), known)
    })
}
