//! Interrupts as messages of a PCI device (MSI-X): PCI Local Bus Specification 3.0, section 6.8.2. What they write is Intel SDM volume 3,
//! "Message Signalled Interrupts".

use super::pci::Function;
use super::{map_device_memory, trap};

const CAPABILITY: u8 = 0x11;
const ENABLED: u32 = 1 << 31;
const ALL_MASKED: u32 = 1 << 30;
/// Words of an entry: address, its upper half, data, control.
const ENTRY_WORDS: usize = 4;
const TO_LOCAL_APIC: u32 = 0xfee0_0000;

/// Lets the first message of the function be the network device's interrupt of a vCPU. False when it has no messages. On the boot vCPU, before
/// others run.
pub(crate) fn route_network_messages(function: Function, vcpu: u32) -> bool {
    let Some(capability) = function.capability(CAPABILITY) else { return false };
    let table = function.word(capability + 4);
    let Some(window) = function.memory((table & 0b111) as u8) else { return false };
    let at = window.start + u64::from(table & !0b111);
    let Some(entry) = map_device_memory(at..at + (ENTRY_WORDS * 4) as u64) else { return false };
    let words = [TO_LOCAL_APIC | vcpu << 12, 0, u32::from(trap::NETWORK), 0];
    for (index, word) in words.into_iter().enumerate() {
        // SAFETY: the first entry of the function's table, which was just mapped; it leads to a vector that has a gate.
        unsafe { entry.cast::<u32>().add(index).write_volatile(word) };
    }
    let control = function.word(capability);
    // SAFETY: messages go to the local APIC, as the table says.
    unsafe { function.write(capability, (control | ENABLED) & !ALL_MASKED) };
    true
}
