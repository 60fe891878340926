//! Devices of the virtual machine: finding them, and the memory that they share with the kernel. Queues and transports are those of
//! `virtio-drivers`; Virtual I/O Device (VIRTIO) Version 1.1, OASIS.

mod queue;
mod serial;

use alloc::alloc::{alloc_zeroed, dealloc};
use core::alloc::Layout;
use core::ptr::NonNull;

use virtio_drivers::transport::mmio::MmioTransport;
use virtio_drivers::transport::pci::PciTransport;
use virtio_drivers::transport::pci::bus::{Command, DeviceFunction, PciRoot};
use virtio_drivers::transport::{DeviceType, SomeTransport, Transport};
use virtio_drivers::{BufferDirection, Hal, PAGE_SIZE, PhysAddr};

pub(crate) use serial::Serial;

use crate::arch::{self, pci};

const VENDOR: u16 = 0x1af4;
/// A console that also speaks the protocol from before version 1.0, and one that does not.
const PCI_CONSOLES: [u16; 2] = [0x1003, 0x1043];

/// Most devices that the command line can name.
pub(crate) const MMIO_DEVICES: usize = 8;

/// A device in memory, as QEMU's `microvm` tells of it: `virtio_mmio.device=SIZE@ADDRESS:INTERRUPT`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MmioDevice {
    address: u64,
    bytes: usize,
}

impl MmioDevice {
    /// From the word's value.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (bytes, rest) = text.split_once('@')?;
        let address = rest.split(':').next()?;
        let device = Self { address: number(address)?, bytes: usize::try_from(number(bytes)?).ok()? };
        (device.address.is_multiple_of(8) && device.bytes <= PAGE_SIZE).then_some(device)
    }
}

fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// Where `microvm` has its devices, whether it tells of them on the command line or, with ACPI, in tables that this kernel does not read: QEMU,
/// `hw/i386/microvm.h`.
fn microvm_places() -> impl Iterator<Item = MmioDevice> {
    const FIRST: u64 = 0xfeb0_0000;
    const BYTES: usize = 512;
    (0..24).map(|index| MmioDevice { address: FIRST + index * BYTES as u64, bytes: BYTES })
}

/// The machine's virtio console. For the boot vCPU, before others run: mapping is its business alone.
pub(crate) fn find_console(named: &[Option<MmioDevice>]) -> Option<SomeTransport<'static>> {
    let unnamed = (!pci::is_there()).then(microvm_places).into_iter().flatten();
    let named = named.iter().flatten().copied().chain(unnamed).find_map(|device| {
        let range = device.address..device.address.checked_add(device.bytes as u64)?;
        let header = NonNull::new(arch::map_device_memory(range)?.cast())?;
        // SAFETY: the machine has a device there, or nothing, which reads as none; it is mapped, and stays for ever.
        let transport = unsafe { MmioTransport::new(header, device.bytes) }.ok()?;
        (transport.device_type() == DeviceType::Console).then_some(transport)
    });
    if let Some(transport) = named {
        return Some(transport.into());
    }
    let function = PCI_CONSOLES.iter().find_map(|device| pci::find(VENDOR, *device))?;
    let mut root = PciRoot::new(pci::Ports);
    let (bus, device, function) = function.place();
    let place = DeviceFunction { bus, device, function };
    let (_, command) = root.get_status_command(place);
    root.set_command(place, command | Command::MEMORY_SPACE | Command::BUS_MASTER);
    PciTransport::new::<Memory, _>(&mut root, place).ok().map(Into::into)
}

/// Memory is mapped one to one, and devices see all of it.
pub(crate) struct Memory;

fn pages(pages: usize) -> Layout {
    Layout::from_size_align(pages * PAGE_SIZE, PAGE_SIZE).expect("a few pages")
}

// SAFETY: pages come from the heap, which lies in memory that is mapped one to one, and are given back once.
unsafe impl Hal for Memory {
    fn dma_alloc(count: usize, _: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        // SAFETY: the layout is not empty: the crate asks for a page at least.
        let memory = unsafe { alloc_zeroed(pages(count.max(1))) };
        // The heap ends the kernel rather than give none.
        (memory.addr() as PhysAddr, NonNull::new(memory).expect("the heap gives memory"))
    }

    unsafe fn dma_dealloc(_: PhysAddr, memory: NonNull<u8>, count: usize) -> i32 {
        // SAFETY: as `dma_alloc` made it; the caller gives it up.
        unsafe { dealloc(memory.as_ptr(), pages(count.max(1))) };
        0
    }

    unsafe fn mmio_phys_to_virt(address: PhysAddr, bytes: usize) -> NonNull<u8> {
        let memory = arch::map_device_memory(address..address + bytes as u64);
        memory.and_then(NonNull::new).expect("page tables suffice for the devices of one kernel")
    }

    unsafe fn share(buffer: NonNull<[u8]>, _: BufferDirection) -> PhysAddr {
        buffer.cast::<u8>().addr().get() as PhysAddr
    }

    unsafe fn unshare(_: PhysAddr, _: NonNull<[u8]>, _: BufferDirection) {}
}
