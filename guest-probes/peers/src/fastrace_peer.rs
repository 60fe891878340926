//! `fastrace`, whose spans and events are collected below a root span; reports go nowhere.

use std::hint::black_box;

use fastrace::collector::{Config, Reporter, SpanRecord};
use fastrace::prelude::*;

use crate::Player;

struct Nowhere;

impl Reporter for Nowhere {
    fn report(&mut self, _: Vec<SpanRecord>) {}
}

/// Spans below one root: it bounds what one trace holds.
const PER_ROOT: u64 = 1000;

pub(crate) fn init() {
    fastrace::set_reporter(Nowhere, Config::default());
}

fn below_roots(calls: u64, each: impl Fn(u64)) {
    for _ in 0..calls / PER_ROOT {
        let root = Span::root("root", SpanContext::random());
        let _guard = root.set_local_parent();
        (0..PER_ROOT).for_each(&each);
    }
}

pub(crate) const PLAYERS: [Player; 1] = [("fastrace span (begin and end)", |calls| {
    below_roots(calls, |i| {
        let _span = black_box(LocalSpan::enter_with_local_parent("peer"));
        black_box(i);
    });
})];
