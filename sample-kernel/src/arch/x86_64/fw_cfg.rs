//! QEMU's firmware configuration device, asked for the number of vCPUs and for small files (`docs/specs/fw_cfg.txt` in QEMU's tree).

use super::port;

const SELECTOR: u16 = 0x510;
const DATA: u16 = 0x511;
const SIGNATURE: u16 = 0x00;
const VCPUS: u16 = 0x05;
const FILES: u16 = 0x19;
/// More files than QEMU ever has (`FW_CFG_FILE_SLOTS_DFLT` and some).
const MAX_FILES: u32 = 256;

fn select(key: u16) {
    // SAFETY: changes nothing but the device's own position.
    unsafe { port::write16(SELECTOR, key) }
}

/// The next bytes of what is selected.
fn next<const N: usize>() -> [u8; N] {
    // SAFETY: as above.
    core::array::from_fn(|_| unsafe { port::read8(DATA) })
}

fn read<const N: usize>(key: u16) -> [u8; N] {
    select(key);
    next()
}

/// The first bytes of a file; `None` where there is none of this name and of at least so many bytes.
pub(super) fn read_file<const N: usize>(name: &str) -> Option<[u8; N]> {
    if !is_there() {
        return None;
    }
    let files = u32::from_be_bytes(read(FILES)).min(MAX_FILES);
    for _ in 0..files {
        let bytes = u32::from_be_bytes(next());
        let key = u16::from_be_bytes(next());
        let _reserved: [u8; 2] = next();
        let file: [u8; 56] = next();
        if file.split(|&byte| byte == 0).next() == Some(name.as_bytes()) {
            return (bytes as usize >= N).then(|| read(key));
        }
    }
    None
}

fn is_there() -> bool {
    &read::<4>(SIGNATURE) == b"QEMU"
}

/// How many vCPUs the machine started with; 1 where QEMU does not say.
pub(crate) fn vcpu_count() -> u32 {
    if !is_there() {
        return 1;
    }
    u16::from_le_bytes(read(VCPUS)).max(1).into()
}
