//! Placeholder-free start.
fn main() {}
