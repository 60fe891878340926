//! Descriptor tables of one vCPU: segments, the task state segment with its interrupt stacks, and the shared gates.

use core::arch::asm;
use core::cell::UnsafeCell;
use core::mem::size_of;

use super::trap;

/// Interrupt stacks: `core` is compiled with a red zone, so no interrupt may push onto the interrupted stack. The four
/// that can strike inside any other handler have their own.
#[derive(Clone, Copy)]
pub(super) enum InterruptStack {
    Nmi = 1,
    DoubleFault = 2,
    MachineCheck = 3,
    PageFault = 4,
    Interrupt = 5,
    Fault = 6,
}

const STACKS: usize = 6;
const STACK_BYTES: usize = 16 << 10;
const CODE: u16 = 0x08;
const TASK: u16 = 0x18;
const CODE_SEGMENT: u64 = 0x00af_9b00_0000_ffff;
const DATA_SEGMENT: u64 = 0x00cf_9300_0000_ffff;

#[repr(C, packed(4))]
struct TaskState {
    reserved0: u32,
    privilege_stacks: [u64; 3],
    reserved1: u64,
    interrupt_stacks: [u64; 7],
    reserved2: u64,
    reserved3: u16,
    io_map: u16,
}

#[repr(C, align(16))]
struct Stacks([[u8; STACK_BYTES]; STACKS]);

#[repr(C, align(16))]
pub(super) struct Descriptors {
    segments: UnsafeCell<[u64; 5]>,
    task: UnsafeCell<TaskState>,
    stacks: UnsafeCell<Stacks>,
}

impl Descriptors {
    pub(super) const fn new() -> Self {
        Self {
            segments: UnsafeCell::new([0; 5]),
            task: UnsafeCell::new(TaskState {
                reserved0: 0,
                privilege_stacks: [0; 3],
                reserved1: 0,
                interrupt_stacks: [0; 7],
                reserved2: 0,
                reserved3: 0,
                io_map: 0,
            }),
            stacks: UnsafeCell::new(Stacks([[0; STACK_BYTES]; STACKS])),
        }
    }

    /// Fills the tables and loads them into this vCPU.
    ///
    /// # Safety
    /// Once for each vCPU, with interrupts off, and no other vCPU may use the same tables.
    pub(super) unsafe fn load(&'static self) {
        // SAFETY: the caller is the only user of these tables until they are loaded; the processor then marks the task segment as
        // in use, and nobody else writes there.
        let (segments, task) = unsafe { (&mut *self.segments.get(), &mut *self.task.get()) };
        for index in 0..STACKS {
            let top = self.stacks.get().addr() + (index + 1) * STACK_BYTES;
            task.interrupt_stacks[index] = top as u64;
        }
        task.io_map = size_of::<TaskState>() as u16;
        let base = self.task.get().addr() as u64;
        let limit = size_of::<TaskState>() as u64 - 1;
        segments[1] = CODE_SEGMENT;
        segments[2] = DATA_SEGMENT;
        segments[3] = limit | (base & 0x00ff_ffff) << 16 | 0x89 << 40 | (base >> 24 & 0xff) << 56;
        segments[4] = base >> 32;
        let table = TablePointer::to(segments.as_ptr(), size_of::<[u64; 5]>());
        // SAFETY: code and data segments are the same as the ones in use; the task segment was just made.
        unsafe {
            asm!("lgdt [{}]", in(reg) &table, options(readonly, nostack, preserves_flags));
            asm!("ltr {:x}", in(reg) TASK, options(nostack, preserves_flags));
        }
        let gates = TablePointer::to((&raw const GATES).cast(), size_of::<Gates>());
        // SAFETY: the gates were filled by `fill_gates`, or are absent: then an interrupt ends in a triple fault.
        unsafe { asm!("lidt [{}]", in(reg) &gates, options(readonly, nostack, preserves_flags)) };
    }
}

#[repr(C, packed)]
struct TablePointer {
    limit: u16,
    base: u64,
}

impl TablePointer {
    fn to(base: *const u64, bytes: usize) -> Self {
        Self { limit: (bytes - 1) as u16, base: base.addr() as u64 }
    }
}

#[repr(C, align(16))]
struct Gates([[u64; 2]; 256]);

static mut GATES: Gates = Gates([[0; 2]; 256]);

/// Fills the interrupt gates that all vCPUs share.
///
/// # Safety
/// Once, before any vCPU loads its tables.
pub(super) unsafe fn fill_gates() {
    for vector in 0..256 {
        let Some(stub) = trap::stub(vector) else { continue };
        let stack = match vector {
            2 => InterruptStack::Nmi,
            8 => InterruptStack::DoubleFault,
            14 => InterruptStack::PageFault,
            18 => InterruptStack::MachineCheck,
            0..32 => InterruptStack::Fault,
            _ => InterruptStack::Interrupt,
        };
        let address = stub as u64;
        let low = address & 0xffff
            | u64::from(CODE) << 16
            | (stack as u64) << 32
            | 0x8e << 40
            | (address >> 16 & 0xffff) << 48;
        // SAFETY: the caller says that nobody else is here, and no processor uses the table yet.
        unsafe { GATES.0[vector] = [low, address >> 32] };
    }
}

/// Lets page faults of all vCPUs use the stack of whoever faults.
///
/// # Safety
/// Page faults then write over the red zone of whoever faults, and one whose stack pointer leads nowhere ends in a double fault.
pub(crate) unsafe fn take_stack_from_page_faults() {
    const PAGE_FAULT: usize = 14;
    // SAFETY: as the caller wishes; one word, which the processor reads whole.
    unsafe {
        let gate = &raw mut GATES.0[PAGE_FAULT][0];
        gate.write_volatile(gate.read_volatile() & !(7 << 32));
    }
}

/// Gives this vCPU an interrupt descriptor table without a single gate.
///
/// # Safety
/// The next interrupt or exception shuts the processor down.
pub(crate) unsafe fn unload_interrupt_table() {
    let none = TablePointer { limit: 0, base: 0 };
    // SAFETY: as the caller wishes.
    unsafe { asm!("lidt [{}]", in(reg) &none, options(readonly, nostack, preserves_flags)) };
}
