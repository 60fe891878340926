//! What depends on the architecture: read-modify-writes that are atomic against this vCPU's own interrupts.

#[cfg(target_arch = "x86_64")]
#[path = "arch/x86_64.rs"]
mod current;
#[cfg(not(target_arch = "x86_64"))]
#[path = "arch/portable.rs"]
mod current;

pub use current::poll_here;
pub(crate) use current::{
    ARCHITECTURE, call_aside, frame, has_bits, local_add, local_compare_exchange, local_increment, nothing,
};

/// What [`call_aside`] calls.
type Aside = extern "C" fn(u64, u64, u64) -> u64;
