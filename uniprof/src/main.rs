//! `uniprof`, the command line.
fn main() {}
