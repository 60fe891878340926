//! The console: a 16550 at the first standard port.

use super::port;

const DATA: u16 = 0x3f8;
const LINE_CONTROL: u16 = DATA + 3;
const LINE_STATUS: u16 = DATA + 5;
const TRANSMITTER_EMPTY: u8 = 1 << 5;

/// A port without a device never reports an empty transmitter, and a console must not hang its kernel.
const PATIENCE: u32 = 100_000;

pub(super) fn init() {
    // SAFETY: these registers of the UART control the line and its interrupts, not memory.
    unsafe {
        port::write8(DATA + 1, 0);
        port::write8(LINE_CONTROL, 0x80);
        port::write8(DATA, 1);
        port::write8(DATA + 1, 0);
        port::write8(LINE_CONTROL, 0x03);
        port::write8(DATA + 2, 0x07);
        port::write8(DATA + 4, 0x03);
    }
}

/// Writes bytes as they are. Two callers at once mix their bytes; `console` keeps lines whole.
pub(crate) fn write(bytes: &[u8]) {
    for &byte in bytes {
        // SAFETY: reading the status and sending a byte concern the UART only.
        unsafe {
            for _ in 0..PATIENCE {
                if port::read8(LINE_STATUS) & TRANSMITTER_EMPTY != 0 {
                    break;
                }
            }
            port::write8(DATA, byte);
        }
    }
}
