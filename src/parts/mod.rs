//! stub

pub mod index;
