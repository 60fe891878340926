//! The I/O APICs, for devices that have an interrupt line: `microvm` has one or two. Registers: 82093AA I/O Advanced Programmable Interrupt
//! Controller, Intel, 1996; where the lines are: QEMU, `hw/i386/microvm.c`.

use super::trap;

const FIRST: usize = 0xfec0_0000;
const SECOND: usize = 0xfec1_0000;
const SELECT: usize = 0x00;
const WINDOW: usize = 0x10;

const VERSION: u32 = 1;
const REDIRECTION: u32 = 0x10;
const PINS: u32 = 24;

/// Where a device's interrupt arrives.
#[derive(Clone, Copy, Debug)]
pub(crate) enum InterruptLine {
    /// A pin of the first I/O APIC.
    Pin(u32),
    /// Of the so-many-th device of `microvm`, which has said nothing of its line: it has the second I/O APIC for itself and its likes, or the
    /// upper pins of the first.
    OfPlace(u32),
}

fn read(base: usize, register: u32) -> u32 {
    // SAFETY: an I/O APIC's two words, or nobody's, in memory that boot maps and that is not RAM.
    unsafe {
        ((base + SELECT) as *mut u32).write_volatile(register);
        ((base + WINDOW) as *const u32).read_volatile()
    }
}

fn write(base: usize, register: u32, value: u32) {
    // SAFETY: as above; the entries that this file writes lead to a vector that has a gate.
    unsafe {
        ((base + SELECT) as *mut u32).write_volatile(register);
        ((base + WINDOW) as *mut u32).write_volatile(value);
    }
}

fn is_there(base: usize) -> bool {
    let version = read(base, VERSION);
    (0x10..0x30).contains(&(version & 0xff)) && version >> 16 & 0xff == PINS - 1
}

/// Lets the network device's line interrupt this vCPU, by its edge: the handler lowers the line before anybody looks at the device, so no edge
/// is missed. False when the machine has no such pin.
pub(crate) fn route(line: InterruptLine, vcpu: u32) -> bool {
    const UPPER_PINS: u32 = 16;
    let (base, pin) = match line {
        InterruptLine::Pin(pin) => (FIRST, pin),
        InterruptLine::OfPlace(place) if is_there(SECOND) => (SECOND, place),
        InterruptLine::OfPlace(place) => (FIRST, UPPER_PINS + place),
    };
    if pin >= PINS || !is_there(base) {
        return false;
    }
    write(base, REDIRECTION + 2 * pin + 1, vcpu << 24);
    write(base, REDIRECTION + 2 * pin, u32::from(trap::NETWORK));
    true
}
