//! Starting the other vCPUs: INIT, start-up, start-up (Intel SDM volume 3, "Multiple-Processor Initialization").

use core::arch::global_asm;
use core::ops::Range;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use super::{apic, cpu, tsc};

/// Below 1 MiB, in memory that no firmware of QEMU keeps: the first thing a vCPU executes must lie there.
const PAGE: usize = 0x8000;

/// Processors since 2010 need no pause after INIT (Linux: `init_udelay`), and older ones are not emulated.
const AFTER_INIT_US: u64 = 20;
const AFTER_START_UP_US: u64 = 200;
/// How long the host of a busy machine may need to give a vCPU its first time slice.
const PATIENCE_US: u64 = 5_000_000;

static STACK_LOW: AtomicUsize = AtomicUsize::new(0);
static STACK_TOP: AtomicUsize = AtomicUsize::new(0);
static STARTING: AtomicU32 = AtomicU32::new(0);
/// The highest vCPU that has arrived in Rust code.
static ARRIVED: AtomicU32 = AtomicU32::new(0);

global_asm!(include_str!("trampoline.s"), page = const PAGE, stack = sym STACK_TOP);

unsafe extern "C" {
    static ap_trampoline: u8;
    static ap_trampoline_end: u8;
}

/// Starts a vCPU on the stack, one at a time, in rising order from 1; false when it does not answer.
///
/// # Safety
/// The stack must be nobody else's, for ever, and end at a multiple of 16.
pub(crate) unsafe fn start(vcpu: u32, stack: Range<usize>) -> bool {
    let from = &raw const ap_trampoline;
    let bytes = (&raw const ap_trampoline_end).addr() - from.addr();
    // SAFETY: the page is conventional memory that the kernel uses for nothing else.
    unsafe { core::ptr::copy_nonoverlapping(from, PAGE as *mut u8, bytes) };
    STACK_LOW.store(stack.start, Ordering::SeqCst);
    STACK_TOP.store(stack.end, Ordering::SeqCst);
    STARTING.store(vcpu, Ordering::SeqCst);

    apic::send_init(vcpu);
    apic::delay(microseconds(AFTER_INIT_US));
    for _ in 0..2 {
        apic::send_start_up(vcpu, (PAGE >> 12) as u8);
        if arrives(vcpu, AFTER_START_UP_US) {
            return true;
        }
    }
    arrives(vcpu, PATIENCE_US)
}

fn microseconds(us: u64) -> u64 {
    tsc::hz() / 1_000_000 * us
}

fn arrives(vcpu: u32, within_us: u64) -> bool {
    let start = tsc::now();
    while tsc::now().wrapping_sub(start) < microseconds(within_us) {
        if ARRIVED.load(Ordering::Acquire) == vcpu {
            return true;
        }
        cpu::linger();
    }
    false
}

#[unsafe(no_mangle)]
extern "C" fn ap_entry() -> ! {
    let vcpu = STARTING.load(Ordering::SeqCst);
    let stack = STACK_LOW.load(Ordering::SeqCst)..STACK_TOP.load(Ordering::SeqCst);
    crate::boot::start_secondary(vcpu, stack, || ARRIVED.store(vcpu, Ordering::Release))
}
