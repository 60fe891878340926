//! The `pvpanic` device, through which a guest tells its hypervisor that it is dead (`docs/specs/pvpanic.txt` in QEMU's tree).

use super::{cpu, fw_cfg, port};

const PORT_FILE: &str = "etc/pvpanic-port";
const PANICKED: u8 = 1 << 0;
/// What a port without a device reads as.
const NOBODY: u8 = 0xff;

/// Tells the hypervisor, where it has the device. With QEMU's `-action panic=pause` the machine stops here; by default it ends.
pub(crate) fn announce() {
    let Some(port) = fw_cfg::read_file(PORT_FILE).map(u16::from_le_bytes) else { return };
    // SAFETY: the port belongs to the device, which changes no memory. Bits that it reads back are the events that it takes.
    unsafe {
        let taken = port::read8(port);
        if taken != NOBODY && taken & PANICKED != 0 {
            port::write8(port, PANICKED);
        }
    }
    // An emulator stops the vCPU where its translated code comes to an end, which the next instruction need not be.
    cpu::linger();
}
