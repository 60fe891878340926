//! KVM's paravirtual clock, asked for the TSC frequency that the host uses for this guest.
//! Layout and arithmetic: Linux, `Documentation/virt/kvm/x86/msr.rst`.

use core::arch::x86_64::__cpuid;
use core::cell::UnsafeCell;

use super::msr;

const SIGNATURE_LEAF: u32 = 0x4000_0000;
const FEATURES_LEAF: u32 = 0x4000_0001;
const SIGNATURE: [u32; 3] =
    [u32::from_le_bytes(*b"KVMK"), u32::from_le_bytes(*b"VMKV"), u32::from_le_bytes(*b"M\0\0\0")];
const CLOCK_SOURCE_2: u32 = 1 << 3;
const SYSTEM_TIME: u32 = 0x4b56_4d01;

#[repr(C, align(32))]
struct TimeInfo {
    version: u32,
    padding0: u32,
    tsc_timestamp: u64,
    system_time: u64,
    tsc_to_system_mul: u32,
    tsc_shift: i8,
    flags: u8,
    padding: [u8; 2],
}

struct Shared(UnsafeCell<TimeInfo>);

// SAFETY: only the boot vCPU looks at it, and only while it asks the host.
unsafe impl Sync for Shared {}

static TIME_INFO: Shared = Shared(UnsafeCell::new(TimeInfo {
    version: 0,
    padding0: 0,
    tsc_timestamp: 0,
    system_time: 0,
    tsc_to_system_mul: 0,
    tsc_shift: 0,
    flags: 0,
    padding: [0; 2],
}));

/// TSC ticks per second as the host states them; `None` without KVM.
pub(super) fn tsc_hz() -> Option<u64> {
    let signature = __cpuid(SIGNATURE_LEAF);
    if [signature.ebx, signature.ecx, signature.edx] != SIGNATURE || signature.eax < FEATURES_LEAF {
        return None;
    }
    if __cpuid(FEATURES_LEAF).eax & CLOCK_SOURCE_2 == 0 {
        return None;
    }
    let info = TIME_INFO.0.get();
    // SAFETY: the feature bit says that the register exists. The host writes into `TIME_INFO` between the two writes, and
    // has done so when the first returns.
    let (multiplier, shift) = unsafe {
        msr::write(SYSTEM_TIME, info.addr() as u64 | 1);
        let answer = (
            (&raw const (*info).tsc_to_system_mul).read_volatile(),
            (&raw const (*info).tsc_shift).read_volatile(),
        );
        msr::write(SYSTEM_TIME, 0);
        answer
    };
    hz_from(multiplier, shift)
}

/// Nanoseconds = (ticks shifted left by `shift`) × `multiplier` / 2^32, solved for a second.
fn hz_from(multiplier: u32, shift: i8) -> Option<u64> {
    if multiplier == 0 || shift.unsigned_abs() > 31 {
        return None;
    }
    let scaled = (1_000_000_000_u128 << 32) / u128::from(multiplier);
    let hz = if shift < 0 { scaled << -shift } else { scaled >> shift };
    u64::try_from(hz).ok().filter(|&hz| hz > 0)
}
