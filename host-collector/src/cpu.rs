//! What a vCPU was doing: its registers, as far as whoever saved them knew them.

use uniprof_wire::address::GuestPhysical;

/// Names of the general registers, in the order of [`CpuState::general`].
pub const GENERAL: [&str; 16] = [
    "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
    "r15",
];
/// The frame pointer's place in [`CpuState::general`].
pub const RBP: usize = 6;
/// The stack pointer's place in [`CpuState::general`].
pub const RSP: usize = 7;

/// Who knew the registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StateSource {
    /// QEMU's own note of a vCPU in a dump: everything, control registers included.
    QemuNote,
    /// A `CORE`/`NT_PRSTATUS` note: the general registers.
    PrStatus,
    /// Xen's `.xen_prstatus` section.
    XenContext,
    /// The hypervisor was asked while the guest lived.
    Monitor,
    /// The crash record that the guest left in its region.
    CrashRecord,
    /// The thread table of the region: where the thread last left the CPU.
    ThreadTable,
    /// Given by the user.
    Given,
}

/// The state of one vCPU. `None` is what the source does not tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuState {
    /// Its number, from 0.
    pub vcpu: u32,
    /// Instruction pointer.
    pub rip: u64,
    /// rax rbx rcx rdx rsi rdi rbp rsp r8 … r15, see [`GENERAL`].
    pub general: [Option<u64>; 16],
    /// Flags.
    pub rflags: Option<u64>,
    /// Code segment selector; its low two bits are the privilege level.
    pub cs: Option<u16>,
    /// Base of the segment that per-thread data of user programs lies in.
    pub fs_base: Option<u64>,
    /// Base of the segment that per-CPU data of kernels lies in.
    pub gs_base: Option<u64>,
    /// Bit 31: paging is on.
    pub cr0: Option<u64>,
    /// Address of the last page fault.
    pub cr2: Option<u64>,
    /// Page tables, without the low bits that are no address.
    pub cr3: Option<GuestPhysical>,
    /// Bit 12: five levels of page tables.
    pub cr4: Option<u64>,
    /// Interrupt descriptor table: base and limit, the offset of its last byte.
    pub idt: Option<(u64, u32)>,
    /// Whether it waited in `hlt`.
    pub halted: Option<bool>,
    /// Where all this is from.
    pub source: StateSource,
}

impl CpuState {
    /// A state of which only the instruction pointer is known.
    #[must_use]
    pub fn new(vcpu: u32, rip: u64, source: StateSource) -> Self {
        Self {
            vcpu,
            rip,
            general: [None; 16],
            rflags: None,
            cs: None,
            fs_base: None,
            gs_base: None,
            cr0: None,
            cr2: None,
            cr3: None,
            cr4: None,
            idt: None,
            halted: None,
            source,
        }
    }

    /// Stack pointer.
    #[must_use]
    pub fn rsp(&self) -> Option<u64> {
        self.general[RSP]
    }

    /// Frame pointer.
    #[must_use]
    pub fn rbp(&self) -> Option<u64> {
        self.general[RBP]
    }

    /// Whether interrupts can be taken.
    #[must_use]
    pub fn interrupts_on(&self) -> Option<bool> {
        self.rflags.map(|flags| flags & 1 << 9 != 0)
    }
}
