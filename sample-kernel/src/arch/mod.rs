//! What depends on the processor and the machine around it. The rest of the kernel sees only this module's face.

#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64::*;
