//! Whole histories: the bytes choose what several processes do to one store on the simulated machine, what goes wrong
//! meanwhile, and where the power is cut, once and twice. `tests/million_images.rs` makes the same by seeds.
#![no_main]

// Some of it is for the test alone.
#[allow(unused_imports)]
#[path = "../../tests/histories/mod.rs"]
mod histories;
#[path = "../../tests/kit/mod.rs"]
mod kit;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| histories::look_at_bytes(bytes));
