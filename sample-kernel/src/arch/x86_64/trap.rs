//! Interrupt entry: the stubs' Rust side.

use core::arch::global_asm;
use core::mem::{offset_of, size_of};

use super::{apic, exceptions};
use crate::probes::{Registers, interrupt};

pub(super) const TIMER: u8 = 0x20;
pub(super) const WAKE: u8 = 0x21;
pub(super) const CALIBRATION: u8 = 0x22;
pub(super) const SPURIOUS: u8 = 0x23;
/// The network device's.
pub(super) const NETWORK: u8 = 0x24;

const STUB_BYTES: usize = 16;
const FLOATING_POINT_BYTES: usize = 512;

/// What an interrupt stub leaves on its stack, lowest address first.
#[repr(C)]
pub(crate) struct TrapFrame {
    pub(crate) r15: u64,
    pub(crate) r14: u64,
    pub(crate) r13: u64,
    pub(crate) r12: u64,
    pub(crate) r11: u64,
    pub(crate) r10: u64,
    pub(crate) r9: u64,
    pub(crate) r8: u64,
    pub(crate) rdi: u64,
    pub(crate) rsi: u64,
    pub(crate) rbp: u64,
    pub(crate) rbx: u64,
    pub(crate) rdx: u64,
    pub(crate) rcx: u64,
    pub(crate) rax: u64,
    pub(crate) vector: u64,
    pub(crate) error: u64,
    pub(crate) rip: u64,
    pub(crate) cs: u64,
    pub(crate) rflags: u64,
    pub(crate) rsp: u64,
    pub(crate) ss: u64,
}

impl TrapFrame {
    /// The registers of the interrupted code that its callers want back.
    fn for_unwinding(&self) -> Registers {
        let &Self { rip, rsp, rbp, rbx, r12, r13, r14, r15, .. } = self;
        Registers { rip, rsp, rbp, rbx, r12, r13, r14, r15 }
    }
}

const MOVED: usize = FLOATING_POINT_BYTES + size_of::<TrapFrame>();
const _: () = assert!(MOVED.is_multiple_of(16), "the moved frame keeps the stack aligned");

global_asm!(
    include_str!("trap.s"),
    exception = sym exception_entry,
    interrupt = sym interrupt_entry,
    preempt = sym preempt_entry,
    frame_rsp = const FLOATING_POINT_BYTES + offset_of!(TrapFrame, rsp),
    frame_rip = const FLOATING_POINT_BYTES + offset_of!(TrapFrame, rip),
    moved = const MOVED,
);

unsafe extern "C" {
    static exception_stubs: u8;
    static interrupt_stubs: u8;
}

/// The entry point of a vector; `None` for the vectors that the kernel does not use.
pub(super) fn stub(vector: usize) -> Option<usize> {
    match vector {
        0..32 => Some((&raw const exception_stubs).addr() + vector * STUB_BYTES),
        0x20..0x25 => Some((&raw const interrupt_stubs).addr() + (vector - 0x20) * STUB_BYTES),
        _ => None,
    }
}

extern "C" fn exception_entry(frame: &TrapFrame) -> ! {
    exceptions::report(frame)
}

/// Handles an interrupt on the vCPU's interrupt stack; true when the thread shall be switched.
extern "C" fn interrupt_entry(frame: &TrapFrame) -> bool {
    match frame.vector as u8 {
        TIMER => interrupt(TIMER.into(), || {
            crate::tick::on_timer(&frame.for_unwinding());
            apic::end_of_interrupt();
        }),
        WAKE => interrupt(WAKE.into(), || {
            crate::sched::answer_bells();
            apic::end_of_interrupt();
        }),
        NETWORK => interrupt(NETWORK.into(), || {
            crate::net::on_interrupt();
            apic::end_of_interrupt();
        }),
        // A software interrupt needs no acknowledgement, and a spurious one must not get any.
        _ => return false,
    }
    crate::sched::wants_switch()
}

/// Runs on the interrupted thread's own stack, interrupts off.
extern "C" fn preempt_entry() {
    crate::sched::preempt();
}
