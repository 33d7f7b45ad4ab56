//! `totals`: what was counted in a store by all processes, at the price of a few bytes that nobody syncs.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::format::layout::Layout;
use crate::format::totals::{self, Totals};
use crate::machine::{File, FileKind, Lock, Machine, Open};
use crate::vocabulary::limits::TOTALS_SLOT_BYTES;
use crate::vocabulary::recorder::Counts;

/// How often the file is tried while somebody else writes to it, and how long in between: a fifth of a second in all.
const TRIES: u32 = 200;
const WAIT: Duration = Duration::from_millis(1);

/// The totals of one store.
#[derive(Clone)]
pub struct Kept {
    machine: Arc<dyn Machine>,
    layout: Layout,
}

impl Kept {
    /// Those of the store at `layout`.
    pub fn new(machine: Arc<dyn Machine>, layout: Layout) -> Self {
        Kept { machine, layout }
    }

    /// Adds counters to what is there. `false`: somebody else was always at it, and nothing was added. The file is locked for a
    /// moment, so that nothing that two processes count is lost.
    pub fn add(&self, counts: &Counts) -> io::Result<bool> {
        for _ in 0..TRIES {
            let file = match self.machine.open(&self.layout.totals(), Open::ReadWrite) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    match self.machine.open(&self.layout.totals(), Open::CreateNew { mode: self.mode()? }) {
                        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => continue,
                        made => made?,
                    }
                }
                opened => opened?,
            };
            if !file.try_lock(Lock::Exclusive)? {
                self.machine.pause(WAIT);
                continue;
            }
            let mut now = read(file.as_ref())?.unwrap_or_default();
            if now.since_ns == 0 {
                now.since_ns = self.machine.now_ns();
            }
            now.counts.add_all(counts);
            now.generation = now.generation.saturating_add(1);
            // The other slot holds until this one is whole.
            let at = now.generation % 2 * TOTALS_SLOT_BYTES as u64;
            return file.write_at(&totals::encode(&now), at).map(|()| true);
        }
        Ok(false)
    }

    /// What is there; nothing where nothing was counted, or none of it can be read.
    pub fn read(&self) -> Totals {
        let file = self.machine.open(&self.layout.totals(), Open::Read);
        file.and_then(|file| read(file.as_ref())).ok().flatten().unwrap_or_default()
    }

    /// Who may write to `lock` may write here.
    fn mode(&self) -> io::Result<u32> {
        Ok(self.machine.lstat(&self.layout.lock())?.mode & 0o666)
    }
}

fn read(file: &dyn File) -> io::Result<Option<Totals>> {
    if file.meta()?.kind != FileKind::File {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = vec![0; 2 * TOTALS_SLOT_BYTES];
    let length = file.read_at(&mut bytes, 0)?;
    let slots = bytes[..length].chunks(TOTALS_SLOT_BYTES).filter_map(|slot| totals::decode(slot).ok());
    Ok(slots.max_by_key(|totals| totals.generation))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::machine::simulated::World;
    use crate::vocabulary::recorder::Instrument;

    const AT: &str = "/store";

    fn world() -> World {
        let world = World::new(1);
        world.put_dir(AT);
        world.put("/store/lock", b"");
        world
    }

    fn kept(world: &World) -> Kept {
        Kept::new(world.process("p"), Layout::new(AT))
    }

    fn one(instrument: Instrument, label: &str, by: u64) -> Counts {
        let mut counts = Counts::default();
        counts.add(instrument, label, by);
        counts
    }

    #[test]
    fn what_several_count_adds_up_and_is_bounded() {
        let world = world();
        assert_eq!(kept(&world).read(), Totals::default());
        for _ in 0..5 {
            assert!(kept(&world).add(&one(Instrument::Operations, "add", 2)).unwrap());
            assert!(kept(&world).add(&one(Instrument::Evictions, "", 1)).unwrap());
        }
        let totals = kept(&world).read();
        assert_eq!((totals.generation, totals.counts.get(Instrument::Operations, "add")), (10, 10));
        assert_eq!(totals.counts.get(Instrument::Evictions, ""), 5);
        for number in 0..500 {
            kept(&world).add(&one(Instrument::DedupHits, &format!("{number:0>200}"), 1)).unwrap();
        }
        let totals = kept(&world).read();
        assert_eq!(totals.counts.of(Instrument::DedupHits).map(|(_, value)| value).sum::<u64>(), 500);
        let size = world.process("p").lstat(&Layout::new(AT).totals()).unwrap().size_bytes;
        assert!(size <= 2 * TOTALS_SLOT_BYTES as u64, "{size}");
    }

    #[test]
    fn a_slot_that_is_torn_gives_what_was_before_it() {
        let world = world();
        for _ in 0..3 {
            kept(&world).add(&one(Instrument::Operations, "add", 1)).unwrap();
        }
        let file = world.process("p").open(Path::new("/store/totals"), Open::ReadWrite).unwrap();
        file.write_at(&[0xff; 8], TOTALS_SLOT_BYTES as u64 + 30).unwrap();
        assert_eq!(kept(&world).read().counts.get(Instrument::Operations, "add"), 2);
        file.write_at(&[0xff; 8], 30).unwrap();
        assert_eq!(kept(&world).read(), Totals::default());
        drop(file);
        kept(&world).add(&one(Instrument::Operations, "add", 1)).unwrap();
        assert_eq!(kept(&world).read().counts.get(Instrument::Operations, "add"), 1);
    }

    #[test]
    fn somebody_who_holds_the_file_is_not_waited_for_for_ever() {
        let world = world();
        kept(&world).add(&one(Instrument::Operations, "add", 1)).unwrap();
        let held = world.process("other").open(Path::new("/store/totals"), Open::ReadWrite).unwrap();
        assert!(held.try_lock(Lock::Exclusive).unwrap());
        assert!(!kept(&world).add(&one(Instrument::Operations, "add", 1)).unwrap());
        drop(held);
        assert!(kept(&world).add(&one(Instrument::Operations, "add", 1)).unwrap());
        assert_eq!(kept(&world).read().counts.get(Instrument::Operations, "add"), 2);
    }

    #[test]
    fn what_is_no_file_is_left_alone() {
        let world = world();
        world.put_dir("/store/totals");
        assert!(kept(&world).add(&one(Instrument::Operations, "add", 1)).is_err());
        assert_eq!(kept(&world).read(), Totals::default());
    }
}
