//! The time stamp counter and its frequency.

use core::arch::x86_64::_rdtsc;
use core::sync::atomic::{AtomicU64, Ordering};

use super::{apic, cpu, pit, pvclock};

/// QEMU's and KVM's local APIC timer counts nanoseconds. The last resort, for machines that have no other clock.
const EMULATED_TIMER_HZ: u64 = 1_000_000_000;

static HZ: AtomicU64 = AtomicU64::new(0);

#[inline(always)]
pub(crate) fn now() -> u64 {
    // SAFETY: every processor with long mode has the counter.
    unsafe { _rdtsc() }
}

/// TSC ticks per second; 0 until calibrated.
pub(crate) fn hz() -> u64 {
    HZ.load(Ordering::Relaxed)
}

/// Measures the TSC, and the APIC timer against it. The local APIC must be on; takes about 30 ms.
///
/// Sources in this order: what a KVM host says (its guests' interval timer suffers from the host's scheduling), the
/// interval timer where the machine has one, the rate of an emulated local APIC.
pub(crate) fn calibrate() {
    let (timer, tsc) = count_timer_against_tsc();
    let hz = pvclock::tsc_hz().or_else(pit::tsc_hz).unwrap_or_else(|| {
        u64::try_from(u128::from(EMULATED_TIMER_HZ) * u128::from(tsc) / u128::from(timer.max(1)))
            .unwrap_or(EMULATED_TIMER_HZ)
    });
    HZ.store(hz, Ordering::Relaxed);
    apic::set_timer_rate(timer, tsc);
}

/// APIC timer ticks and TSC ticks of the same stretch of time.
fn count_timer_against_tsc() -> (u64, u64) {
    const TIMER_TICKS: u32 = 5_000_000;
    apic::start_counting();
    let (first, start) = bracketed(apic::timer_count);
    while first - apic::timer_count() < TIMER_TICKS {
        cpu::linger();
    }
    let (last, end) = bracketed(apic::timer_count);
    (u64::from(first - last), end - start)
}

/// A reading and the TSC at it: the closest of several, because a host may take the vCPU away between the two.
pub(super) fn bracketed<T>(mut read: impl FnMut() -> T) -> (T, u64) {
    const ROUNDS: u32 = 16;
    let mut best: Option<(u64, T, u64)> = None;
    for _ in 0..ROUNDS {
        let before = now();
        let value = read();
        let after = now();
        let width = after.wrapping_sub(before);
        if best.as_ref().is_none_or(|(narrowest, ..)| width < *narrowest) {
            best = Some((width, value, before.wrapping_add(width / 2)));
        }
    }
    let (_, value, at) = best.expect("at least one round");
    (value, at)
}
