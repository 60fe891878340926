//! The end of the machine: QEMU's `isa-debug-exit` device, where the status becomes `(value << 1) | 1`.

use super::{cpu, port};

const PORT: u16 = 0x501;

/// Leaves QEMU. Without the device the vCPU halts and QEMU goes on.
pub(crate) fn exit(value: u8) -> ! {
    // SAFETY: the port belongs to `isa-debug-exit`, or to nothing.
    unsafe { port::write8(PORT, value) }
    cpu::halt_forever()
}
