//! The kernel's side of the probes: what they ask of it, and the calls that it makes.

use core::fmt;
use core::ops::Range;

use uniprof_probes as probe;
#[cfg(not(feature = "no-probes"))]
pub(crate) use uniprof_probes::net;
pub(crate) use uniprof_probes::{
    Class, CrashReason, LockKind, Memory, Registers, SavedRegisters, Sink, Span, SpanId, Status, Step,
    Streamer, SwitchReason, Wait, WaitKind,
};
#[cfg(not(feature = "no-probes"))]
pub(crate) use uniprof_probes::{
    LockWait, allocated, call, counter, event, freed, gauge, histogram, idle_enter, idle_exit, interrupt,
    lock_released, lock_wait, log_line, next_tick, poll, recording, saved, set_interrupt_cost, span, switch,
    thread_exit, thread_start, tick_with_registers, vcpu_online, wait_begin, wait_end, watching_heap, woken,
    woken_by_interrupt,
};

#[cfg(feature = "no-probes")]
pub(crate) use self::none::*;

#[cfg(feature = "no-probes")]
#[path = "no_probes.rs"]
mod none;

use crate::command_line::MAX_PATTERN_BYTES;
use crate::percpu::PerCpu;
use crate::text::FixedText;
use crate::{arch, sched};

/// Whether the hooks are part of this build.
pub(crate) const BUILT_IN: bool = cfg!(not(feature = "no-probes"));

/// The region for machines without a shared-memory device.
const STATIC_REGION_BYTES: usize = 16 << 20;
/// Connections that the network table has room for.
const CONNECTIONS: u32 = 1024;
const NAME: &str = "uniprof-sample-kernel";

probe::region!(bytes = STATIC_REGION_BYTES);

struct Kernel;

// SAFETY: each of them reads a register or this vCPU's own words. `unpin` may switch threads, and does so only where the
// scheduler may: in a thread, interrupts on, no other pin held.
unsafe impl probe::Platform for Kernel {
    #[inline(always)]
    fn now() -> u64 {
        arch::now()
    }

    #[inline(always)]
    fn vcpu() -> u32 {
        PerCpu::current_id()
    }

    #[inline(always)]
    fn pin() {
        PerCpu::disable_preemption();
    }

    #[inline(always)]
    fn unpin() {
        if PerCpu::enable_preemption() {
            sched::switch_if_possible();
        }
    }

    fn stack() -> Range<usize> {
        sched::current_stack()
    }

    #[inline(always)]
    fn thread() -> probe::ThreadId {
        sched::current_id()
    }
}
probe::platform!(Kernel);

/// The static region.
pub(crate) fn static_region() -> Memory {
    region_memory()
}

/// What the command line says about the probes.
pub(crate) struct Settings {
    pub(crate) ring_bytes: u32,
    pub(crate) sample_hz: u32,
    /// Bits of [`Class::bit`].
    pub(crate) classes: u64,
    /// Patterns over the names of event sites, which go over the classes.
    pub(crate) patterns: FixedText<MAX_PATTERN_BYTES>,
    /// 0: stacks are found by frame pointers, in the kernel.
    pub(crate) snapshot_bytes: u32,
    /// Mean bytes from one sample of the heap to the next; 0: none.
    pub(crate) heap_interval: u64,
    pub(crate) wall_ns: u64,
}

/// Switches the probes on.
///
/// # Safety
/// Nothing else may use `memory`, from now on.
pub(crate) unsafe fn init(memory: Memory, vcpus: u32, settings: &Settings) -> Status {
    let image = arch::image();
    let config = probe::Config {
        name: NAME,
        tsc_hz: arch::hz(),
        vcpus,
        ring_bytes: settings.ring_bytes,
        sample_hz: settings.sample_hz,
        classes: settings.classes,
        patterns: settings.patterns.as_str(),
        snapshot_bytes: settings.snapshot_bytes,
        heap_interval: settings.heap_interval,
        connections: CONNECTIONS,
        wall_ns: settings.wall_ns,
        image: probe::Image { build_id: image.build_id, start: image.start, end: image.end, bias: 0 },
        ..probe::Config::new(memory)
    };
    // SAFETY: the static region or a device's memory: mapped for ever; the caller keeps others away.
    unsafe { probe::init(config) }
}

/// Leaves a record of this vCPU's end.
pub(crate) fn crash(reason: CrashReason, registers: &arch::Registers, message: fmt::Arguments<'_>) {
    let text = FixedText::<256>::of(message);
    probe::crash(&probe::Crash {
        reason,
        vector: registers.vector,
        rip: registers.rip,
        rflags: registers.rflags,
        cr2: registers.cr2,
        cr3: registers.cr3,
        error_code: registers.error,
        registers: registers.general,
        message: text.as_str(),
    });
}
