//! `tracing` with the least that a subscriber can do to keep an event: a timestamp and the fields' values into a ring.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::Player;

const RING: usize = 1 << 17;
static WORDS: [AtomicU64; RING] = [const { AtomicU64::new(0) }; RING];
static HEAD: AtomicUsize = AtomicUsize::new(0);

struct Minimal;

/// Appends without a bus lock: one thread writes.
fn put(word: u64) {
    let head = HEAD.load(Ordering::Relaxed);
    WORDS[head % RING].store(word, Ordering::Relaxed);
    HEAD.store(head + 1, Ordering::Relaxed);
}

fn now() -> u64 {
    // SAFETY: rdtsc has no precondition.
    unsafe { core::arch::x86_64::_rdtsc() }
}

struct Values;

impl Visit for Values {
    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
    fn record_u64(&mut self, _: &Field, value: u64) {
        put(value);
    }
}

impl Subscriber for Minimal {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= tracing::Level::INFO
    }
    fn max_level_hint(&self) -> Option<tracing::level_filters::LevelFilter> {
        Some(tracing::level_filters::LevelFilter::INFO)
    }
    fn new_span(&self, span: &Attributes<'_>) -> Id {
        put(now());
        put(std::ptr::from_ref(span.metadata()) as u64);
        span.record(&mut Values);
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        put(now());
        put(std::ptr::from_ref(event.metadata()) as u64);
        event.record(&mut Values);
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
    fn try_close(&self, _: Id) -> bool {
        put(now());
        true
    }
}

pub(crate) fn init() {
    tracing::subscriber::set_global_default(Minimal).expect("the first subscriber");
}

pub(crate) const PLAYERS: [Player; 3] = [
    ("tracing event, 2 integers", |calls| {
        (0..calls).for_each(|i| tracing::info!(key = black_box(i), size = black_box(9u64)));
    }),
    ("tracing span (begin and end), 1 integer", |calls| {
        (0..calls).for_each(|i| drop(black_box(tracing::info_span!("peer", key = black_box(i)))));
    }),
    ("tracing event, off", |calls| {
        (0..calls).for_each(|i| tracing::debug!(key = black_box(i), size = black_box(9u64)));
    }),
];
