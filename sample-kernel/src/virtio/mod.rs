//! Devices of the virtual machine: finding them, and the memory that they share with the kernel. Queues and transports are those of
//! `virtio-drivers`; Virtual I/O Device (VIRTIO) Version 1.1, OASIS.

mod interrupt;
mod network;
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

pub(crate) use interrupt::acknowledge as acknowledge_network;
pub(crate) use network::{FRAME_BYTES, Network, Receiver, Sender};
pub(crate) use serial::Serial;

use self::interrupt::Interrupt;
use crate::arch::{self, InterruptLine, pci};

const VENDOR: u16 = 0x1af4;

/// Most devices that the command line can name.
pub(crate) const MMIO_DEVICES: usize = 8;

/// A device in memory, as QEMU's `microvm` tells of it: `virtio_mmio.device=SIZE@ADDRESS:INTERRUPT`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MmioDevice {
    address: u64,
    bytes: usize,
    line: InterruptLine,
}

impl MmioDevice {
    /// From the word's value.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (bytes, rest) = text.split_once('@')?;
        let mut parts = rest.split(':');
        let address = number(parts.next()?)?;
        // Without a line it can't interrupt: there is no such pin.
        let pin = parts.next().and_then(|pin| pin.parse().ok()).unwrap_or(u32::MAX);
        let device =
            Self { address, bytes: usize::try_from(number(bytes)?).ok()?, line: InterruptLine::Pin(pin) };
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
    (0..24).map(|index| MmioDevice {
        address: FIRST + u64::from(index) * BYTES as u64,
        bytes: BYTES,
        line: InterruptLine::OfPlace(index),
    })
}

/// A device of the machine, and how it interrupts.
pub(crate) struct Device {
    transport: SomeTransport<'static>,
    interrupt: Interrupt,
}

/// The machine's first device of a kind. For the boot vCPU, before others run: mapping is its business alone.
pub(crate) fn find(kind: DeviceType, named: &[Option<MmioDevice>]) -> Option<Device> {
    let unnamed = (!pci::is_there()).then(microvm_places).into_iter().flatten();
    let mut places = named.iter().flatten().copied().chain(unnamed);
    places.find_map(|place| in_memory(kind, place)).or_else(|| on_pci(kind))
}

fn in_memory(kind: DeviceType, place: MmioDevice) -> Option<Device> {
    let range = place.address..place.address.checked_add(place.bytes as u64)?;
    let header = NonNull::new(arch::map_device_memory(range)?.cast())?;
    // SAFETY: the machine has a device there, or nothing, which reads as none; it is mapped, and stays for ever.
    let transport = unsafe { MmioTransport::new(header, place.bytes) }.ok()?;
    let interrupt = Interrupt::Line { line: place.line, registers: header.addr().get() };
    (transport.device_type() == kind).then(|| Device { transport: transport.into(), interrupt })
}

fn on_pci(kind: DeviceType) -> Option<Device> {
    let function = identities(kind)?.into_iter().find_map(|identity| pci::find(VENDOR, identity))?;
    let mut root = PciRoot::new(pci::Ports);
    let (bus, device, number) = function.place();
    let place = DeviceFunction { bus, device, function: number };
    let (_, command) = root.get_status_command(place);
    root.set_command(place, command | Command::MEMORY_SPACE | Command::BUS_MASTER);
    let transport = PciTransport::new::<Memory, _>(&mut root, place).ok()?;
    Some(Device { transport: transport.into(), interrupt: Interrupt::Messages(function) })
}

/// What PCI calls a device that also speaks the protocol from before version 1.0, and one that does not.
fn identities(kind: DeviceType) -> Option<[u16; 2]> {
    Some(match kind {
        DeviceType::Network => [0x1000, 0x1041],
        DeviceType::Console => [0x1003, 0x1043],
        _ => return None,
    })
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
