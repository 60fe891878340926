//! How the machine ends, and what its starter reads from that.

use crate::{arch, drain};

/// The value written to QEMU's `isa-debug-exit`; QEMU's own status is twice that plus one.
#[derive(Clone, Copy)]
#[repr(u8)]
pub(crate) enum Exit {
    /// The workload has ended: status 33.
    Done = 0x10,
    /// A panic or an exception: status 35.
    Crashed = 0x11,
    /// The command line asks for what is not there: status 37.
    Usage = 0x12,
}

pub(crate) fn exit(exit: Exit) -> ! {
    drain::flush();
    arch::exit(exit as u8)
}
