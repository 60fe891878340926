//! PCI configuration space through ports 0xcf8 and 0xcfc: finding a device and its memory window. Machines without PCI
//! answer with all ones, which reads as "no device".

use core::ops::Range;

use virtio_drivers::transport::pci::bus::{ConfigurationAccess, DeviceFunction};

use super::port;

const ADDRESS: u16 = 0xcf8;
const DATA: u16 = 0xcfc;

const IDENTITY: u8 = 0x00;
const COMMAND: u8 = 0x04;
const CLASS: u8 = 0x08;
const HEADER: u8 = 0x0c;
const BARS: u8 = 0x10;
const BUSES: u8 = 0x18;
const CAPABILITIES: u8 = 0x34;

const MEMORY_DECODING: u32 = 1 << 1;
const HAS_CAPABILITIES: u32 = 1 << 20;
/// More than fit into configuration space.
const MOST_CAPABILITIES: usize = 48;
const MULTIPLE_FUNCTIONS: u32 = 1 << 23;
const BRIDGE_CLASS: u32 = 0x0604;
const SIXTY_FOUR_BITS: u32 = 0b100;

/// One function of a device.
#[derive(Clone, Copy)]
pub(crate) struct Function {
    bus: u8,
    device: u8,
    function: u8,
}

/// The two ports, for those who know the function's place.
pub(crate) struct Ports;

impl ConfigurationAccess for Ports {
    fn read_word(&self, place: DeviceFunction, register: u8) -> u32 {
        Function::at(place).read(register)
    }

    fn write_word(&mut self, place: DeviceFunction, register: u8, value: u32) {
        // SAFETY: who has the ports writes what the function's driver may: its command and its windows, which firmware has placed.
        unsafe { Function::at(place).write(register, value) }
    }

    unsafe fn unsafe_clone(&self) -> Self {
        Self
    }
}

impl Function {
    fn at(place: DeviceFunction) -> Self {
        Self { bus: place.bus, device: place.device, function: place.function }
    }

    /// Bus, device and function.
    pub(crate) fn place(self) -> (u8, u8, u8) {
        (self.bus, self.device, self.function)
    }

    fn select(self, register: u8) {
        let address = 1 << 31
            | u32::from(self.bus) << 16
            | u32::from(self.device) << 11
            | u32::from(self.function) << 8
            | u32::from(register & 0xfc);
        // SAFETY: selects a configuration register and nothing else.
        unsafe { port::write32(ADDRESS, address) }
    }

    fn read(self, register: u8) -> u32 {
        self.select(register);
        // SAFETY: reads of configuration space have no effect.
        unsafe { port::read32(DATA) }
    }

    /// # Safety
    /// The device must not be made to overwrite memory in use.
    pub(super) unsafe fn write(self, register: u8, value: u32) {
        self.select(register);
        // SAFETY: as the caller promises.
        unsafe { port::write32(DATA, value) }
    }

    /// A word of its configuration space.
    pub(crate) fn word(self, register: u8) -> u32 {
        self.read(register)
    }

    /// Where the function's first capability of that kind is in its configuration space.
    pub(super) fn capability(self, kind: u8) -> Option<u8> {
        self.capabilities().find(|&at| self.read(at) as u8 == kind)
    }

    /// Where its capabilities are. A list that a device has tied into a ring ends as well.
    pub(crate) fn capabilities(self) -> impl Iterator<Item = u8> {
        let has_some = self.read(COMMAND) & HAS_CAPABILITIES != 0;
        let valid = |at: u32| Some(at as u8 & !0b11).filter(|&at| at >= 0x40);
        let first = has_some.then(|| self.read(CAPABILITIES)).and_then(valid);
        core::iter::successors(first, move |&at| valid(self.read(at) >> 8)).take(MOST_CAPABILITIES)
    }

    /// The guest-physical memory behind a base address register, with decoding switched on; `None` when firmware gave it
    /// no address.
    pub(crate) fn memory(self, bar: u8) -> Option<Range<u64>> {
        let register = BARS + 4 * bar;
        let command = self.read(COMMAND);
        let low = self.read(register);
        let wide = low & 0b110 == SIXTY_FOUR_BITS;
        let high = if wide { self.read(register + 4) } else { 0 };
        // SAFETY: with decoding off the probe of the size moves no memory; both registers get their value back.
        let (size_low, size_high) = unsafe {
            self.write(COMMAND, command & !MEMORY_DECODING);
            self.write(register, u32::MAX);
            let size_low = self.read(register);
            self.write(register, low);
            let size_high = if wide {
                self.write(register + 4, u32::MAX);
                let size_high = self.read(register + 4);
                self.write(register + 4, high);
                size_high
            } else {
                u32::MAX
            };
            self.write(COMMAND, command | MEMORY_DECODING);
            (size_low, size_high)
        };
        let start = u64::from(high) << 32 | u64::from(low & !0xf);
        let mask = u64::from(size_high) << 32 | u64::from(size_low & !0xf);
        let size = (!mask).checked_add(1).filter(|_| size_low & !0xf != 0)?;
        (start != 0).then(|| start..start.saturating_add(size))
    }
}

/// Whether the machine has PCI: a bridge from the processor to the first bus.
pub(crate) fn is_there() -> bool {
    Function { bus: 0, device: 0, function: 0 }.read(IDENTITY) != u32::MAX
}

/// The first function with this vendor and device identity.
pub(crate) fn find(vendor: u16, device: u16) -> Option<Function> {
    find_on_bus(0, u32::from(device) << 16 | u32::from(vendor))
}

fn find_on_bus(bus: u8, identity: u32) -> Option<Function> {
    for device in 0..32 {
        let first = Function { bus, device, function: 0 };
        if first.read(IDENTITY) == u32::MAX {
            continue;
        }
        let functions = if first.read(HEADER) & MULTIPLE_FUNCTIONS != 0 { 8 } else { 1 };
        for function in 0..functions {
            let function = Function { bus, device, function };
            if function.read(IDENTITY) == identity {
                return Some(function);
            }
            let behind = (function.read(BUSES) >> 8) as u8;
            // A bridge numbers the bus behind it higher than its own, so this ends.
            if function.read(CLASS) >> 16 == BRIDGE_CLASS
                && behind > bus
                && let Some(found) = find_on_bus(behind, identity)
            {
                return Some(found);
            }
        }
    }
    None
}
