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
//! ```

use crate::address::{GuestPhysical, GuestVirtual};
use crate::record::{CLASSES, SwitchReason};
use crate::text::FixedText;

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

/// What a thread was doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ThreadState {
    /// Can run, does not.
    #[default]
    Ready = 0,
    /// Runs on `vcpu`.
    Running = 1,
    /// Waits for a lock, another thread or a message.
    Blocked = 2,
    /// Sleeps until a time.
    Sleeping = 3,
    /// Has ended.
    Exited = 4,
}

impl ThreadState {
    /// The state that a thread is in after leaving the CPU for `reason`.
    #[must_use]
    pub const fn after(reason: SwitchReason) -> Self {
        match reason {
            SwitchReason::Preempted | SwitchReason::Yielded | SwitchReason::Idle => Self::Ready,
            SwitchReason::Blocked => Self::Blocked,
            SwitchReason::Sleeping => Self::Sleeping,
            SwitchReason::Exited => Self::Exited,
        }
    }

    const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::Ready,
            1 => Self::Running,
            2 => Self::Blocked,
            3 => Self::Sleeping,
            4 => Self::Exited,
            _ => return None,
        })
    }
}

/// Word numbers of [`ThreadEntry`], for the guest, which changes single fields.
pub mod thread_field {
    /// Sequence: 0 empty, odd while being changed.
    pub const SEQUENCE: usize = 0;
    /// Thread id in the low half, state and vCPU in the high half.
    pub const ID_STATE: usize = 1;
    /// Saved instruction pointer.
    pub const RIP: usize = 5;
    /// Saved stack pointer.
    pub const RSP: usize = 6;
    /// Saved frame pointer.
    pub const RBP: usize = 7;
    /// TSC ticks of CPU time so far.
    pub const CPU_TIME: usize = 8;
    /// TSC at which it last got the CPU.
    pub const SINCE: usize = 9;
}

/// One thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ThreadEntry {
    /// Its number.
    pub id: u32,
    /// What it was doing.
    pub state: ThreadState,
    /// vCPU that it runs or last ran on.
    pub vcpu: u16,
    /// Its entry function.
    pub entry: GuestVirtual,
    /// Its stack, low and high end.
    pub stack: (GuestVirtual, GuestVirtual),
    /// Instruction, stack and frame pointer while it does not run.
    pub saved: [u64; 3],
    /// TSC ticks of CPU time up to the last switch.
    pub cpu_time: u64,
    /// TSC at which it last got the CPU.
    pub since: u64,
    /// Its name.
    pub name: FixedText<8>,
}

impl ThreadEntry {
    /// Word [`thread_field::ID_STATE`].
    #[must_use]
    pub const fn id_state(id: u32, state: ThreadState, vcpu: u16) -> u64 {
        id as u64 | (state as u64) << 32 | (vcpu as u64) << 48
    }

    /// The slot's words after the sequence word.
    #[must_use]
    pub fn to_words(&self) -> [u64; THREAD_WORDS - 1] {
        let mut words = [0; THREAD_WORDS - 1];
        words[0] = Self::id_state(self.id, self.state, self.vcpu);
        words[1] = self.entry.0;
        words[2] = self.stack.0.0;
        words[3] = self.stack.1.0;
        words[4..7].copy_from_slice(&self.saved);
        words[7] = self.cpu_time;
        words[8] = self.since;
        words[9..17].copy_from_slice(&self.name.to_words());
        words
    }

    /// From a copy of the slot. An unknown state reads as [`ThreadState::Ready`] in a torn slot.
    #[must_use]
    pub fn from_words(words: &[u64; THREAD_WORDS]) -> Slot<Self> {
        let state = ThreadState::from_number((words[1] >> 32) as u8);
        let entry = Self {
            id: words[1] as u32,
            state: state.unwrap_or_default(),
            vcpu: (words[1] >> 48) as u16,
            entry: GuestVirtual(words[2]),
            stack: (GuestVirtual(words[3]), GuestVirtual(words[4])),
            saved: [words[5], words[6], words[7]],
            cpu_time: words[8],
            since: words[9],
            name: FixedText::from_words(core::array::from_fn(|i| words[10 + i])),
        };
        let sequence = if state.is_none() && words[0] != 0 { words[0] | 1 } else { words[0] };
        slot(sequence, entry)
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

/// What one collector asks of the guest. The guest serves the highest rate, the union of the classes and the longest
/// snapshots of all requests whose lease lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ControlRequest {
    /// Who asks: any number but 0 that no other collector uses.
    pub owner: u64,
    /// Goes up while the collector lives; a request that shows no new value for `lease_ms` is dropped.
    pub renewals: u64,
    /// How long a request lives without renewal, in milliseconds; the guest caps it at a minute.
    pub lease_ms: u32,
    /// Samples per second and vCPU; the guest caps it.
    pub rate: u32,
    /// Classes wanted, a bit each.
    pub classes: u64,
    /// Bytes of stack that each sample shall take along, for the host to unwind; 0: return addresses that the guest finds by
    /// frame pointers. The guest caps it.
    pub snapshot_bytes: u32,
}

impl ControlRequest {
    /// Words of a slot that are in use, with the sequence word.
    pub const WORDS: usize = 7;

    /// The slot's words after the sequence word.
    #[must_use]
    pub fn to_words(&self) -> [u64; Self::WORDS - 1] {
        let Self { owner, renewals, lease_ms, rate, classes, snapshot_bytes } = *self;
        [owner, renewals, lease_ms.into(), rate.into(), classes, snapshot_bytes.into()]
    }

    /// From the first words of the slot.
    #[must_use]
    pub fn from_words(words: &[u64; Self::WORDS]) -> Slot<Self> {
        let entry = Self {
            owner: words[1],
            renewals: words[2],
            lease_ms: words[3] as u32,
            rate: words[4] as u32,
            classes: words[5] & ((1 << CLASSES) - 1),
            snapshot_bytes: words[6] as u32,
        };
        if entry.owner == 0 { Slot::Empty } else { slot(words[0], entry) }
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
        let thread = ThreadEntry {
            id: 7,
            state: ThreadState::Blocked,
            vcpu: 3,
            entry: GuestVirtual(0x1000),
            stack: (GuestVirtual(0x2000), GuestVirtual(0x3000)),
            saved: [1, 2, 3],
            cpu_time: 4,
            since: 5,
            name: FixedText::new(b"worker"),
        };
        assert_eq!(ThreadEntry::from_words(&with_sequence(2, &thread.to_words())), Slot::Whole(thread));
        assert_eq!(ThreadEntry::from_words(&with_sequence(3, &thread.to_words())), Slot::Torn(thread));
        assert_eq!(ThreadEntry::from_words(&with_sequence(0, &thread.to_words())), Slot::Empty);

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

        let request =
            ControlRequest { owner: 1, renewals: 2, lease_ms: 3, rate: 4, classes: 5, snapshot_bytes: 6 };
        assert_eq!(ControlRequest::from_words(&with_sequence(2, &request.to_words())), Slot::Whole(request));
    }
}
