//! What a kernel implements, bound at link time so that probes in any crate reach it without a pointer.

use core::ops::Range;

/// A thread's number, the kernel's own; 0 means "no thread".
pub type ThreadId = u32;

/// What the probes ask of a kernel.
///
/// # Safety
/// Implementers promise, for every function: callable from threads, interrupt handlers and NMIs; takes no
/// lock, does not fault, does not allocate, calls no probe. Besides:
///
/// - `vcpu` returns a number below [`Config::vcpus`](crate::Config::vcpus), different for vCPUs that run at the same time;
/// - between `pin` and `unpin` the calling thread is neither switched out nor migrated. Handlers still run, and
///   may themselves probe; a handler that would switch threads defers that until after `unpin`. Pins nest. The last
///   `unpin` may make up for such a switch itself, under the scheduler's lock, where an interrupt could have
///   switched: in a thread with interrupts on.
/// - `stack` returns memory that can be read without a fault.
pub unsafe trait Platform {
    /// The vCPU's clock, in ticks of `Config::tsc_hz`. On x86_64: `rdtsc`.
    fn now() -> u64;
    /// Number of the calling vCPU, from 0.
    fn vcpu() -> u32;
    /// Keeps the calling thread on its vCPU.
    fn pin();
    /// Ends what `pin` began.
    fn unpin();
    /// Address range of the running thread's stack; empty where it is unknown.
    fn stack() -> Range<usize>;
    /// The running thread.
    fn thread() -> ThreadId;
}

/// Makes a type that implements [`Platform`] the platform of this kernel. Once per kernel, in any crate.
#[macro_export]
macro_rules! platform {
    ($platform:ty) => {
        const _: () = {
            use $crate::Platform;
            #[unsafe(no_mangle)]
            extern "Rust" fn uniprof_platform_now() -> u64 {
                <$platform as Platform>::now()
            }
            #[unsafe(no_mangle)]
            extern "Rust" fn uniprof_platform_vcpu() -> u32 {
                <$platform as Platform>::vcpu()
            }
            #[unsafe(no_mangle)]
            extern "Rust" fn uniprof_platform_pin() {
                <$platform as Platform>::pin()
            }
            #[unsafe(no_mangle)]
            extern "Rust" fn uniprof_platform_unpin() {
                <$platform as Platform>::unpin()
            }
            #[unsafe(no_mangle)]
            extern "Rust" fn uniprof_platform_stack() -> ::core::ops::Range<usize> {
                <$platform as Platform>::stack()
            }
            #[unsafe(no_mangle)]
            extern "Rust" fn uniprof_platform_thread() -> $crate::ThreadId {
                <$platform as Platform>::thread()
            }
        };
    };
}

// SAFETY: `platform!` defines each with this very signature from a `Platform`, whose contract makes them
// callable from anywhere.
unsafe extern "Rust" {
    #[link_name = "uniprof_platform_now"]
    pub(crate) safe fn now() -> u64;
    #[link_name = "uniprof_platform_vcpu"]
    pub(crate) safe fn vcpu() -> u32;
    #[link_name = "uniprof_platform_pin"]
    safe fn pin();
    #[link_name = "uniprof_platform_unpin"]
    safe fn unpin();
    #[link_name = "uniprof_platform_stack"]
    pub(crate) safe fn stack() -> Range<usize>;
    #[link_name = "uniprof_platform_thread"]
    pub(crate) safe fn thread() -> ThreadId;
}

/// Pins the calling thread while it lives.
pub(crate) struct Pinned(());

impl Pinned {
    #[inline(always)]
    pub(crate) fn new() -> Self {
        pin();
        Self(())
    }
}

impl Drop for Pinned {
    #[inline(always)]
    fn drop(&mut self) {
        unpin();
    }
}
