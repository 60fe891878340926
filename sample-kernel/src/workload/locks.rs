//! `locks`: a mutex and, on two vCPUs or more, a spin lock that others have to wait for, how long in sum, and because of which function: a profile
//! of contention whose right answer is known. Scripts look for the functions by name, so their symbols are plain.

use alloc::string::String;
use alloc::vec::Vec;
use core::hint::black_box;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use super::{join_all, observer};
use crate::console::print_line;
use crate::probes::Class;
use crate::sched::{self, spawn};
use crate::sync::{Mutex, SpinLock};
use crate::time::{self, Deadline};
use crate::{arch, sched::JoinHandle};

pub(super) const DEFAULT_SECONDS: u64 = 5;

const MILLISECOND_NS: u64 = 1_000_000;
const MUTEX_HELD_NS: u64 = 10 * MILLISECOND_NS;
const SPIN_HELD_NS: u64 = 3 * MILLISECOND_NS;
const FREE_NS: u64 = 4 * MILLISECOND_NS;
const LOOK_NS: u64 = MILLISECOND_NS / 2;
/// Of the mutex: one who waits behind another waits for the same holder.
const WAITERS: u32 = 2;

/// One lock's part: who holds it, and what others waited for it.
struct Contention {
    held: AtomicBool,
    /// Waiters who have ended: the holder may, too.
    over: AtomicU32,
    waits: AtomicU64,
    ticks: AtomicU64,
}

impl Contention {
    const fn new() -> Self {
        Self {
            held: AtomicBool::new(false),
            over: AtomicU32::new(0),
            waits: AtomicU64::new(0),
            ticks: AtomicU64::new(0),
        }
    }

    #[inline(always)]
    fn add<G>(&self, lock: impl FnOnce() -> G) {
        let begin = arch::now();
        let guard = lock();
        let ticks = arch::now() - begin;
        drop(guard);
        self.ticks.fetch_add(ticks, Ordering::Relaxed);
        self.waits.fetch_add(1, Ordering::Relaxed);
    }

    fn print(&self, lock: &str, waiter: &str, holder: &str) {
        let [waits, ticks] = [&self.waits, &self.ticks].map(|count| count.load(Ordering::Relaxed));
        print_line!("locks: lock={lock} waiter={waiter} holder={holder} waits={waits} tsc={ticks}");
    }
}

static ORDERS: Mutex<u64> = Mutex::new(0);
static ORDERS_TOLD: Contention = Contention::new();
static PRICES: SpinLock<u64> = SpinLock::new(0);
static PRICES_TOLD: Contention = Contention::new();

pub(super) fn run(vcpus: u32, end: impl FnOnce() -> Deadline) {
    observer::wait_for(Class::Lock);
    let end = end();
    let mut threads = Vec::new();
    threads.push(start(0, "mutex-holder", || {
        while ORDERS_TOLD.over.load(Ordering::Acquire) < WAITERS {
            locks_hold_mutex();
            sched::sleep(FREE_NS);
        }
    }));
    for waiter in 0..WAITERS {
        threads.push(start(waiter.min(vcpus - 1), "mutex-waiter", move || {
            wait_until(end, &ORDERS_TOLD, locks_wait_mutex);
        }));
    }
    // On one vCPU a waiter would turn for ever: the holder could not run.
    if vcpus > 1 {
        threads.push(start(1, "spin-holder", || {
            while PRICES_TOLD.over.load(Ordering::Acquire) == 0 {
                locks_hold_spin();
                sched::sleep(FREE_NS);
            }
        }));
        threads.push(start(0, "spin-waiter", move || wait_until(end, &PRICES_TOLD, locks_wait_spin)));
    }
    join_all(threads);
    ORDERS_TOLD.print("mutex", "locks_wait_mutex", "locks_hold_mutex");
    if vcpus > 1 {
        PRICES_TOLD.print("spin", "locks_wait_spin", "locks_hold_spin");
    }
}

fn start(vcpu: u32, name: &str, body: impl FnOnce() + Send + 'static) -> JoinHandle {
    spawn(vcpu, String::from(name), body)
}

fn wait_until(end: Deadline, told: &Contention, wait: fn()) {
    while !end.has_passed() {
        while !told.held.load(Ordering::Acquire) {
            sched::sleep(LOOK_NS);
        }
        wait();
    }
    told.over.fetch_add(1, Ordering::Release);
}

#[unsafe(no_mangle)]
#[inline(never)]
fn locks_wait_mutex() {
    ORDERS_TOLD.add(|| ORDERS.lock());
}

#[unsafe(no_mangle)]
#[inline(never)]
fn locks_hold_mutex() {
    let mut orders = ORDERS.lock();
    ORDERS_TOLD.held.store(true, Ordering::Release);
    sched::sleep(MUTEX_HELD_NS);
    *orders += 1;
    ORDERS_TOLD.held.store(false, Ordering::Release);
    drop(orders);
    black_box(());
}

#[unsafe(no_mangle)]
#[inline(never)]
fn locks_wait_spin() {
    PRICES_TOLD.add(|| PRICES.lock());
}

#[unsafe(no_mangle)]
#[inline(never)]
fn locks_hold_spin() {
    let mut prices = PRICES.lock();
    PRICES_TOLD.held.store(true, Ordering::Release);
    let begin = arch::now();
    while arch::now() - begin < time::ticks(SPIN_HELD_NS) {
        *prices = black_box(*prices + 1);
    }
    PRICES_TOLD.held.store(false, Ordering::Release);
    drop(prices);
    black_box(());
}
