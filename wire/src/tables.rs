//! Tables of the region: fixed slots that are overwritten in place, where the rings only append.
//!
//! Every field is one word and has one writer at a time, so that no lock is needed. Slots whose fields belong together
//! (threads, images, control requests) begin with a sequence word that is odd while they are being changed: a
//! live reader copies again, a reader of a dead guest shows the slot as torn ([`Slot::Torn`]).
//!
//! ```text
//!  VcpuStats      32 words   written by its vCPU; rate and classes by the one that looks at the control page
//!  CrashRecord    64 words   written once, by whoever claims it
//!  ThreadEntry    32 words   written by the vCPU that runs or switches the thread
//!  ImageEntry     32 words   written at init and when an image is loaded
//!  ControlRequest 64 words   written by a host, checked by the guest
//!  HeapEntry      32 words   written by the vCPU that allocates the block; lies after the rings
//!  Histogram     984 words   written by its vCPU; lies after the heap table
//!  InterfaceEntry 32 words   written by all vCPUs; lies after the histograms
//!  ConnectionEntry 16 words  written by who opens it and who moves its bytes; lies after the interfaces
//! ```

use crate::address::{GuestPhysical, GuestVirtual};
use crate::text::FixedText;

mod control;
mod heap;
mod histogram;
mod net;
mod thread;

pub use control::ControlRequest;
pub use heap::{
    HEAP_CLAIMED, HEAP_FRAMES, HEAP_FREE, HEAP_SLOTS, HEAP_WAYS, HEAP_WORDS, HeapCallers, HeapEntry,
    MAX_HEAP_SLOTS, MIN_HEAP_SLOTS, heap_buckets,
};
pub use histogram::{
    HISTOGRAM_BUCKETS, HISTOGRAM_WORDS, Histogram, MAX_HISTOGRAMS, bucket_of, bucket_range, histogram_field,
};
pub use net::{
    CONNECTION_WORDS, ConnectionEntry, INTERFACE_SLOTS, INTERFACE_WORDS, InterfaceEntry, MAX_CONNECTIONS,
    MIN_CONNECTIONS, NET_HEAD_WORDS, NET_TOTALS_WORDS, NetTotals, Traffic, connection_field, interface_field,
    net_field,
};
pub use thread::{ThreadEntry, ThreadState, WaitKind, thread_field};

/// Words of one [`VcpuStats`].
pub const VCPU_WORDS: usize = 32;
/// Words of one [`CrashRecord`].
pub const CRASH_WORDS: usize = 64;
/// Words of one [`ThreadEntry`].
pub const THREAD_WORDS: usize = 32;
/// Thread slots of a region.
pub const THREAD_SLOTS: usize = 256;
/// Words of one [`ImageEntry`].
pub const IMAGE_WORDS: usize = 32;
/// Image slots of a region.
pub const IMAGE_SLOTS: usize = 16;
/// Words of one [`ControlRequest`].
pub const CONTROL_WORDS: usize = 64;
/// Control slots of a region.
pub const CONTROL_SLOTS: usize = 8;

/// What a slot with a sequence word held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot<T> {
    /// Nothing.
    Empty,
    /// A whole entry.
    Whole(T),
    /// An entry that was being changed when it was copied: some fields old, some new.
    Torn(T),
}

impl<T> Slot<T> {
    /// The entry, torn or not.
    pub fn entry(self) -> Option<T> {
        match self {
            Self::Empty => None,
            Self::Whole(entry) | Self::Torn(entry) => Some(entry),
        }
    }
}

fn slot<T>(sequence: u64, entry: T) -> Slot<T> {
    match sequence {
        0 => Slot::Empty,
        odd if odd % 2 == 1 => Slot::Torn(entry),
        _ => Slot::Whole(entry),
    }
}

/// Word numbers of [`VcpuStats`], for the guest, which adds to single fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum VcpuField {
    /// TSC of the latest sign of life.
    Heartbeat = 0,
    /// TSC at which the vCPU came up; 0 before.
    Online = 1,
    /// Ticks handled, those that only looked at the control page among them.
    Ticks = 2,
    /// Sampling ticks that did not come in time.
    Missed = 3,
    /// TSC ticks spent idle.
    Idle = 4,
    /// TSC ticks spent inside the probes, measured.
    ProbeTime = 5,
    /// TSC ticks spent entering and leaving the sampling interrupt: ticks times the calibrated cost.
    InterruptTime = 6,
    /// Thread that runs now.
    CurrentThread = 7,
    /// Thread switches.
    Switches = 8,
    /// Sampling rate in effect, in Hz; 0 when sampling is off.
    Rate = 9,
    /// Classes in effect, a bit each.
    Classes = 10,
    /// TSC at which the current idle time began, 0 while busy.
    IdleSince = 11,
    /// Bytes of stack that a sample takes along at most, as of the latest tick; 0 where the guest walks frame pointers itself.
    SnapshotBytes = 12,
    /// Bytes that were allocated, since init.
    AllocatedBytes = 13,
    /// Blocks that were allocated, since init.
    AllocatedBlocks = 14,
    /// Bytes that were given back, since init, those among them that were allocated before or on another vCPU.
    FreedBytes = 15,
    /// Blocks that were given back, likewise.
    FreedBlocks = 16,
    /// Blocks that were sampled: put into the heap table, or dropped.
    HeapSampled = 17,
    /// Sampled blocks that the heap table had no slot for.
    HeapDropped = 18,
    /// Bytes that the dropped ones stand for.
    HeapDroppedWeight = 19,
    /// Mean of the bytes from one sample of the heap to the next; 0 while the heap is not watched.
    HeapInterval = 20,
    /// TSC ticks spent in interrupt handlers, where the kernel tells of them.
    IrqTime = 21,
    /// Interrupts served, likewise.
    Interrupts = 22,
    /// Sampling rate that was asked for, in Hz: above [`VcpuField::Rate`] while the budget holds it down.
    RateAsked = 23,
    /// The smallest budget that was asked for, in millionths of a vCPU's time; 0: none.
    Budget = 24,
    /// How often the budget made the guest lower its rate or switch sites off.
    Throttled = 25,
    /// Classes that the budget has switched off for now, a bit each.
    ClassesShed = 26,
    /// How often the control page has been looked at: a request is in effect once this has grown by two.
    Looks = 27,
    /// Bytes of each packet that its record takes along at most, as of the latest look at the requests.
    PacketBytes = 28,
}

/// Running totals of one vCPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VcpuStats {
    /// TSC of the latest sign of life.
    pub heartbeat: u64,
    /// TSC at which the vCPU came up; 0 when it never did.
    pub online: u64,
    /// Ticks handled, those that only looked at the control page among them.
    pub ticks: u64,
    /// Sampling ticks that did not come in time.
    pub missed: u64,
    /// TSC ticks spent idle.
    pub idle: u64,
    /// TSC ticks spent inside the probes.
    pub probe_time: u64,
    /// TSC ticks spent entering and leaving the sampling interrupt.
    pub interrupt_time: u64,
    /// Thread that runs now.
    pub current_thread: u32,
    /// Thread switches.
    pub switches: u64,
    /// Sampling rate in effect, in Hz.
    pub rate: u32,
    /// Classes in effect, a bit each.
    pub classes: u64,
    /// TSC at which the current idle time began, 0 while busy.
    pub idle_since: u64,
    /// Bytes of stack that a sample takes along at most, as of the latest tick; 0 where the guest walks frame pointers itself: because
    /// nobody asked for more, or because its kernel hands over too few registers.
    pub snapshot_bytes: u32,
    /// What went through the heap.
    pub heap: HeapStats,
    /// TSC ticks spent in interrupt handlers, where the kernel tells of them.
    pub irq_time: u64,
    /// Interrupts served, likewise.
    pub interrupts: u64,
    /// Sampling rate that was asked for, in Hz; above `rate` while the budget holds it down.
    pub rate_asked: u32,
    /// The smallest budget that was asked for, in millionths of a vCPU's time; 0: none.
    pub budget_ppm: u32,
    /// How often the budget made the guest lower its rate or switch classes off.
    pub throttled: u64,
    /// Classes that the budget has switched off for now, a bit each.
    pub classes_shed: u64,
    /// How often the control page has been looked at.
    pub looks: u64,
    /// Bytes of each packet that its record takes along at most.
    pub packet_bytes: u32,
}

/// Running totals of the heap, of one vCPU: only their sum over all vCPUs says what is allocated, because blocks are given back
/// anywhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeapStats {
    /// Bytes that were allocated, since init.
    pub allocated_bytes: u64,
    /// Blocks that were allocated, since init.
    pub allocated_blocks: u64,
    /// Bytes that were given back, since init, also of blocks from before.
    pub freed_bytes: u64,
    /// Blocks that were given back, likewise.
    pub freed_blocks: u64,
    /// Blocks that were sampled: put into the heap table, or dropped.
    pub sampled: u64,
    /// Sampled blocks that the heap table had no slot for.
    pub dropped: u64,
    /// Bytes that the dropped ones stand for.
    pub dropped_weight: u64,
    /// Mean of the bytes from one sample to the next; 0 while the heap is not watched.
    pub interval: u64,
}

impl VcpuStats {
    /// From a copy of the slot.
    #[must_use]
    pub fn from_words(words: &[u64; VCPU_WORDS]) -> Self {
        let field = |field: VcpuField| words[field as usize];
        Self {
            heartbeat: field(VcpuField::Heartbeat),
            online: field(VcpuField::Online),
            ticks: field(VcpuField::Ticks),
            missed: field(VcpuField::Missed),
            idle: field(VcpuField::Idle),
            probe_time: field(VcpuField::ProbeTime),
            interrupt_time: field(VcpuField::InterruptTime),
            current_thread: field(VcpuField::CurrentThread) as u32,
            switches: field(VcpuField::Switches),
            rate: field(VcpuField::Rate) as u32,
            classes: field(VcpuField::Classes),
            idle_since: field(VcpuField::IdleSince),
            snapshot_bytes: field(VcpuField::SnapshotBytes) as u32,
            heap: HeapStats {
                allocated_bytes: field(VcpuField::AllocatedBytes),
                allocated_blocks: field(VcpuField::AllocatedBlocks),
                freed_bytes: field(VcpuField::FreedBytes),
                freed_blocks: field(VcpuField::FreedBlocks),
                sampled: field(VcpuField::HeapSampled),
                dropped: field(VcpuField::HeapDropped),
                dropped_weight: field(VcpuField::HeapDroppedWeight),
                interval: field(VcpuField::HeapInterval),
            },
            irq_time: field(VcpuField::IrqTime),
            interrupts: field(VcpuField::Interrupts),
            rate_asked: field(VcpuField::RateAsked) as u32,
            budget_ppm: field(VcpuField::Budget) as u32,
            throttled: field(VcpuField::Throttled),
            classes_shed: field(VcpuField::ClassesShed),
            looks: field(VcpuField::Looks),
            packet_bytes: field(VcpuField::PacketBytes) as u32,
        }
    }

    /// TSC ticks that the profiler itself has cost this vCPU.
    #[must_use]
    pub fn own_cost(&self) -> u64 {
        self.probe_time.saturating_add(self.interrupt_time)
    }

    /// TSC ticks from its start to its latest sign of life.
    #[must_use]
    pub fn lifetime(&self) -> u64 {
        if self.online == 0 { 0 } else { self.heartbeat.saturating_sub(self.online) }
    }
}

/// One ELF image in the guest's address space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImageEntry {
    /// Where it lies, first address and the one after the last.
    pub range: (GuestVirtual, GuestVirtual),
    /// Guest-virtual less link-time address.
    pub bias: u64,
    /// Length of the build-id in bytes; 0 where the linker wrote none.
    pub build_id_len: u8,
    /// The build-id.
    pub build_id: [u8; 32],
    /// A name for people.
    pub name: FixedText<8>,
}

impl ImageEntry {
    /// The build-id, where there is one.
    #[must_use]
    pub fn build_id(&self) -> Option<&[u8]> {
        let id = self.build_id.get(..usize::from(self.build_id_len))?;
        (!id.is_empty()).then_some(id)
    }

    /// The slot's words after the sequence word.
    #[must_use]
    pub fn to_words(&self) -> [u64; IMAGE_WORDS - 1] {
        let mut words = [0; IMAGE_WORDS - 1];
        words[0] = self.range.0.0;
        words[1] = self.range.1.0;
        words[2] = self.bias;
        words[3] = self.build_id_len.into();
        (0..4).for_each(|i| words[4 + i] = crate::text::word(&self.build_id, i));
        words[8..16].copy_from_slice(&self.name.to_words());
        words
    }

    /// From a copy of the slot. An impossible build-id length reads as none.
    #[must_use]
    pub fn from_words(words: &[u64; IMAGE_WORDS]) -> Slot<Self> {
        let mut build_id = [0; 32];
        build_id.chunks_exact_mut(8).zip(&words[5..9]).for_each(|(b, w)| b.copy_from_slice(&w.to_le_bytes()));
        let build_id_len = u8::try_from(words[4]).ok().filter(|&len| len <= 32).unwrap_or(0);
        let entry = Self {
            range: (GuestVirtual(words[1]), GuestVirtual(words[2])),
            bias: words[3],
            build_id_len,
            build_id,
            name: FixedText::from_words(core::array::from_fn(|i| words[9 + i])),
        };
        slot(words[0], entry)
    }
}

/// Why a guest died.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum CrashReason {
    /// The kernel's own panic.
    Panic = 1,
    /// An exception that nothing handles; the vector is in the record.
    Exception = 2,
    /// No memory left.
    OutOfMemory = 3,
}

/// Registers at a crash, x86_64: rax rbx rcx rdx rsi rdi rbp rsp r8 … r15.
pub const REGISTERS: usize = 16;

/// The first death of one vCPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CrashRecord {
    /// Why.
    pub reason: CrashReason,
    /// Exception vector, where the reason is one.
    pub vector: u8,
    /// When.
    pub tsc: u64,
    /// On which thread.
    pub thread: u32,
    /// Instruction pointer.
    pub rip: u64,
    /// Flags.
    pub rflags: u64,
    /// Faulting address of a page fault.
    pub cr2: u64,
    /// Page tables in use.
    pub cr3: GuestPhysical,
    /// Error code of the exception.
    pub error_code: u64,
    /// General registers.
    pub registers: [u64; REGISTERS],
    /// What the kernel said.
    pub message: FixedText<32>,
}

impl CrashRecord {
    /// The slot's words after the claim word.
    #[must_use]
    pub fn to_words(&self) -> [u64; CRASH_WORDS - 1] {
        let mut words = [0; CRASH_WORDS - 1];
        words[0] = self.reason as u64 | u64::from(self.vector) << 8 | u64::from(self.thread) << 32;
        words[1] = self.tsc;
        words[2] = self.rip;
        words[3] = self.rflags;
        words[4] = self.cr2;
        words[5] = self.cr3.0;
        words[6] = self.error_code;
        words[7..23].copy_from_slice(&self.registers);
        words[23..55].copy_from_slice(&self.message.to_words());
        words
    }

    /// From a copy of the slot: its first word is 0 while empty, 1 while claimed, 2 when whole.
    #[must_use]
    pub fn from_words(words: &[u64; CRASH_WORDS]) -> Slot<Self> {
        let reason = match words[1] as u8 {
            2 => CrashReason::Exception,
            3 => CrashReason::OutOfMemory,
            _ => CrashReason::Panic,
        };
        let entry = Self {
            reason,
            vector: (words[1] >> 8) as u8,
            tsc: words[2],
            thread: (words[1] >> 32) as u32,
            rip: words[3],
            rflags: words[4],
            cr2: words[5],
            cr3: GuestPhysical(words[6]),
            error_code: words[7],
            registers: core::array::from_fn(|i| words[8 + i]),
            message: FixedText::from_words(core::array::from_fn(|i| words[24 + i])),
        };
        slot(words[0], entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_sequence<const N: usize>(sequence: u64, words: &[u64]) -> [u64; N] {
        core::array::from_fn(|i| if i == 0 { sequence } else { words[i - 1] })
    }

    #[test]
    fn entries_round_trip() {
        let image = ImageEntry {
            range: (GuestVirtual(1), GuestVirtual(2)),
            bias: 3,
            build_id_len: 20,
            build_id: core::array::from_fn(|i| i as u8),
            name: FixedText::new(b"kernel"),
        };
        assert_eq!(ImageEntry::from_words(&with_sequence(2, &image.to_words())), Slot::Whole(image));

        let crash = CrashRecord {
            reason: CrashReason::Exception,
            vector: 14,
            tsc: 1,
            thread: 2,
            rip: 3,
            rflags: 4,
            cr2: 5,
            cr3: GuestPhysical(6),
            error_code: 7,
            registers: core::array::from_fn(|i| i as u64),
            message: FixedText::new(b"page fault"),
        };
        assert_eq!(CrashRecord::from_words(&with_sequence(2, &crash.to_words())), Slot::Whole(crash));
    }
}
