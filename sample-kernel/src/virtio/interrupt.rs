//! How the network device interrupts: by messages on PCI, by a line where it lies in memory.

use core::sync::atomic::{AtomicUsize, Ordering};

use virtio_drivers::transport::{SomeTransport, Transport};

use crate::arch::{self, InterruptLine, pci};

/// What a device has for it.
pub(super) enum Interrupt {
    Messages(pci::Function),
    Line { line: InterruptLine, registers: usize },
}

/// The registers of the device in memory that has to be told that its interrupt arrived; 0: none.
static REGISTERS: AtomicUsize = AtomicUsize::new(0);

const INTERRUPT_STATUS: usize = 0x60;
const INTERRUPT_ACKNOWLEDGE: usize = 0x64;

/// Of a virtio PCI capability: its kind is in the upper byte of its first word, then come the window, the offset in it.
const VENDOR_CAPABILITY: u8 = 0x09;
const COMMON_CONFIGURATION: u8 = 1;
/// Of the common configuration (section 4.1.4.3).
const CONFIGURATION_MESSAGE: u64 = 0x10;
const QUEUE_SELECT: u64 = 0x16;
const QUEUE_MESSAGE: u64 = 0x1a;
const COMMON_BYTES: u64 = 0x38;
const NO_MESSAGE: u16 = 0xffff;

impl Interrupt {
    /// Lets the network device interrupt a vCPU for one of its queues. Its queues must be set up, and the device not yet run. False when that
    /// can't be had. On the boot vCPU, before others run.
    pub(super) fn route(&self, transport: &mut SomeTransport<'static>, queue: u16, vcpu: u32) -> bool {
        match *self {
            Self::Messages(function) => {
                arch::route_network_messages(function, vcpu) && choose(function, queue)
            }
            Self::Line { line, registers } => {
                transport.ack_interrupt();
                REGISTERS.store(registers, Ordering::Release);
                arch::route_network_line(line, vcpu)
            }
        }
    }
}

/// Lets the queue send message 0, and everything else none.
fn choose(function: pci::Function, queue: u16) -> bool {
    let is_common = |at: u8| {
        function.word(at) as u8 == VENDOR_CAPABILITY
            && (function.word(at) >> 24) as u8 == COMMON_CONFIGURATION
    };
    let Some(at) = function.capabilities().find(|&at| is_common(at)) else { return false };
    let Some(window) = function.memory(function.word(at + 4) as u8) else { return false };
    let start = window.start + u64::from(function.word(at + 8));
    let Some(registers) = arch::map_device_memory(start..start + COMMON_BYTES) else { return false };
    // SAFETY: the device's common configuration, which was just mapped: registers of 16 bits at these offsets, which choose messages and
    // nothing else.
    unsafe {
        let register = |offset: u64| registers.add(offset as usize).cast::<u16>();
        register(CONFIGURATION_MESSAGE).write_volatile(NO_MESSAGE);
        register(QUEUE_SELECT).write_volatile(queue);
        register(QUEUE_MESSAGE).write_volatile(0);
        register(QUEUE_MESSAGE).read_volatile() == 0
    }
}

/// The network device's interrupt has arrived: lowers its line, if it has one. From the handler.
pub(crate) fn acknowledge() {
    let registers = REGISTERS.load(Ordering::Acquire);
    if registers != 0 {
        // SAFETY: the registers of a device that stays for ever; these two are the handler's alone.
        unsafe {
            let status = ((registers + INTERRUPT_STATUS) as *const u32).read_volatile();
            ((registers + INTERRUPT_ACKNOWLEDGE) as *mut u32).write_volatile(status);
        }
    }
}
