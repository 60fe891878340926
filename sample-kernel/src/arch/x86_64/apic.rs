//! The local APIC: one-shot timer, inter-processor interrupts. Memory-mapped: QEMU's TCG has no x2APIC.
//! Registers: Intel SDM volume 3, chapter "Advanced Programmable Interrupt Controller".

use core::sync::atomic::{AtomicU64, Ordering};

use super::{cpu, msr, trap, tsc};

const DEFAULT_BASE: usize = 0xfee0_0000;

const TASK_PRIORITY: usize = 0x80;
const END_OF_INTERRUPT: usize = 0xb0;
const SPURIOUS_VECTOR: usize = 0xf0;
const COMMAND_LOW: usize = 0x300;
const COMMAND_HIGH: usize = 0x310;
const TIMER_VECTOR: usize = 0x320;
const TIMER_INITIAL: usize = 0x380;
const TIMER_CURRENT: usize = 0x390;
const TIMER_DIVIDE: usize = 0x3e0;

const ENABLED: u32 = 1 << 8;
const GLOBALLY_ENABLED: u64 = 1 << 11;
const MASKED: u32 = 1 << 16;
const DIVIDE_BY_ONE: u32 = 0b1011;
const DELIVERY_PENDING: u32 = 1 << 12;
const INIT_ASSERT: u32 = 0x4500;
const START_UP: u32 = 0x4600;

/// Timer ticks for each TSC tick, in units of 2^-32; 0 until measured.
static TIMER_PER_TSC: AtomicU64 = AtomicU64::new(0);

fn read(register: usize) -> u32 {
    // SAFETY: the local APIC's page is mapped one to one, and reading these registers has no side effect on memory.
    unsafe { ((DEFAULT_BASE + register) as *const u32).read_volatile() }
}

fn write(register: usize, value: u32) {
    // SAFETY: as above; the values that this file writes concern timers and interrupts, whose gates exist.
    unsafe { ((DEFAULT_BASE + register) as *mut u32).write_volatile(value) }
}

/// Switches this vCPU's local APIC on, at its default address, timer stopped.
pub(super) fn enable() {
    // SAFETY: the register exists on every processor with long mode; the base is the one that firmware uses too.
    unsafe {
        let flags = msr::read(msr::APIC_BASE) & 0x7ff;
        msr::write(msr::APIC_BASE, DEFAULT_BASE as u64 | flags | GLOBALLY_ENABLED);
    }
    write(TASK_PRIORITY, 0);
    write(TIMER_VECTOR, MASKED);
    write(TIMER_DIVIDE, DIVIDE_BY_ONE);
    write(TIMER_INITIAL, 0);
    write(TIMER_VECTOR, u32::from(trap::TIMER));
    write(SPURIOUS_VECTOR, ENABLED | u32::from(trap::SPURIOUS));
}

pub(super) fn end_of_interrupt() {
    write(END_OF_INTERRUPT, 0);
}

/// Starts the timer with its longest run and gives its count, to be compared with a later [`timer_count`].
pub(super) fn start_counting() -> u32 {
    write(TIMER_VECTOR, MASKED | u32::from(trap::TIMER));
    write(TIMER_INITIAL, u32::MAX);
    timer_count()
}

pub(super) fn timer_count() -> u32 {
    read(TIMER_CURRENT)
}

/// Stops counting and keeps the ratio of the timer to the TSC.
pub(super) fn set_timer_rate(timer_ticks: u64, tsc_ticks: u64) {
    write(TIMER_INITIAL, 0);
    write(TIMER_VECTOR, u32::from(trap::TIMER));
    let ratio = (u128::from(timer_ticks) << 32) / u128::from(tsc_ticks.max(1));
    TIMER_PER_TSC.store((ratio as u64).max(1), Ordering::Relaxed);
}

/// Lets the timer interrupt this vCPU once, `tsc_ticks` from now. A later call replaces an earlier one. Never is too far:
/// a delay beyond the timer's range ends at the range.
pub(crate) fn set_timer(tsc_ticks: u64) {
    let count = (u128::from(tsc_ticks) * u128::from(TIMER_PER_TSC.load(Ordering::Relaxed))) >> 32;
    // A count of 0 would stop the timer for good.
    write(TIMER_INITIAL, count.clamp(1, u128::from(u32::MAX)) as u32);
}

fn send(destination: u32, command: u32) {
    write(COMMAND_HIGH, destination << 24);
    write(COMMAND_LOW, command);
    while read(COMMAND_LOW) & DELIVERY_PENDING != 0 {
        core::hint::spin_loop();
    }
}

/// Interrupts another vCPU out of its halt. Interrupts must be off: the command takes two writes.
pub(crate) fn wake(vcpu: u32) {
    send(vcpu, u32::from(trap::WAKE));
}

/// Puts another vCPU into its wait-for-start state.
pub(super) fn send_init(vcpu: u32) {
    send(vcpu, INIT_ASSERT);
}

/// Starts a waiting vCPU in real mode at the 4 KiB page `page`.
pub(super) fn send_start_up(vcpu: u32, page: u8) {
    send(vcpu, START_UP | u32::from(page));
}

/// Waits `tsc_ticks`, busy.
pub(super) fn delay(tsc_ticks: u64) {
    let start = tsc::now();
    while tsc::now().wrapping_sub(start) < tsc_ticks {
        cpu::linger();
    }
}
