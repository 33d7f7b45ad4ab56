//! Hashing on a thread of its own what another one reads and writes.

use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::Absorb;

/// Pieces that wait to be hashed, at most: enough to bridge a slow write, and bounded memory.
const WAITING: usize = 3;

/// Takes pieces for a hasher on another thread.
struct Relay {
    full: SyncSender<Vec<u8>>,
    empty: Receiver<Vec<u8>>,
    made: usize,
}

impl Absorb for Relay {
    fn absorb(&mut self, bytes: &[u8]) {
        let mut piece = if self.made <= WAITING { Vec::new() } else { self.empty.recv().unwrap_or_default() };
        self.made += usize::from(self.made <= WAITING);
        piece.clear();
        piece.extend_from_slice(bytes);
        // It is gone only if it has panicked, which whoever waits for it is told.
        let _ = self.full.send(piece);
    }
}

/// Does `work`, which gives pieces to what looks to it like a hasher, and lets `hasher` take them meanwhile.
pub fn beside<H: Absorb + Send, R>(hasher: H, work: impl FnOnce(&mut dyn Absorb) -> R) -> (H, R) {
    let (full, pieces) = sync_channel(WAITING);
    let (back, empty) = channel();
    let hasher = Mutex::new(Some(hasher));
    let hasher = || hasher.lock().unwrap_or_else(PoisonError::into_inner).take().expect("it is taken once");
    thread::scope(|scope| match thread::Builder::new().spawn_scoped(scope, || take(hasher(), pieces, back)) {
        Ok(taking) => {
            let mut relay = Relay { full, empty, made: 0 };
            let done = work(&mut relay);
            drop(relay);
            (taking.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), done)
        }
        // Where no thread can be started, this one does both.
        Err(_) => {
            let mut hasher = hasher();
            let done = work(&mut hasher);
            (hasher, done)
        }
    })
}

fn take<H: Absorb>(mut hasher: H, pieces: Receiver<Vec<u8>>, back: Sender<Vec<u8>>) -> H {
    for piece in pieces {
        hasher.absorb(&piece);
        let _ = back.send(piece);
    }
    hasher
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hashing::{Digests, Hasher};

    #[test]
    fn every_piece_is_taken_in_order() {
        let bytes: Vec<u8> = (0..300_000u32).map(|i| ((i * 11) >> 3) as u8).collect();
        for length in [1, 1000, 70_000, 300_000] {
            let (hasher, count) = beside(Hasher::default(), |relay| {
                let pieces = bytes.chunks(length);
                let count = pieces.len();
                pieces.for_each(|piece| relay.absorb(piece));
                count
            });
            assert_eq!(hasher.finish(), Digests::of(&bytes));
            assert_eq!(count, bytes.len().div_ceil(length));
        }
        let (nothing, ()) = beside(Hasher::default(), |_| ());
        assert_eq!(nothing.finish(), Digests::of(b""));
    }

    struct Broken;

    impl Absorb for Broken {
        fn absorb(&mut self, _: &[u8]) {
            panic!("a bug");
        }
    }

    #[test]
    #[should_panic(expected = "a bug")]
    fn a_hasher_that_breaks_off_is_noticed_and_keeps_nobody_waiting() {
        beside(Broken, |relay| (0..100).for_each(|_| relay.absorb(b"piece")));
    }
}
