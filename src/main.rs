//! ferryd
fn main() {}
