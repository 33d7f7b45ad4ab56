//! The threads of a scrub read with the priority of nobody, and record what they found with that which they had: whoever
//! holds `lock` keeps others waiting.

use std::cell::Cell;

use crate::work::Context;

thread_local! {
    /// What this thread had before it became quiet; `None` where it is not.
    static BEFORE: Cell<Option<u32>> = const { Cell::new(None) };
}

pub(super) struct Quiet<'a> {
    ctx: &'a Context<'a>,
}

impl<'a> Quiet<'a> {
    pub(super) fn new(ctx: &'a Context<'a>) -> Self {
        Quiet { ctx }
    }

    /// Does `work` while all threads are quiet, this one among them.
    pub(super) fn read<R>(&self, work: impl FnOnce() -> R) -> R {
        let machine = &self.ctx.ledger.machine;
        let begin = || BEFORE.set(BEFORE.get().or_else(|| machine.idle_io()));
        let end = || BEFORE.take().into_iter().for_each(|before| machine.restore_io(before));
        // Threads begin in the class of whoever starts them.
        self.ctx.workers.each(begin);
        begin();
        let done = work();
        self.ctx.workers.each(end);
        end();
        done
    }

    /// Does `work` as if this thread were not quiet.
    pub(super) fn aloud<R>(&self, work: impl FnOnce() -> R) -> R {
        let machine = &self.ctx.ledger.machine;
        let before = BEFORE.get();
        before.into_iter().for_each(|before| machine.restore_io(before));
        let done = work();
        before.into_iter().for_each(|_| _ = machine.idle_io());
        done
    }
}
