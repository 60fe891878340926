//! `crash-oom`: a cache without a limit takes all memory, in `cache_insert`; a part of it is not even in the cache any more, because
//! `decode_page` forgets its buffer each time.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::hint::black_box;
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use super::frontend::Request;

const PAGE_BYTES: usize = 64 << 10;
const BUFFER_BYTES: usize = 16 << 10;

#[expect(dead_code, reason = "read by debuggers")]
struct Entry {
    key: u64,
    next: *mut Entry,
    page: Vec<u8>,
}

/// The latest entry; each points to the one before.
static CACHE: AtomicPtr<Entry> = AtomicPtr::new(ptr::null_mut());
static ENTRIES: AtomicU64 = AtomicU64::new(0);

#[inline(never)]
pub(super) fn fill_cache(request: &Request) -> u64 {
    for key in 0_u64.. {
        cache_insert(key, request);
    }
    0
}

#[inline(never)]
fn cache_insert(key: u64, request: &Request) {
    let page = load_page(key);
    let next = CACHE.load(Ordering::Relaxed);
    let entry = Box::new(Entry { key, next, page });
    CACHE.store(Box::into_raw(entry), Ordering::Relaxed);
    ENTRIES.fetch_add(1, Ordering::Relaxed);
    black_box((key, request));
}

/// Not filled, so that the host need not have all of the memory.
#[inline(never)]
fn load_page(key: u64) -> Vec<u8> {
    let mut page = Vec::with_capacity(PAGE_BYTES);
    page.extend_from_slice(&decode_page(key).to_le_bytes());
    black_box(page)
}

/// The leak.
#[inline(never)]
fn decode_page(key: u64) -> u64 {
    let mut buffer = Vec::with_capacity(BUFFER_BYTES / size_of::<u64>());
    buffer.push(key);
    black_box(buffer.leak()).iter().sum()
}
