//! `cooperative`: an event loop on a vCPU without a timer interrupt, as in kernels that only their host's events drive. Nothing
//! interrupts it, so the probes see what polls: each handler does at its end.
//!
//! A round is five short events of one kind, one long one of another and one in between: 50, 30 and 20 per cent of the busy time, by
//! construction. After each round it waits, for a tenth of the time. Scripts look for the handlers by name.

use alloc::collections::VecDeque;
use core::hint::black_box;

use crate::console::print_line;
use crate::time::Deadline;
use crate::{arch, probes};

/// Steps in a unit of work: about a millisecond, so that some handlers take less than a sampling period and some more.
const STEPS: u32 = 400_000;
const READS: u32 = 5;

#[derive(Clone, Copy)]
enum Event {
    Read,
    Write,
    Expire,
}

pub(super) fn run(end: Deadline) {
    let mut queue = VecDeque::new();
    let (mut state, mut rounds) = (1_u64, 0_u64);
    while !end.has_passed() {
        let begin = arch::now();
        arrive(&mut queue);
        state = event_loop(&mut queue, state);
        rounds += 1;
        probes::counter!("cooperative.rounds", rounds);
        wait(arch::now() - begin);
    }
    print_line!("cooperative: rounds={rounds} state={state:#x}");
}

/// The long ones first, so that a sample that is late has to be told from those of the short ones.
fn arrive(queue: &mut VecDeque<Event>) {
    queue.extend([Event::Write, Event::Expire]);
    queue.extend((0..READS).map(|_| Event::Read));
}

#[inline(never)]
fn event_loop(queue: &mut VecDeque<Event>, mut state: u64) -> u64 {
    while let Some(event) = queue.pop_front() {
        state = match event {
            Event::Read => handle_read(state),
            Event::Write => handle_write(state),
            Event::Expire => handle_expire(state),
        };
    }
    state
}

#[unsafe(no_mangle)]
#[unsafe(link_section = ".text.ratio")]
#[inline(never)]
fn handle_read(state: u64) -> u64 {
    let state = work(state, 1, 0x9e37_79b9_7f4a_7c15);
    probes::poll();
    state
}

#[unsafe(no_mangle)]
#[unsafe(link_section = ".text.ratio")]
#[inline(never)]
fn handle_write(state: u64) -> u64 {
    let state = work(state, 3, 0xbf58_476d_1ce4_e5b9);
    probes::poll();
    state
}

#[unsafe(no_mangle)]
#[unsafe(link_section = ".text.ratio")]
#[inline(never)]
fn handle_expire(state: u64) -> u64 {
    let state = work(state, 2, 0x94d0_49bb_1331_11eb);
    probes::poll();
    state
}

#[inline(always)]
fn work(mut state: u64, units: u32, constant: u64) -> u64 {
    for _ in 0..units * STEPS {
        state = (state ^ (state >> 29)).wrapping_mul(constant);
        state = black_box(state ^ (state >> 32));
    }
    state
}

/// Nothing comes for a ninth of the time that the round took.
fn wait(round: u64) {
    let end = arch::now().saturating_add(round / 9);
    probes::poll();
    probes::idle_enter();
    while arch::now() < end {
        core::hint::spin_loop();
    }
    probes::idle_exit();
}
