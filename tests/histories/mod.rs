//! Histories by chance: several processes do things of every kind to one store, calls fail, and the power goes, once or
//! twice. A seed, or the bytes of a fuzzer, say which.
#![allow(dead_code, missing_docs, unreachable_pub, clippy::print_stdout)]

mod choices;
mod images;
mod known;
mod play;
mod verbs;

pub use choices::Choices;
pub use images::{Gallery, Look, Place, Portion, SEE_AGAIN};
pub use play::History;

/// What a fuzzer does: its bytes choose a history and some calls of it, and what a power cut leaves there must hold.
pub fn look_at_bytes(bytes: &[u8]) {
    let mut choices = Choices::of_bytes(bytes);
    let history = History::choose(&mut choices);
    let from = choices.below(64) as usize;
    let portion = Portion { every: 16, from, samples: 3, twice_every: 16, twice_samples: 1, goes_on_every: 4 };
    Look { portion, gallery: &Gallery::default(), only: None, also: &|_, _| () }.at(&history);
}
