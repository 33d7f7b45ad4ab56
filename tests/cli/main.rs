//! The real program, driven from outside as people and scripts drive it.
#![allow(missing_docs, clippy::print_stdout)]

#[path = "../outside/mod.rs"]
mod outside;

mod add;
mod catalog;
mod catalog_engine;
mod check;
mod config;
mod contract;
mod cookbook;
mod dedup;
mod doctor;
mod evict;
mod finalise;
mod find;
mod gc;
mod ingest;
mod kills;
mod large_files;
mod lease;
mod limits;
mod links_in_the_store;
mod manifest;
mod many_names;
mod metrics;
mod names;
mod otlp;
mod out;
mod processes;
mod repair;
mod scenarios;
mod scrub;
mod secrets;
mod the_scenario;
mod trash;
mod trees;
mod verify;
