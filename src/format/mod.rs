//! stub

pub mod current;
mod fields;
pub mod filter;
pub mod page;
pub mod run;
