//! The two legacy interrupt controllers, kept silent: the local APIC does all the work.

use super::port;

pub(super) fn mask_all() {
    // SAFETY: masks every line of both controllers; harmless where there are none.
    unsafe {
        port::write8(0x21, 0xff);
        port::write8(0xa1, 0xff);
    }
}
