//! Several processes in one world.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::*;

/// Adds one to a counter in a file: read, then written, with or without a lock.
fn count_up(machine: &Simulated, locked: bool) {
    let lock = machine.open(at("/lock"), Open::Read).unwrap();
    while locked && !lock.try_lock(Lock::Exclusive).unwrap() {
        machine.pause(Duration::from_millis(1));
    }
    let file = machine.open(at("/counter"), Open::ReadWrite).unwrap();
    let mut byte = [0];
    file.read_at(&mut byte, 0).unwrap();
    file.write_at(&[byte[0] + 1], 0).unwrap();
}

fn counter() -> World {
    let world = World::new(1);
    world.put("/counter", &[0]);
    world.put("/lock", b"");
    world
}

fn race(schedule: Schedule, world: &World, locked: bool) -> Report<()> {
    let one = |name: &str| task(name, move |machine: Arc<Simulated>| count_up(&machine, locked));
    schedule.run(world, vec![one("a"), one("b"), one("c")])
}

#[test]
fn the_same_seed_gives_the_same_log() {
    let log = |seed| {
        let world = counter();
        world.configure(|options| options.log_reads = true);
        let report = race(Schedule::seeded(seed), &world, true);
        (world.log(), report.choices(), report.steps)
    };
    for seed in 0..20 {
        assert_eq!(log(seed), log(seed));
    }
    let different: BTreeSet<String> = (0..20).map(|seed| log(seed).0.to_string()).collect();
    assert!(different.len() > 5);
}

#[test]
fn choices_replay_a_schedule() {
    for seed in 0..10 {
        let (first, second) = (counter(), counter());
        let report = race(Schedule::seeded(seed), &first, true);
        let again = race(Schedule::replay(report.choices()), &second, true);
        assert_eq!(first.log(), second.log());
        assert_eq!(report.decisions, again.decisions);
    }
}

#[test]
fn exploring_finds_a_lost_update_with_one_preemption_and_none_under_a_lock() {
    let lost = |preemptions, locked| {
        let mut lost = 0;
        let explored = explore(preemptions, 100_000, |schedule| {
            let world = counter();
            let report = race(schedule, &world, locked);
            lost += u64::from(world.read("/counter").unwrap() != [3]);
            report
        });
        assert!(explored.complete);
        (lost, explored.schedules)
    };
    assert_eq!(lost(0, false), (0, 6));
    assert!(lost(1, false).0 > 0);
    let (none, schedules) = lost(2, true);
    assert_eq!(none, 0);
    assert!(schedules > 100);
}

#[test]
fn chance_finds_a_lost_update_too() {
    let lost = (0..50).filter(|seed| {
        let world = counter();
        race(Schedule::seeded(*seed), &world, false);
        world.read("/counter").unwrap() != [3]
    });
    assert!(lost.count() > 5);
}

#[test]
fn who_waits_for_ever_is_found() {
    let world = counter();
    let holder = world.process("holder");
    let lock = holder.open(at("/lock"), Open::Read).unwrap();
    assert!(lock.try_lock(Lock::Exclusive).unwrap());
    let report = race(Schedule::seeded(1).limits(100, 100_000), &world, true);
    assert!(report.stuck && report.outcomes.iter().all(Outcome::is_killed));
    let forever = |machine: Arc<Simulated>| -> () {
        loop {
            _ = machine.lstat(at("/lock"));
        }
    };
    let report = Schedule::seeded(1).limits(100, 1_000).run(&world, vec![task("spin", forever)]);
    assert!(report.stuck);
}

#[test]
fn a_process_is_killed_at_a_step_and_its_lock_is_free() {
    for step in 0..12 {
        let world = counter();
        let report = race(Schedule::seeded(step).with(step, Action::Kill(1)), &world, true);
        assert!(!report.stuck);
        let finished = report.outcomes.iter().filter(|outcome| !outcome.is_killed()).count();
        assert!(finished >= 2 && !report.outcomes[0].is_killed());
        assert!(usize::from(world.read("/counter").unwrap()[0]) >= finished);
    }
}

#[test]
fn the_power_is_cut_at_a_step() {
    let world = counter();
    let report = race(Schedule::seeded(3).with(7, Action::PowerCut), &world, true);
    assert!(report.crash.is_some() && report.outcomes.iter().any(Outcome::is_killed));
    assert_eq!(report.steps, 8);
}

#[test]
fn calls_fail_and_clocks_jump_at_steps() {
    let world = counter();
    let before = world.clock_ns();
    let fault = Fault::errno(errno::EIO).kind(CallKind::Write).always();
    let schedule = Schedule::seeded(1).with(0, Action::Clock(-1_000_000_000)).with(1, Action::Fault(fault));
    let work = |machine: Arc<Simulated>| {
        let file = machine.open(at("/counter"), Open::ReadWrite).unwrap();
        errno_of(file.write_at(b"x", 0))
    };
    let report = schedule.run(&world, vec![task("a", work)]);
    assert_eq!(report.outcomes, [Outcome::Finished(errno::EIO)]);
    assert!(world.clock_ns() < before);
}

#[test]
fn only_one_runs_at_a_time_and_pauses_let_others_go() {
    let world = World::new(1);
    let turn = AtomicU32::new(0);
    let wait = |machine: Arc<Simulated>, own: u32| {
        while turn.load(Ordering::SeqCst) != own {
            machine.pause(Duration::from_millis(5));
        }
        turn.fetch_add(1, Ordering::SeqCst);
    };
    let tasks = [2, 0, 1].map(|own| task("waiter", move |machine| wait(machine, own)));
    let report = Schedule::replay(vec![]).run(&world, tasks.into());
    assert!(!report.stuck && report.outcomes.iter().all(|outcome| !outcome.is_killed()));
}

#[test]
fn a_panic_in_a_task_comes_out() {
    let world = counter();
    let broken = task("broken", |_| std::panic::resume_unwind(Box::new(17_u8)));
    let fine = task("fine", |machine: Arc<Simulated>| count_up(&machine, true));
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        Schedule::seeded(1).run(&world, vec![broken, fine]);
    }));
    assert_eq!(result.unwrap_err().downcast_ref::<u8>(), Some(&17));
    assert_eq!(world.read("/counter").unwrap(), [1]);
}
