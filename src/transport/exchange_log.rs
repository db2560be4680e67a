//! stub
/// stub
pub fn record() {}
