//! What a power cut leaves: the certain part of the disk, the uncertain items, and the images that they may make.

use std::collections::BTreeSet;

use super::disk::Disk;
use super::options::Options;
use super::pending::{Class, Fate, Item};
use super::rng::Rng;
use super::state::State;
use super::tree::{Fingerprint, Id, Tree};
use super::world::World;

/// A filesystem at rest, cheap to copy; worlds are made from it.
#[derive(Clone, Debug)]
pub struct Snapshot {
    tree: Tree,
    base: Base,
}

/// What images of one disk have in common.
#[derive(Clone, Debug)]
struct Base {
    options: Options,
    clock_ns: u64,
    next_id: u64,
    next_number: u64,
    bad: std::collections::BTreeMap<Id, Vec<std::ops::Range<u64>>>,
}

impl Base {
    fn of(state: &State) -> Self {
        Base {
            options: state.options.clone(),
            clock_ns: state.clock_ns,
            next_id: state.disk.next_id,
            next_number: state.disk.next_number,
            bad: state.disk.bad.clone(),
        }
    }
}

impl Snapshot {
    /// What callers see now, as if it all were on the disk.
    pub(super) fn of(state: &State) -> Self {
        Snapshot::tidy(state.disk.volatile.clone(), Base::of(state))
    }

    fn tidy(mut tree: Tree, mut base: Base) -> Self {
        tree.tidy(&mut base.next_number);
        Snapshot { tree, base }
    }

    /// A world that has just this on its disk, a second later.
    pub fn world(&self, seed: u64) -> World {
        let Base { options, clock_ns, next_id, next_number, bad } = self.base.clone();
        let mut disk = Disk::holding(self.tree.clone(), clock_ns as i64, options.user, next_id, next_number);
        disk.bad = bad;
        World::from_state(State::new(seed, options, disk, clock_ns + 1_000_000_000))
    }

    /// Tells it from other contents of the disk.
    pub fn fingerprint(&self) -> Fingerprint {
        self.tree.fingerprint()
    }
}

/// What hung in the balance when the power went.
#[derive(Clone, Debug)]
pub struct CrashState {
    durable: Tree,
    pending: Vec<Item>,
    base: Base,
}

/// Which images of a crash are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Images {
    /// All unsynced items kept; all dropped; data or entries alone.
    Basic,
    /// Besides those: each item alone dropped, each alone kept, both also with the other class kept or dropped whole,
    /// every prefix, and each write torn at its sectors.
    Exhaustive,
}

/// One state that the disk may be in after a crash.
#[derive(Clone, Debug)]
pub struct Image {
    /// What became of the unsynced items.
    pub label: String,
    /// Not tidied yet: most images are told from others and never looked at again.
    tree: Tree,
    base: Base,
}

impl Image {
    /// A fresh world with this disk.
    pub fn world(&self, seed: u64) -> World {
        self.snapshot().world(seed)
    }

    /// The disk.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::tidy(self.tree.clone(), self.base.clone())
    }

    /// Tells images apart.
    pub fn fingerprint(&self) -> Fingerprint {
        self.tree.fingerprint()
    }
}

/// A moment of a world that is being filmed: what a power cut would have left before a call.
#[derive(Clone, Debug)]
pub struct Still {
    /// The number of the counted call that came next.
    pub call: u64,
    /// How many calls and notes were in the log.
    pub logged: usize,
    /// What hung in the balance.
    pub crash: CrashState,
}

/// What becomes of each unsynced item, and how that is called.
struct Plan {
    label: String,
    fates: Vec<Fate>,
}

impl CrashState {
    /// The balance of a world now.
    pub(super) fn of(state: &State) -> Self {
        let Disk { pending, .. } = &state.disk;
        // Most of the time nothing hangs in the balance, and then nobody need know what has a name.
        let named = if pending.is_empty() { BTreeSet::new() } else { named(&state.disk) };
        let matters = |item: &&Item| item.inode().is_none_or(|id| named.contains(&id));
        let pending = pending.iter().filter(matters).cloned().collect();
        CrashState { durable: state.disk.durable.clone(), pending, base: Base::of(state) }
    }

    /// The unsynced items in order, for reports.
    pub fn items(&self) -> Vec<String> {
        self.pending.iter().map(Item::to_string).collect()
    }

    /// Images of the disk, one after the other; some may be equal.
    pub fn images(&self, which: Images) -> impl Iterator<Item = Image> + '_ {
        let mut plans = self.basic();
        if which == Images::Exhaustive {
            plans.extend(self.each_alone());
            plans.extend(self.prefixes());
            plans.extend(self.torn());
        }
        plans.into_iter().map(|plan| self.image(plan))
    }

    /// So many images by chance: any item may be kept, dropped or torn.
    pub fn sample(&self, seed: u64, count: usize) -> impl Iterator<Item = Image> + '_ {
        self.chances(seed, count).map(|plan| self.image(plan))
    }

    /// The basic images and so many by chance, those left out that come to the same.
    pub fn portion(&self, seed: u64, count: usize) -> impl Iterator<Item = Image> + '_ {
        let mut seen = BTreeSet::new();
        let mut plans = self.basic();
        plans.extend(self.chances(seed, count));
        plans.retain(|plan| seen.insert(plan.fates.clone()));
        plans.into_iter().map(|plan| self.image(plan))
    }

    /// Whether it leaves just what another one leaves, both of one film.
    pub fn is_same(&self, other: &CrashState) -> bool {
        // Items are only ever added as long as the certain part stays as it is, or else lost together.
        self.durable.is_same(&other.durable) && self.pending.len() == other.pending.len()
    }

    fn chances(&self, seed: u64, count: usize) -> impl Iterator<Item = Plan> + '_ {
        let mut rng = Rng::new(seed, 0x1ad_e5ea);
        (0..count).map(move |number| {
            let keep_per_mille = [100, 500, 900][rng.below(3) as usize];
            let fates = self.pending.iter().map(|item| chance(&mut rng, item, keep_per_mille)).collect();
            Plan { label: format!("sample {number} of seed {seed}"), fates }
        })
    }

    fn image(&self, plan: Plan) -> Image {
        let mut tree = self.durable.clone();
        for (item, fate) in self.pending.iter().zip(plan.fates) {
            item.apply(&mut tree, fate);
        }
        Image { label: plan.label, tree, base: self.base.clone() }
    }

    /// The fate of every item by its place and class.
    fn plan(&self, label: impl Into<String>, fate: impl Fn(usize, bool) -> bool) -> Plan {
        let items = self.pending.iter().enumerate();
        let keep = |(place, item): (usize, &Item)| match fate(place, item.class() == Class::Entries) {
            true => Fate::Kept,
            false => Fate::Dropped,
        };
        Plan { label: label.into(), fates: items.map(keep).collect() }
    }

    fn basic(&self) -> Vec<Plan> {
        vec![
            self.plan("all kept", |_, _| true),
            self.plan("all dropped", |_, _| false),
            self.plan("data kept, entries dropped", |_, entry| !entry),
            self.plan("entries kept, data dropped", |_, entry| entry),
        ]
    }

    fn each_alone(&self) -> Vec<Plan> {
        let one = |(number, item): (usize, &Item)| {
            let own = item.class() == Class::Entries;
            vec![
                self.plan(format!("only dropped: {item}"), |place, _| place != number),
                self.plan(format!("only kept: {item}"), |place, _| place == number),
                self.plan(format!("only kept of its class: {item}"), |place, entry| place == number || entry != own),
                self.plan(format!("dropped with the other class: {item}"), |place, entry| {
                    place != number && entry == own
                }),
            ]
        };
        self.pending.iter().enumerate().flat_map(one).collect()
    }

    fn prefixes(&self) -> Vec<Plan> {
        (1..self.pending.len())
            .map(|kept| self.plan(format!("the first {kept} kept"), |place, _| place < kept))
            .collect()
    }

    fn torn(&self) -> Vec<Plan> {
        let mut plans = Vec::new();
        for (number, item) in self.pending.iter().enumerate() {
            let cuts = item.tears(self.base.options.tears).into_iter();
            let mut fates: Vec<Fate> = cuts.flat_map(|cut| [Fate::Before(cut), Fate::From(cut)]).collect();
            if matches!(item.what, super::pending::What::Write { .. }) {
                fates.push(Fate::SizeOnly);
            }
            plans.extend(fates.into_iter().map(|fate| {
                let mut plan = self.plan(format!("torn, {fate:?}: {item}"), |_, _| true);
                plan.fates[number] = fate;
                plan
            }));
        }
        plans
    }
}

/// One item's fate by chance.
fn chance(rng: &mut Rng, item: &Item, keep_per_mille: u64) -> Fate {
    let tears = item.tears(usize::MAX);
    if !tears.is_empty() && rng.chance(150) {
        let cut = tears[rng.below(tears.len() as u64) as usize];
        return if rng.chance(500) { Fate::Before(cut) } else { Fate::From(cut) };
    }
    if rng.chance(keep_per_mille) { Fate::Kept } else { Fate::Dropped }
}

/// Inodes that have a name on the disk or may get one: the others are gone in every image.
fn named(disk: &Disk) -> BTreeSet<Id> {
    let pending = disk.pending.iter().flat_map(Item::changes).filter_map(|change| change.target);
    disk.durable.named().into_iter().chain(pending).collect()
}
