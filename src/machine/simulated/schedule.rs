//! Whose turn it is: several processes step through one world, a call at a time, in an order that can be repeated.

use std::panic::resume_unwind;
use std::sync::{Arc, MutexGuard};

use super::call::CallKind;
use super::crash::CrashState;
use super::fault::Fault;
use super::process::{Caller, Outcome, Simulated, run};
use super::rng::Rng;
use super::state::State;
use super::world::World;

/// Pauses without any progress after which the processes are taken to wait for each other for ever.
const PATIENCE: u64 = 20_000;
/// Steps after which processes are taken to run for ever.
const MOST_STEPS: u64 = 2_000_000;

/// An order in which processes step, and what happens on the way.
///
/// ```
/// use larder::machine::simulated::{Action, Schedule, World, task};
/// let world = World::new(1);
/// let add = |name: &'static str| task(name, move |machine| machine.note(name));
/// let report = Schedule::seeded(7).with(40, Action::PowerCut).run(&world, vec![add("one"), add("other")]);
/// assert!(!report.stuck && report.outcomes.iter().all(|outcome| !outcome.is_killed()));
/// ```
#[derive(Clone)]
pub struct Schedule {
    mode: Mode,
    actions: Vec<(u64, Action)>,
    patience: u64,
    most_steps: u64,
}

/// Where the choices come from.
#[derive(Clone)]
enum Mode {
    Seeded { rng: Rng, stay_per_mille: u64 },
    Listed(Vec<usize>),
}

/// Something that happens at a step.
#[derive(Clone)]
pub enum Action {
    /// The process of the task with this index is killed.
    Kill(usize),
    /// The power goes.
    PowerCut,
    /// From now on something may go wrong.
    Fault(Fault),
    /// The wall clock is moved by so many nanoseconds.
    Clock(i64),
}

/// A choice that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// How many processes could go on; the one that was running is the first of them if it could.
    pub options: usize,
    /// Which one did.
    pub chosen: usize,
    /// Whether the one that was running could not go on.
    pub forced: bool,
}

/// What a process does.
pub struct Task<'a, T> {
    name: String,
    work: Box<dyn FnOnce(Arc<Simulated>) -> T + Send + 'a>,
}

/// A task for a process of this name.
pub fn task<'a, T>(name: &str, work: impl FnOnce(Arc<Simulated>) -> T + Send + 'a) -> Task<'a, T> {
    Task { name: name.into(), work: Box::new(work) }
}

/// How a schedule went.
pub struct Report<T> {
    /// How each task ended, in their order.
    pub outcomes: Vec<Outcome<T>>,
    /// Every choice that there was; their `chosen` replay the schedule.
    pub decisions: Vec<Decision>,
    /// Calls that were made, counted or not.
    pub steps: u64,
    /// The processes only waited for each other, or ran for ever, and were killed.
    pub stuck: bool,
    /// What the power cut left, if there was one.
    pub crash: Option<CrashState>,
}

impl<T> Report<T> {
    /// The choices, for [`Schedule::replay`].
    pub fn choices(&self) -> Vec<usize> {
        self.decisions.iter().map(|decision| decision.chosen).collect()
    }
}

impl Schedule {
    /// Choices by chance; some seeds change processes often, some seldom.
    pub fn seeded(seed: u64) -> Self {
        let mut rng = Rng::new(seed, 0x5c4e_d01e);
        let stay_per_mille = [0, 300, 700, 900, 970][rng.below(5) as usize];
        Self::with_mode(Mode::Seeded { rng, stay_per_mille })
    }

    /// These choices; after the last of them, whoever runs goes on.
    pub fn replay(choices: Vec<usize>) -> Self {
        Self::with_mode(Mode::Listed(choices))
    }

    fn with_mode(mode: Mode) -> Self {
        Schedule { mode, actions: Vec::new(), patience: PATIENCE, most_steps: MOST_STEPS }
    }

    /// Lets something happen before the call with this number, from 0, among all calls of all tasks.
    pub fn with(mut self, step: u64, action: Action) -> Self {
        self.actions.push((step, action));
        self
    }

    /// How many pauses without progress, and how many steps, are too many.
    pub fn limits(mut self, patience: u64, most_steps: u64) -> Self {
        (self.patience, self.most_steps) = (patience, most_steps);
        self
    }

    /// Runs the tasks, each in a process of its own, until all have ended.
    pub fn run<T: Send>(self, world: &World, tasks: Vec<Task<'_, T>>) -> Report<T> {
        let processes: Vec<_> = tasks.iter().map(|task| world.process(&task.name)).collect();
        let numbers = processes.iter().map(|process| process.number()).collect();
        world.shared.lock().start_turns(Turns::new(self, numbers));
        let results: Vec<_> = std::thread::scope(|scope| {
            let work = |(task, process)| scope.spawn(move || take_part(task, process));
            let threads: Vec<_> = tasks.into_iter().zip(processes).map(work).collect();
            threads.into_iter().map(|thread| thread.join()).collect()
        });
        let mut state = world.shared.lock();
        let (turns, crash) = (state.turns.take(), state.crash.clone());
        drop(state);
        let outcomes = results.into_iter().map(|result| result.unwrap_or_else(|panic| resume_unwind(panic))).collect();
        let (decisions, steps, stuck) = turns.map(|t| (t.decisions, t.steps, t.stuck)).unwrap_or_default();
        Report { outcomes, decisions, steps, stuck, crash }
    }
}

/// Runs `attempt` under every schedule with at most so many preemptions, or under `most` of them, and says how many
/// there were. A preemption takes the turn from a process that could go on; changes at pauses and ends are free.
///
/// Each attempt must start from the same world and return the report of the schedule that it was given.
pub fn explore<T>(preemptions: usize, most: u64, mut attempt: impl FnMut(Schedule) -> Report<T>) -> Explored {
    let mut choices = Vec::new();
    for schedules in 1..=most {
        let report = attempt(Schedule::replay(choices));
        match following(&report.decisions, preemptions) {
            Some(next) => choices = next,
            None => return Explored { schedules, complete: true },
        }
    }
    Explored { schedules: most, complete: false }
}

/// How far an exploration came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explored {
    /// Schedules that were tried.
    pub schedules: u64,
    /// Whether those were all.
    pub complete: bool,
}

/// The choices that come after these, depth first.
fn following(made: &[Decision], preemptions: usize) -> Option<Vec<usize>> {
    let spent = |upto: &[Decision]| upto.iter().filter(|d| !d.forced && d.chosen > 0).count();
    let open = |place: &usize| {
        let decision = made[*place];
        let cost = spent(&made[..*place]) + usize::from(!decision.forced);
        decision.chosen + 1 < decision.options && cost <= preemptions
    };
    let place = (0..made.len()).rev().find(open)?;
    let mut choices: Vec<usize> = made[..=place].iter().map(|decision| decision.chosen).collect();
    choices[place] += 1;
    Some(choices)
}

/// The thread of a task: waits for its first turn, works, and gives its last turn away however it ends.
fn take_part<T>(task: Task<'_, T>, process: Arc<Simulated>) -> Outcome<T> {
    let _leaves = Leaves(&process);
    process.caller().await_turn();
    if process.is_killed() {
        return Outcome::Killed;
    }
    run(&process, || (task.work)(process.clone()))
}

/// Gives the turn away for good when it is dropped.
struct Leaves<'a>(&'a Simulated);

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        let Caller { shared, process } = self.0.caller();
        shared.lock().leave_turns(*process);
        shared.turn.notify_all();
    }
}

/// The turns of a schedule that is running.
pub(super) struct Turns {
    schedule: Schedule,
    slots: Vec<Slot>,
    current: Option<usize>,
    decisions: Vec<Decision>,
    steps: u64,
    idle: u64,
    stuck: bool,
}

/// A process that takes part.
struct Slot {
    process: u32,
    done: bool,
    /// It waits for something that others do.
    paused: bool,
}

impl Turns {
    fn new(schedule: Schedule, processes: Vec<u32>) -> Self {
        let slots = processes.into_iter().map(|process| Slot { process, done: false, paused: false }).collect();
        Turns { schedule, slots, current: None, decisions: Vec::new(), steps: 0, idle: 0, stuck: false }
    }

    /// Something was achieved: whoever pauses may look again whether it was what they wait for.
    pub(super) fn progress(&mut self) {
        self.idle = 0;
        let current = self.current;
        let others = self.slots.iter_mut().enumerate().filter(|(slot, _)| Some(*slot) != current);
        others.for_each(|(_, slot)| slot.paused = false);
    }

    fn slot(&self, process: u32) -> Option<usize> {
        self.slots.iter().position(|slot| slot.process == process && !slot.done)
    }

    /// The processes that may be next, the running one first if it is among them, the others in turn after it. If all
    /// pause, only the one whose turn it is looks again: nothing has changed that could make a difference.
    fn options(&self) -> Vec<usize> {
        let count = self.slots.len();
        let first = self.current.unwrap_or(0);
        let order = (0..count).map(|i| (first + i) % count).filter(|i| !self.slots[*i].done);
        let ready: Vec<usize> = order.clone().filter(|i| !self.slots[*i].paused).collect();
        let next = || order.clone().find(|i| *i != first).or(order.clone().next()).into_iter().collect();
        if ready.is_empty() { next() } else { ready }
    }

    /// Chooses who is next.
    fn choose(&mut self) {
        let goes_on = self.current.is_some_and(|slot| !self.slots[slot].done && !self.slots[slot].paused);
        let options = self.options();
        let chosen = match options.len() {
            0 | 1 => 0,
            count => self.decide(count, goes_on),
        };
        self.current = options.get(chosen).copied();
        self.current.into_iter().for_each(|slot| self.slots[slot].paused = false);
    }

    fn decide(&mut self, options: usize, goes_on: bool) -> usize {
        let place = self.decisions.len();
        let chosen = match &mut self.schedule.mode {
            Mode::Seeded { rng, stay_per_mille } => match goes_on && rng.chance(*stay_per_mille) {
                true => 0,
                false => rng.below(options as u64) as usize,
            },
            Mode::Listed(choices) => choices.get(place).copied().unwrap_or(0).min(options - 1),
        };
        self.decisions.push(Decision { options, chosen, forced: !goes_on });
        chosen
    }

    /// The current process makes a call: what happens before it.
    fn step(&mut self) -> Vec<Action> {
        let now = self.steps;
        self.steps += 1;
        let due = self.schedule.actions.iter().filter(|(step, _)| *step == now);
        due.map(|(_, action)| action.clone()).collect()
    }
}

impl State {
    fn start_turns(&mut self, turns: Turns) {
        self.turns = Some(turns);
        self.pass_turn();
    }

    /// Gives the turn to the next: to a killed process that has not ended yet, before all others.
    fn pass_turn(&mut self) {
        let Some(turns) = &mut self.turns else { return };
        let dying = |slot: &Slot| !slot.done && self.processes[slot.process as usize].killed;
        match turns.slots.iter().position(dying) {
            Some(slot) => turns.current = Some(slot),
            None => turns.choose(),
        }
    }

    /// A process comes to a call, or to a pause.
    fn offer_turn(&mut self, process: u32, pauses: bool) {
        let Some(turns) = &mut self.turns else { return };
        let Some(slot) = turns.slot(process) else { return };
        turns.slots[slot].paused = pauses;
        turns.idle += u64::from(pauses);
        if turns.idle > turns.schedule.patience || turns.steps >= turns.schedule.most_steps {
            turns.stuck = true;
            let all: Vec<u32> = turns.slots.iter().map(|slot| slot.process).collect();
            all.into_iter().for_each(|process| self.kill(process));
        }
        self.pass_turn();
    }

    /// Whether a process may go on: it has the turn, or there are none.
    fn has_turn(&self, process: u32) -> bool {
        let Some(turns) = &self.turns else { return true };
        turns.slot(process).is_none_or(|slot| turns.current == Some(slot))
    }

    /// A process makes a call, and what was to happen before it does.
    fn step(&mut self, process: u32) {
        let Some(turns) = self.turns.as_mut().filter(|turns| turns.slot(process).is_some()) else { return };
        let processes: Vec<u32> = turns.slots.iter().map(|slot| slot.process).collect();
        for action in turns.step() {
            match action {
                Action::Kill(task) => processes.get(task).into_iter().for_each(|process| self.kill(*process)),
                Action::PowerCut => self.cut_power(),
                Action::Fault(fault) => self.faults.push(fault),
                Action::Clock(by_ns) => self.clock_ns = self.clock_ns.saturating_add_signed(by_ns),
            }
        }
    }

    fn leave_turns(&mut self, process: u32) {
        let Some(turns) = &mut self.turns else { return };
        let Some(slot) = turns.slot(process) else { return };
        turns.slots[slot].done = true;
        turns.progress();
        self.pass_turn();
    }
}

impl Caller {
    /// Waits until the process may make its call.
    pub(super) fn take_turn<'a>(&'a self, mut state: MutexGuard<'a, State>, kind: CallKind) -> MutexGuard<'a, State> {
        if state.turns.is_none() {
            return state;
        }
        state.offer_turn(self.process, kind == CallKind::Pause);
        if !state.has_turn(self.process) {
            self.shared.turn.notify_all();
        }
        let mut state = self.wait(state);
        if !state.process(self.process).killed {
            state.step(self.process);
        }
        state
    }

    /// Waits for the first turn.
    fn await_turn(&self) {
        drop(self.wait(self.shared.lock()));
    }

    fn wait<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        while !state.has_turn(self.process) {
            state = self.shared.turn.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        state
    }
}
