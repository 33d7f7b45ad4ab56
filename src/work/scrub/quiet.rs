//! The threads of a scrub read with the priority of nobody, and record what they found with that which they had: whoever
//! holds `lock` keeps others waiting.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{ThreadId, current};

use crate::work::Context;

pub(super) struct Quiet<'a> {
    ctx: &'a Context<'a>,
    /// What each thread that is quiet had before.
    before: Mutex<HashMap<ThreadId, u32>>,
}

impl<'a> Quiet<'a> {
    pub(super) fn new(ctx: &'a Context<'a>) -> Self {
        Quiet { ctx, before: Mutex::default() }
    }

    /// Does `work` while all threads are quiet.
    pub(super) fn read<R>(&self, work: impl FnOnce() -> R) -> R {
        let machine = &self.ctx.ledger.machine;
        self.ctx.workers.each(|| {
            if let Some(before) = machine.idle_io() {
                self.before().insert(current().id(), before);
            }
        });
        let done = work();
        self.ctx.workers.each(|| {
            if let Some(before) = self.before().remove(&current().id()) {
                machine.restore_io(before);
            }
        });
        done
    }

    /// Does `work` as if this thread were not quiet.
    pub(super) fn aloud<R>(&self, work: impl FnOnce() -> R) -> R {
        let machine = &self.ctx.ledger.machine;
        let before = self.before().get(&current().id()).copied();
        before.into_iter().for_each(|before| machine.restore_io(before));
        let done = work();
        before.into_iter().for_each(|_| _ = machine.idle_io());
        done
    }

    fn before(&self) -> MutexGuard<'_, HashMap<ThreadId, u32>> {
        self.before.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
