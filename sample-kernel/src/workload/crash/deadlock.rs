//! `crash-deadlock`: two threads take two locks in opposite order, each slowly enough to meet the other. A third waits behind them.

use alloc::string::String;
use core::hint::black_box;
use core::sync::atomic::{AtomicU32, Ordering};

use super::background;
use crate::sched;
use crate::sync::Mutex;
use crate::time::Deadline;

const PAUSE_NS: u64 = 50_000_000;

/// Booked entries.
struct Journal {
    entries: u64,
    last_amount: i64,
}

static ACCOUNTS: Mutex<[i64; 4]> = Mutex::new([100, 200, 300, 400]);
static JOURNAL: Mutex<Journal> = Mutex::new(Journal { entries: 0, last_amount: 0 });
/// Threads that are about to take the lock that they will not get.
static COMMITTED: AtomicU32 = AtomicU32::new(0);

pub(super) fn run(vcpus: u32, end: Deadline) {
    background::start_waiting();
    let other = super::unlucky_vcpu(vcpus);
    background::detach(sched::spawn(0, String::from("payments"), || settle_payment(2, 75)));
    background::detach(sched::spawn(other, String::from("auditor"), || audit_journal(3)));
    while COMMITTED.load(Ordering::Acquire) < 2 {
        sched::sleep(PAUSE_NS);
    }
    background::detach(sched::spawn(0, String::from("dashboard"), || show_balance(1)));
    sched::sleep(2 * PAUSE_NS);
    super::say_ready("deadlock");
    background::wait_for(end);
}

#[inline(never)]
fn settle_payment(account: usize, amount: i64) {
    let mut accounts = ACCOUNTS.lock();
    accounts[black_box(account)] -= amount;
    sched::sleep(PAUSE_NS);
    append_to_journal(account, amount);
    black_box(&*accounts);
}

#[inline(never)]
fn append_to_journal(account: usize, amount: i64) {
    COMMITTED.fetch_add(1, Ordering::Release);
    let mut journal = JOURNAL.lock();
    journal.entries += 1;
    journal.last_amount = amount;
    black_box((account, &*journal));
}

#[inline(never)]
fn audit_journal(account: usize) {
    let journal = JOURNAL.lock();
    sched::sleep(PAUSE_NS);
    let sum = sum_accounts(black_box(account));
    black_box((journal.entries, journal.last_amount, sum));
}

#[inline(never)]
fn sum_accounts(limit: usize) -> i64 {
    COMMITTED.fetch_add(1, Ordering::Release);
    let accounts = ACCOUNTS.lock();
    black_box(accounts.iter().take(limit).sum())
}

#[inline(never)]
fn show_balance(account: usize) {
    let accounts = ACCOUNTS.lock();
    black_box(accounts[black_box(account)]);
}
