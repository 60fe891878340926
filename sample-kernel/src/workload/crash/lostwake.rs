//! `crash-lostwake`: a consumer looks whether there is mail, and then tells that it waits. The producer, in between, sees nobody waiting and
//! wakes nobody. There is mail, the consumer sleeps for ever, and the producer has ended.

use alloc::string::String;
use core::hint::black_box;
use core::sync::atomic::{AtomicU32, Ordering};

use super::background;
use crate::probes;
use crate::sched::{self, WaitQueue};
use crate::time::Deadline;

const PAUSE_NS: u64 = 50_000_000;

struct Mailbox {
    /// Letters that nobody has taken.
    pending: AtomicU32,
    waiting: AtomicU32,
    queue: WaitQueue,
}

static MAILBOX: Mailbox =
    Mailbox { pending: AtomicU32::new(0), waiting: AtomicU32::new(0), queue: WaitQueue::new() };
/// The consumer has found the mailbox empty.
static LOOKED: AtomicU32 = AtomicU32::new(0);

pub(super) fn run(vcpus: u32, end: Deadline) {
    background::start_waiting();
    let consumer = super::unlucky_vcpu(vcpus);
    background::detach(sched::spawn(consumer, String::from("mail-sender"), || send_mails(&MAILBOX)));
    sched::spawn(0, String::from("order-intake"), || post_order(&MAILBOX, 17)).join();
    // Longer than the consumer takes to begin its wait.
    sched::sleep(4 * PAUSE_NS);
    super::say_ready("lostwake");
    background::wait_for(end);
}

#[inline(never)]
fn send_mails(mailbox: &Mailbox) {
    loop {
        wait_for_mail(black_box(mailbox));
        let letters = mailbox.pending.swap(0, Ordering::Acquire);
        probes::event!("mail.sent", letters = letters);
    }
}

#[inline(never)]
fn wait_for_mail(mailbox: &Mailbox) {
    while mailbox.pending.load(Ordering::Acquire) == 0 {
        LOOKED.store(1, Ordering::Release);
        compact_spool();
        mailbox.waiting.store(1, Ordering::SeqCst);
        mailbox.queue.wait(|| mailbox.queue.event(&mailbox.pending));
    }
}

#[inline(never)]
fn compact_spool() {
    sched::sleep(PAUSE_NS);
}

#[inline(never)]
fn post_order(mailbox: &Mailbox, order: u32) {
    while LOOKED.load(Ordering::Acquire) == 0 {
        sched::sleep(PAUSE_NS / 10);
    }
    mailbox.pending.fetch_add(1, Ordering::SeqCst);
    probes::event!("order.posted", order = order);
    if mailbox.waiting.load(Ordering::SeqCst) != 0 {
        mailbox.queue.wake_one();
    }
}
