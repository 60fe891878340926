//! Polling: what a kernel without a timer interrupt does in place of a tick, and idle loops beside it.
//!
//! Nothing interrupts such a kernel, so samples are taken where it calls [`poll`], its *safepoints*: who calls it has the CPU's time since the
//! safepoint before. Points in busy time, a jittered period apart, say whose turn it is: whoever polls after such points is sampled once
//! for each of them, and a sample stands for the time from the point before to its own. So a handler that polls at its end is sampled in
//! proportion to the time that it takes, however long or short it is. (Were a sample to stand for the time since the last one, the short
//! handlers that follow a long one would hardly be seen.)

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering, compiler_fence};

use uniprof_wire::record::Registers;
use uniprof_wire::tables::VcpuField;

use crate::platform::{self, Pinned};
use crate::region::{MAX_VCPUS, Region, region};
use crate::vcpu::Vcpu;
use crate::{arch, control, event, sample};

/// Samples that one call takes; the time of more goes to the last of them.
const MOST_POINTS: u32 = 32;

/// What a vCPU's polling remembers; only that vCPU touches it. Busy time is the clock of [`Vcpu::busy`].
struct Local {
    /// Busy time of the last point that has passed.
    last: AtomicU64,
    /// Busy time of the next point; 0 while nothing is sampled.
    next: AtomicU64,
    random: AtomicU64,
    /// Points are being taken. Who interrupts that and polls, too, leaves them to who is at it: else both would take the same ones.
    taking: AtomicBool,
}

static LOCALS: [Local; MAX_VCPUS] = [const { Local::new() }; MAX_VCPUS];

/// Samples that are due.
struct Due {
    /// How many; not 0.
    points: u32,
    /// How many more there would have been.
    missed: u32,
    /// Busy time that all of them stand for.
    weight: u64,
}

/// Shows a sign of life, looks at the control page, and on a vCPU without a timer interrupt takes samples: for event loops and idle loops, at
/// least 40 times a second.
///
/// A sample's stack begins at the caller, which has the time since the call before. So a handler that shall be seen calls this at its
/// end, and what lasts long in between. Code that never calls it is seen as part of whoever calls next. Which vCPU has a timer interrupt is
/// told by [`next_tick`](crate::next_tick): where that was called, samples are left to [`tick`](crate::tick).
#[inline(always)]
pub fn poll() {
    arch::poll_here();
    // The caller stays on the stack: a call that ends a function could become a jump, and its caller would be sampled.
    arch::nothing();
}

/// [`poll`] of code that did not call it: the sample's stack begins at `registers`, which that code has, or goes on with. For the
/// run-time systems of languages, whose safepoints are somewhere below the code that has the time: a collector tells, before it begins,
/// where the program stopped. Registers that are not known are 0; where it is the instruction, no sample is taken.
pub fn poll_with_registers(registers: &Registers) {
    let Some(region) = region() else { return };
    let _pinned = Pinned::new();
    let begin = platform::now();
    let id = platform::vcpu();
    let vcpu = Vcpu::of(id);
    if let Some(vcpu) = vcpu {
        vcpu.set(VcpuField::Heartbeat, begin);
    }
    control::check(region, begin);
    let works = |vcpu: &Vcpu| !sample::has_timer(id, *vcpu) && vcpu.get(VcpuField::IdleSince) == 0;
    let Some(vcpu) = vcpu.filter(works) else { return };
    vcpu.online_since(begin);
    let due = LOCALS[id as usize % MAX_VCPUS].alone(|local| local.due(region, vcpu.busy(begin))).flatten();
    match due {
        Some(due) if registers.rip != 0 => take(id, vcpu, begin, registers, &due),
        _ => event::count_cost_sometimes(begin),
    }
}

/// [`poll`] for who goes on with these registers: rip (0 where it is not known), rsp, rbp, rbx, r12 to r15.
pub(crate) extern "C" fn poll_as(&[rip, rsp, rbp, rbx, r12, r13, r14, r15]: &[u64; 8]) {
    poll_with_registers(&Registers { rip, rsp, rbp, rbx, r12, r13, r14, r15 });
}

fn take(id: u32, vcpu: Vcpu, begin: u64, registers: &Registers, due: &Due) {
    let snapshot_bytes = control::snapshot_bytes();
    vcpu.set(VcpuField::SnapshotBytes, snapshot_bytes.into());
    vcpu.add(VcpuField::Missed, due.missed.into());
    let each = due.weight / u64::from(due.points);
    for point in (0..due.points).rev() {
        // The last has what the division leaves, and the ones that are missing.
        let (weight, missed) =
            if point == 0 { (due.weight - each * u64::from(due.points - 1), due.missed) } else { (each, 0) };
        // SAFETY: the platform promises that its stack can be read.
        unsafe { sample::sample(id, begin, registers, (weight, missed), snapshot_bytes) };
    }
    let spent = platform::now().saturating_sub(begin);
    vcpu.add(VcpuField::ProbeTime, spent);
    sample::add_tick_cost(id, spent);
}

impl Local {
    const fn new() -> Self {
        let [last, next, random] = [const { AtomicU64::new(0) }; 3];
        Self { last, next, random, taking: AtomicBool::new(false) }
    }

    /// Takes points, unless this interrupts who does so: `None`. Not atomic, because who interrupts this has ended before it goes on.
    fn alone<R>(&self, take: impl FnOnce(&Self) -> R) -> Option<R> {
        if self.taking.load(Ordering::Relaxed) {
            return None;
        }
        self.taking.store(true, Ordering::Relaxed);
        compiler_fence(Ordering::SeqCst);
        let taken = take(self);
        compiler_fence(Ordering::SeqCst);
        self.taking.store(false, Ordering::Relaxed);
        Some(taken)
    }

    /// The samples that are due at `busy`.
    fn due(&self, region: &Region, busy: u64) -> Option<Due> {
        if !control::sampling() {
            self.next.store(0, Ordering::Relaxed);
            return None;
        }
        self.passed(region.tsc_hz / u64::from(control::rate().max(1)), busy)
    }

    /// The points up to `busy`, which are a jittered period apart.
    fn passed(&self, period: u64, busy: u64) -> Option<Due> {
        let mut next = self.next.load(Ordering::Relaxed);
        // A rate that went up does not wait for a point of the old one.
        if next == 0 || next > busy.saturating_add(period.saturating_mul(2)) {
            self.last.store(busy, Ordering::Relaxed);
            self.next.store(busy.saturating_add(self.distance(period)), Ordering::Relaxed);
            return None;
        }
        let (mut last, mut points) = (next, 0);
        while next <= busy && points < MOST_POINTS {
            last = next;
            next = next.saturating_add(self.distance(period));
            points += 1;
        }
        if points == 0 {
            return None;
        }
        let mut missed = 0;
        if next <= busy {
            missed = u32::try_from((busy - last) / period.max(1)).unwrap_or(u32::MAX);
            last = busy;
            next = busy.saturating_add(self.distance(period));
        }
        let weight = last.saturating_sub(self.last.load(Ordering::Relaxed));
        self.last.store(last, Ordering::Relaxed);
        self.next.store(next, Ordering::Relaxed);
        Some(Due { points, missed, weight })
    }

    fn distance(&self, period: u64) -> u64 {
        sample::jittered(period, &self.random).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a jitter begins with asks for the time.
    #[unsafe(no_mangle)]
    extern "Rust" fn uniprof_platform_now() -> u64 {
        1
    }

    #[test]
    fn who_interrupts_a_poll_leaves_its_points_to_it() {
        let local = Local::new();
        assert!(local.passed(1_000, 5_000).is_none(), "the first one only begins");
        let points = local.alone(|local| {
            // An interrupt polls before this has noted what it takes.
            assert!(local.alone(|local| local.passed(1_000, 15_001)).is_none());
            local.passed(1_000, 15_000).map(|due| due.points)
        });
        let points = points.flatten().expect("they are due");
        assert!((8..=12).contains(&points), "{points}");
        assert!(local.alone(|local| local.passed(1_000, 15_000)).flatten().is_none(), "they are taken");
        assert!(local.alone(|local| local.passed(1_000, 25_000)).flatten().is_some(), "and others come");
    }
}
