//! QEMU's firmware configuration device, asked for the number of vCPUs (`docs/specs/fw_cfg.txt` in QEMU's tree).

use super::port;

const SELECTOR: u16 = 0x510;
const DATA: u16 = 0x511;
const SIGNATURE: u16 = 0x00;
const VCPUS: u16 = 0x05;

fn read<const N: usize>(key: u16) -> [u8; N] {
    // SAFETY: selecting a key and reading its bytes changes nothing but the device's own position.
    unsafe {
        port::write16(SELECTOR, key);
        core::array::from_fn(|_| port::read8(DATA))
    }
}

/// How many vCPUs the machine started with; 1 where QEMU does not say.
pub(crate) fn vcpu_count() -> u32 {
    if &read::<4>(SIGNATURE) != b"QEMU" {
        return 1;
    }
    u16::from_le_bytes(read(VCPUS)).max(1).into()
}
