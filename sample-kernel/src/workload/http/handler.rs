//! What is done for each request. Scripts look for the three that misbehave by name, so their symbols are plain.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::hint::black_box;
use core::sync::atomic::Ordering;

use super::response::{BYTES, JSON, Response, TEXT};
use super::route::Call;
use super::server::Server;
use super::status::Status;
use super::store::Put;
use crate::sync::Mutex;
use crate::{heap, net, sched};

/// Longest answer to a scan: pairs beyond are left out.
const SCAN_BYTES: usize = 64 << 10;
/// Of the heap: as much as may be lost.
const LEAK_SHARE: u64 = 8;

static LEDGER: Mutex<u64> = Mutex::new(0);

/// Serves one request.
#[inline(never)]
pub(super) fn handle(server: &Server, call: Call, body: &[u8]) -> Response {
    if net::is_short_of_memory() && !matches!(call, Call::Health | Call::Stats) {
        return Response::of(Status::Unavailable);
    }
    let store = server.store();
    match call {
        Call::Get { key } => match store.get(&key) {
            Some(value) => Response::new(Status::Ok, BYTES, value.to_vec()),
            None => Response::of(Status::NotFound),
        },
        Call::Put { key } => Response::of(match store.put(key, body) {
            Put::New => Status::Created,
            Put::Replaced => Status::NoContent,
            Put::NoRoom => Status::InsufficientStorage,
        }),
        Call::Delete { key } => {
            Response::of(if store.delete(&key) { Status::NoContent } else { Status::NotFound })
        }
        Call::Scan { from, count } => Response::new(Status::Ok, TEXT, scan(server, &from, count)),
        Call::Slow { ms } => {
            http_slow(ms);
            Response::of(Status::Ok)
        }
        Call::Lock { us } => {
            http_lock(us);
            Response::of(Status::Ok)
        }
        Call::Leak { bytes } => leak(server, bytes),
        Call::Health => Response::new(Status::Ok, TEXT, b"ok\n".to_vec()),
        Call::Stats => Response::new(Status::Ok, JSON, server.stats().json(store)),
    }
}

/// Pairs as lines, `KEY=VALUE`.
#[inline(never)]
fn scan(server: &Server, from: &str, count: usize) -> Vec<u8> {
    let mut lines = Vec::new();
    for (key, value) in server.store().scan(from, count) {
        if lines.len() + key.len() + value.len() + 2 > SCAN_BYTES {
            break;
        }
        lines.extend_from_slice(key.as_bytes());
        lines.push(b'=');
        lines.extend_from_slice(&value);
        lines.push(b'\n');
    }
    lines
}

/// Takes its time, and nobody else's.
#[unsafe(no_mangle)]
#[inline(never)]
fn http_slow(ms: u64) {
    sched::sleep(ms * 1_000_000);
    black_box(());
}

/// Holds a lock for a while that all of its kind want.
#[unsafe(no_mangle)]
#[inline(never)]
fn http_lock(us: u64) {
    let mut ledger = LEDGER.lock();
    sched::sleep(us * 1_000);
    *ledger += 1;
    drop(ledger);
    black_box(());
}

fn leak(server: &Server, bytes: usize) -> Response {
    let leaked = &server.stats().leaked;
    if leaked.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64 > heap::bytes() / LEAK_SHARE {
        leaked.fetch_sub(bytes as u64, Ordering::Relaxed);
        return Response::of(Status::InsufficientStorage);
    }
    http_leak(bytes);
    Response::of(Status::Ok)
}

/// Allocates and forgets.
#[unsafe(no_mangle)]
#[inline(never)]
fn http_leak(bytes: usize) {
    let page: Box<[u8]> = vec![1; bytes].into_boxed_slice();
    black_box(Box::leak(page));
}
