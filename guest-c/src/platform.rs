//! What the kernel provides.

use core::ops::Range;

use uniprof_probes::{Platform, ThreadId, platform};

/// Address range of a stack: from its lowest byte to the one after its last; both 0 where it is unknown.
#[repr(C)]
pub struct Stack {
    /// Lowest address.
    pub low: usize,
    /// Address after the last byte.
    pub high: usize,
}

// The kernel defines these six functions. Of each it promises: callable from threads, interrupt handlers and NMIs; takes no lock,
// does not fault, does not allocate, calls no probe, uses no SSE register that the interrupted code could be using.
unsafe extern "C" {
    /// The kernel provides this: the vCPU's clock, in ticks of `uniprof_config.clock_hz`, which never goes back on one vCPU. On x86_64
    /// it is `rdtsc`: hosts compare it with the time stamp counter. Called once or twice for each record.
    pub fn uniprof_os_now() -> u64;
    /// The kernel provides this: the number of the calling vCPU, from 0, below `uniprof_config.vcpus` (those beyond run unobserved).
    /// Called for each record.
    pub fn uniprof_os_vcpu() -> u32;
    /// The kernel provides this: from here to `uniprof_os_unpin` the calling thread is neither switched out nor moved to another vCPU.
    /// Interrupts may go on; a handler that would switch threads defers that. Pins nest. A kernel that never switches threads from
    /// interrupts does nothing here; one without a counter of such may switch interrupts off, if it keeps what they were.
    pub fn uniprof_os_pin();
    /// The kernel provides this: ends what `uniprof_os_pin` began. The last may make up for a deferred switch.
    pub fn uniprof_os_unpin();
    /// The kernel provides this: the stack of the running thread, all of which can be read. In an interrupt: of the interrupted one.
    /// Called for each sample, and for records that have a stack.
    pub fn uniprof_os_stack() -> Stack;
    /// The kernel provides this: the number of the running thread; 0 where there is none (idle, boot). Called for each record.
    pub fn uniprof_os_thread() -> u32;
}

struct Kernel;

// SAFETY: the kernel has promised the same of the C functions.
unsafe impl Platform for Kernel {
    #[inline(always)]
    fn now() -> u64 {
        // SAFETY: callable from anywhere, as promised.
        unsafe { uniprof_os_now() }
    }

    #[inline(always)]
    fn vcpu() -> u32 {
        // SAFETY: as above.
        unsafe { uniprof_os_vcpu() }
    }

    #[inline(always)]
    fn pin() {
        // SAFETY: as above.
        unsafe { uniprof_os_pin() }
    }

    #[inline(always)]
    fn unpin() {
        // SAFETY: as above.
        unsafe { uniprof_os_unpin() }
    }

    #[inline(always)]
    fn stack() -> Range<usize> {
        // SAFETY: as above.
        let Stack { low, high } = unsafe { uniprof_os_stack() };
        low..high
    }

    #[inline(always)]
    fn thread() -> ThreadId {
        // SAFETY: as above.
        unsafe { uniprof_os_thread() }
    }
}
platform!(Kernel);
