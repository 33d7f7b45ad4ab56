//! What README.md promises, each promise under its number, on the simulated machine.
#![allow(missing_docs, clippy::print_stdout)]

#[path = "../kit/mod.rs"]
mod kit;

mod promise_1_acknowledged_is_durable;
mod promise_2_a_digest_never_lies;
mod promise_3_collection_is_safe;
mod promise_3_trash;
mod promise_4_damaged_runs;
mod promise_4_the_index_can_be_lost;
mod promise_5_carriers;
mod promise_5_damage_is_found_and_mended;
mod promise_5_repair;
mod promise_5_scrub;
mod promise_6_every_call_fails;
mod promise_6_trouble_is_an_answer;
mod promise_7_it_stays_in_its_place;
mod promise_7_readers;
