//! The sampling tick: where the CPU was, and by which calls it came there, or the stack that tells.

use core::mem::MaybeUninit;
use core::ops::Range;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use uniprof_wire::layout::RingKind;
use uniprof_wire::record::{Kind, MAX_FRAMES, Record, Registers, SampleRecord, SnapshotRecord};
use uniprof_wire::tables::VcpuField;

use crate::callers::walk;
use crate::region::{MAX_VCPUS, interrupt_cost, region, writer};
use crate::vcpu::Vcpu;
use crate::{control, platform, snapshot};

/// Words of stack that every sample carries from the stack pointer up. They hold the return address
/// of a leaf function that has no frame yet, or never makes one, which a frame-pointer walk passes over.
const STACK_WORDS: usize = 8;

/// What a vCPU's tick remembers until the next; only that vCPU touches it. *Busy* is the clock of [`Vcpu::busy`], which
/// stands still while the vCPU idles.
struct Local {
    /// Busy time at the last sample, or at the last tick that found sampling off.
    weighed: AtomicU64,
    /// Busy time at the last tick or call of `next_tick`, whichever was later.
    seen: AtomicU64,
    /// Interval that `next_tick` last asked for.
    interval: AtomicU64,
    /// State of the jitter's generator.
    random: AtomicU64,
    /// How many ticks are to come until the next sample: a period that is longer than control may wait is cut into several ticks.
    left: AtomicU32,
    /// TSC ticks that all ticks have cost.
    cost: AtomicU64,
    /// Sampling was off when the current interval began.
    off: AtomicBool,
}

static LOCALS: [Local; MAX_VCPUS] = [const {
    Local {
        weighed: AtomicU64::new(0),
        seen: AtomicU64::new(0),
        interval: AtomicU64::new(0),
        random: AtomicU64::new(0),
        left: AtomicU32::new(0),
        cost: AtomicU64::new(0),
        off: AtomicBool::new(false),
    }
}; MAX_VCPUS];

/// A vCPU that has a slot in the region's table has a place here: `init` accepts at most `MAX_VCPUS`.
#[inline(always)]
fn local(vcpu: u32) -> &'static Local {
    &LOCALS[vcpu as usize % MAX_VCPUS]
}

impl Local {
    /// How many ticks should have come since the last one.
    fn missed_ticks(&self, busy: u64) -> u32 {
        let elapsed = busy.saturating_sub(self.seen.swap_local(busy));
        let interval = self.interval.load(Ordering::Relaxed);
        if interval == 0 || elapsed < interval.saturating_mul(2) {
            return 0;
        }
        u32::try_from(elapsed / interval - 1).unwrap_or(u32::MAX)
    }

    /// A tick has come, and `missed` before it have not. Whether it is one that samples, and how many samples are missing.
    fn is_sample(&self, missed: u32) -> Option<u32> {
        let ticks = missed.saturating_add(1);
        let left = self.left.load(Ordering::Relaxed);
        self.left.store(left.saturating_sub(ticks), Ordering::Relaxed);
        (ticks >= left).then(|| (ticks - left.max(1)) / ticks_per_sample(control::rate()))
    }

    /// Notes whether sampling is on, and tells whether it was when the interval began that ends with this tick. If not,
    /// the time behind this tick was nobody's to sample.
    fn note_sampling(&self, on: bool) -> bool {
        let was_on = !self.off.load(Ordering::Relaxed);
        self.off.store(!on, Ordering::Relaxed);
        was_on
    }
}

/// Takes a sample. Call it from the timer interrupt when the time that [`next_tick`] gave has passed, with the
/// interrupted instruction, stack and frame pointer. Idle time is counted and not sampled.
///
/// The callers are found here, by frame pointers, also while a collector asks for stack snapshots: those need
/// [`tick_with_registers`].
///
/// # Safety
/// Called from an interrupt handler or NMI of the vCPU that was interrupted (from one of the two: ticks must not nest);
/// the range that `Platform::stack` returns can be read.
pub unsafe fn tick(rip: u64, rsp: u64, rbp: u64) {
    let registers = Registers { rip, rsp, rbp, ..Registers::default() };
    // SAFETY: the same contract.
    unsafe { on_tick(&registers, 0) }
}

/// [`tick`] with every register that unwinding needs, so that a collector may ask for stack snapshots: the sample then takes
/// registers and stack along, and the host finds the callers, with frame pointers or without.
///
/// # Safety
/// As [`tick`].
pub unsafe fn tick_with_registers(registers: &Registers) {
    // SAFETY: the same contract.
    unsafe { on_tick(registers, u32::MAX) }
}

/// Takes a snapshot of at most `snapshot_bytes` where one is asked for, else a sample.
///
/// # Safety
/// As [`tick`].
unsafe fn on_tick(registers: &Registers, snapshot_bytes: u32) {
    let begin = platform::now();
    let Some(region) = region() else { return };
    let id = platform::vcpu();
    let Some(vcpu) = Vcpu::of(id) else { return };
    let local = local(id);
    vcpu.online_since(begin);
    vcpu.set(VcpuField::Heartbeat, begin);
    vcpu.add(VcpuField::Ticks, 1);
    control::check(region, begin);
    let busy = vcpu.busy(begin);
    let missed = local.missed_ticks(busy);
    let on = control::sampling();
    let snapshot_bytes = snapshot_bytes.min(control::snapshot_bytes());
    vcpu.set(VcpuField::SnapshotBytes, snapshot_bytes.into());
    if !local.note_sampling(on) {
        local.weighed.store(busy, Ordering::Relaxed);
    } else if let Some(missed) = local.is_sample(missed) {
        vcpu.add(VcpuField::Missed, missed.into());
        if on && vcpu.get(VcpuField::IdleSince) == 0 {
            let weight = busy.saturating_sub(local.weighed.swap_local(busy));
            // SAFETY: the caller vouches for the stack.
            unsafe { sample(id, begin, registers, (weight, missed), snapshot_bytes) };
        }
    }
    vcpu.add(VcpuField::InterruptTime, interrupt_cost());
    let spent = platform::now().saturating_sub(begin);
    vcpu.add(VcpuField::ProbeTime, spent);
    add_tick_cost(id, spent.wrapping_add(interrupt_cost()));
}

/// TSC ticks that the ticks of a vCPU have cost since init.
pub(crate) fn tick_cost(vcpu: u32) -> u64 {
    local(vcpu).cost.load(Ordering::Relaxed)
}

/// Adds to what [`tick_cost`] gives.
pub(crate) fn add_tick_cost(vcpu: u32, spent: u64) {
    let local = local(vcpu);
    local.cost.store(tick_cost(vcpu).wrapping_add(spent), Ordering::Relaxed);
}

/// Whether a vCPU has a timer interrupt that takes its samples: it has armed one, or had one.
pub(crate) fn has_timer(id: u32, vcpu: Vcpu) -> bool {
    local(id).interval.load(Ordering::Relaxed) != 0 || vcpu.get(VcpuField::Ticks) != 0
}

/// How many ticks it takes to sample once, so that control does not wait for a slow rate.
fn ticks_per_sample(rate: u32) -> u32 {
    (control::TICKS_PER_SECOND as u32).div_ceil(rate.max(1))
}

/// A swap that need not be atomic, because only one vCPU uses the word.
trait SwapLocal {
    fn swap_local(&self, value: u64) -> u64;
}

impl SwapLocal for AtomicU64 {
    #[inline(always)]
    fn swap_local(&self, value: u64) -> u64 {
        let old = self.load(Ordering::Relaxed);
        self.store(value, Ordering::Relaxed);
        old
    }
}

/// Writes a sample, or a snapshot where one is asked for.
///
/// # Safety
/// The range that `Platform::stack` returns can be read.
pub(crate) unsafe fn sample(
    vcpu: u32,
    tsc: u64,
    registers: &Registers,
    (weight, missed): (u64, u32),
    snapshot_bytes: u32,
) {
    let Some(writer) = writer(vcpu, RingKind::Core) else { return };
    let (stack, thread) = (platform::stack(), platform::thread());
    if snapshot_bytes > 0 {
        let registers = *registers;
        let head = SnapshotRecord { tsc, thread, registers, weight, missed, stack_end: 0, stack: &[] };
        // SAFETY: the caller vouches for the stack's bounds.
        unsafe { snapshot::write(writer, head, &stack, snapshot_bytes as usize) };
        return;
    }
    let Registers { rip, rsp, rbp, .. } = *registers;
    let mut words = [0; STACK_WORDS];
    // SAFETY: the caller vouches for the stack's bounds.
    let words = unsafe { stack_top(rsp as usize, &stack, &mut words) };
    // Not zeroed: that would cost as much as a short walk.
    let mut frames = [MaybeUninit::uninit(); MAX_FRAMES];
    // SAFETY: as above.
    let (frames, end) = unsafe { walk(rbp as usize, rsp as usize, &stack, &mut frames) };
    let record = SampleRecord { tsc, thread, rip, rsp, rbp, weight, missed, end, stack: words, frames };
    // A refusal is counted in the ring.
    let _ = writer.write_record(&Record::Sample(record));
}

/// Copies the words from `rsp` up, as far as the stack goes. Stacks may be unaligned.
///
/// # Safety
/// `stack` can be read.
unsafe fn stack_top<'a>(rsp: usize, stack: &Range<usize>, words: &'a mut [u64; STACK_WORDS]) -> &'a [u64] {
    if !stack.contains(&rsp) {
        return &[];
    }
    let n = STACK_WORDS.min((stack.end - rsp) / 8);
    for (i, word) in words[..n].iter_mut().enumerate() {
        // SAFETY: `rsp + 8 * n <= stack.end`.
        *word = unsafe { ((rsp + 8 * i) as *const u64).read_unaligned() };
    }
    &words[..n]
}

/// TSC ticks until the next [`tick`] is due: the sampling period, jittered by an eighth either way so that it never falls
/// in step with what it samples. They count from now, or from when the last tick was due. A period of more than 25 ms is cut into
/// several ticks, and while sampling is off a tick is due every 25 ms, so that control is still looked at: an idle loop should not halt
/// for much longer either, and [`poll`](crate::poll) when it wakes. `u64::MAX` where a tick would do nothing: before
/// [`init`](crate::init), and on a vCPU that the region has no place for.
#[must_use]
pub fn next_tick() -> u64 {
    let Some(region) = region() else { return u64::MAX };
    let begin = platform::now();
    let id = platform::vcpu();
    let Some(vcpu) = Vcpu::of(id) else { return u64::MAX };
    let local = local(id);
    let interval = if control::sampling() {
        let rate = control::rate();
        let parts = ticks_per_sample(rate);
        let left = local.left.load(Ordering::Relaxed);
        if left == 0 || left > parts {
            local.left.store(parts, Ordering::Relaxed);
        }
        jittered(region.tsc_hz / u64::from(rate.max(1)), &local.random) / u64::from(parts)
    } else {
        local.off.store(true, Ordering::Relaxed);
        local.left.store(0, Ordering::Relaxed);
        region.tsc_hz / control::TICKS_PER_SECOND
    };
    let interval = interval.max(1);
    local.interval.store(interval, Ordering::Relaxed);
    local.seen.store(vcpu.busy(begin), Ordering::Relaxed);
    vcpu.add(VcpuField::ProbeTime, platform::now().saturating_sub(begin));
    interval
}

/// A period, an eighth shorter or longer at random.
pub(crate) fn jittered(period: u64, random: &AtomicU64) -> u64 {
    // xorshift64; any seed but 0 does.
    let mut x = random.load(Ordering::Relaxed);
    if x == 0 {
        x = platform::now() | 1;
    }
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    random.store(x, Ordering::Relaxed);
    let eighth = period / 8;
    period - eighth + x % (2 * eighth + 1)
}

const _: () = assert!(Kind::Sample as u8 == 2 && STACK_WORDS <= 255);
