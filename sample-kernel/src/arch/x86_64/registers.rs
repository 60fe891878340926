//! Registers at a crash.

use core::arch::asm;
use core::fmt;
use core::ops::Range;

use super::TrapFrame;

/// What a crash leaves of the processor's state.
pub(crate) struct Registers {
    /// rax rbx rcx rdx rsi rdi rbp rsp r8 … r15.
    pub(crate) general: [u64; 16],
    pub(crate) rip: u64,
    pub(crate) rflags: u64,
    pub(crate) cr2: u64,
    pub(crate) cr3: u64,
    /// All of `general` was saved by an exception, not only those that a panic knows.
    complete: bool,
    /// Exception vector and error code; 0 for a panic.
    pub(crate) vector: u8,
    pub(crate) error: u64,
}

const NAMES: [&str; 16] = [
    "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", "r8 ", "r9 ", "r10", "r11", "r12", "r13", "r14",
    "r15",
];
const RBP: usize = 6;
const RSP: usize = 7;

impl Registers {
    /// Those of an interrupted function.
    pub(super) fn of(frame: &TrapFrame) -> Self {
        let (cr2, cr3) = control_registers();
        Self {
            general: [
                frame.rax, frame.rbx, frame.rcx, frame.rdx, frame.rsi, frame.rdi, frame.rbp, frame.rsp,
                frame.r8, frame.r9, frame.r10, frame.r11, frame.r12, frame.r13, frame.r14, frame.r15,
            ],
            rip: frame.rip,
            rflags: frame.rflags,
            cr2,
            cr3,
            complete: true,
            vector: frame.vector as u8,
            error: frame.error,
        }
    }

    /// Those of the caller: where it is, where its stack is, and what its own callers want back, so that it can be unwound. The others
    /// have no meaning in compiled code.
    #[inline(always)]
    pub(crate) fn here() -> Self {
        let mut general = [0; 16];
        let (rip, rflags): (u64, u64);
        // SAFETY: stores six registers to the array, which has room for them, and reads the flags through the stack.
        unsafe {
            asm!(
                "mov [{0} + 8], rbx", "mov [{0} + 48], rbp", "mov [{0} + 56], rsp",
                "mov [{0} + 96], r12", "mov [{0} + 104], r13", "mov [{0} + 112], r14", "mov [{0} + 120], r15",
                in(reg) general.as_mut_ptr(), options(nostack, preserves_flags)
            );
            asm!("lea {}, [rip]", "pushfq", "pop {}", out(reg) rip, out(reg) rflags, options(preserves_flags));
        }
        let (cr2, cr3) = control_registers();
        Self { general, rip, rflags, cr2, cr3, complete: false, vector: 0, error: 0 }
    }

    /// The registers as lines of text.
    pub(crate) fn for_each_line(&self, mut line: impl FnMut(fmt::Arguments<'_>)) {
        line(format_args!(
            "rip {:016x} rflags {:08x} cr2 {:016x} cr3 {:016x}",
            self.rip, self.rflags, self.cr2, self.cr3
        ));
        if !self.complete {
            line(format_args!("rsp {:016x} rbp {:016x}", self.general[RSP], self.general[RBP]));
            return;
        }
        for (names, values) in NAMES.chunks(4).zip(self.general.chunks(4)) {
            line(format_args!(
                "{} {:016x} {} {:016x} {} {:016x} {} {:016x}",
                names[0], values[0], names[1], values[1], names[2], values[2], names[3], values[3]
            ));
        }
    }

    /// Follows the frame pointers inside `stack`, upward, and gives the return addresses.
    pub(crate) fn for_each_caller(&self, stack: &Range<usize>, limit: usize, mut caller: impl FnMut(u64)) {
        let mut frame = self.general[RBP] as usize;
        for _ in 0..limit {
            if !frame.is_multiple_of(8) || !stack.contains(&frame) || !stack.contains(&(frame + 15)) {
                return;
            }
            // SAFETY: inside the running thread's stack, aligned.
            let [next, address] = unsafe { *(frame as *const [usize; 2]) };
            if address == 0 {
                return;
            }
            caller(address as u64);
            if next <= frame {
                return;
            }
            frame = next;
        }
    }
}

/// The address of the last page fault, and the page tables.
fn control_registers() -> (u64, u64) {
    let (cr2, cr3): (u64, u64);
    // SAFETY: reads control registers.
    unsafe {
        asm!("mov {}, cr2", "mov {}, cr3", out(reg) cr2, out(reg) cr3, options(nomem, nostack, preserves_flags))
    }
    (cr2, cr3)
}
