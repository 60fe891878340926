//! `leak`: one function forgets what it allocates, at a known rate; beside it others give everything back, and a cache keeps what it needs. Scripts
//! look for the functions by name, so their symbols are plain.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::hint::black_box;
use core::sync::atomic::{AtomicU64, Ordering};

use super::{join_all, observer};
use crate::arch;
use crate::console::print_line;
use crate::probes::Class;
use crate::sched::{self, spawn};
use crate::time::Deadline;

pub(super) const DEFAULT_SECONDS: u64 = 8;

const MILLISECOND_NS: u64 = 1_000_000;
/// What is lost each time, and how often: 3.2 MB a second.
const LOST_BYTES: usize = 64 << 10;
const LOST_EVERY_NS: u64 = 20 * MILLISECOND_NS;
/// What the cache has: bounded, however long this runs.
const CACHE_BLOCKS: usize = 48;
const CACHE_BLOCK_BYTES: usize = 32 << 10;
/// Of the requests: how many live at a time, and the largest.
const REQUESTS: usize = 64;
const REQUEST_BYTES: u64 = 12_000;
const REQUESTS_AT_ONCE: u32 = 20;

static LOST_BLOCKS: AtomicU64 = AtomicU64::new(0);

pub(super) fn run(vcpus: u32, end: impl FnOnce() -> Deadline) {
    observer::wait_for(Class::Heap);
    let end = end();
    let begin = arch::now();
    let threads = [
        spawn(0, String::from("leaker"), move || {
            while !end.has_passed() {
                leak_forget();
                sched::sleep(LOST_EVERY_NS);
            }
        }),
        spawn(vcpus - 1, String::from("server"), move || leak_serve(end)),
        spawn(vcpus - 1, String::from("cache"), move || leak_cache(end)),
    ];
    join_all(threads.into_iter().collect());
    let blocks = LOST_BLOCKS.load(Ordering::Relaxed);
    let bytes = blocks * LOST_BYTES as u64;
    print_line!("leak: function=leak_forget blocks={blocks} bytes={bytes} tsc={}", arch::now() - begin);
}

#[unsafe(no_mangle)]
#[inline(never)]
fn leak_forget() {
    let page: Box<[u8]> = vec![1; LOST_BYTES].into_boxed_slice();
    black_box(Box::leak(page));
    LOST_BLOCKS.fetch_add(1, Ordering::Relaxed);
}

/// Requests come and go.
#[unsafe(no_mangle)]
#[inline(never)]
fn leak_serve(end: Deadline) {
    let mut live: VecDeque<Vec<u8>> = VecDeque::new();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    while !end.has_passed() {
        for _ in 0..REQUESTS_AT_ONCE {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            live.push_back(black_box(vec![0; (random % REQUEST_BYTES) as usize + 16]));
            if live.len() > REQUESTS {
                live.pop_front();
            }
        }
        sched::sleep(MILLISECOND_NS);
    }
}

/// A cache fills once, and then replaces.
#[unsafe(no_mangle)]
#[inline(never)]
fn leak_cache(end: Deadline) {
    let mut cache: Vec<Vec<u8>> = Vec::new();
    let mut oldest = 0;
    while !end.has_passed() {
        let block = black_box(vec![0; CACHE_BLOCK_BYTES]);
        if cache.len() < CACHE_BLOCKS {
            cache.push(block);
        } else {
            cache[oldest] = block;
            oldest = (oldest + 1) % CACHE_BLOCKS;
        }
        sched::sleep(5 * MILLISECOND_NS);
    }
}
