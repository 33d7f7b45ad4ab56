//! stub
pub struct Real;
