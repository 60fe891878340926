//! `crash-triple`: a driver replaces the interrupt descriptor table by an empty one. The next fault finds no handler, neither does
//! the double fault, and the processor shuts down: the guest can record nothing.

use core::hint::black_box;

use super::frontend::Request;
use crate::arch;

#[repr(C)]
struct DeviceRegisters {
    command: u32,
    reserved: [u32; 4],
    status: u32,
}

#[inline(never)]
pub(super) fn attach_device(request: &Request) -> u64 {
    let slot = (request.id % 4) as u32;
    install_interrupts(slot);
    // No BAR was assigned.
    let registers = black_box(core::ptr::null::<DeviceRegisters>());
    let status = read_device_status(registers, slot);
    black_box(u64::from(status))
}

#[inline(never)]
fn install_interrupts(slot: u32) {
    black_box(slot);
    arch::disable_interrupts();
    // SAFETY: none, this is the crash: from here on every interrupt and exception ends the machine.
    unsafe { arch::unload_interrupt_table() };
}

#[inline(never)]
fn read_device_status(registers: *const DeviceRegisters, slot: u32) -> u32 {
    black_box(slot);
    // SAFETY: none: null, and the fault that it makes cannot be delivered.
    let status = unsafe { (*registers).status };
    black_box((status, slot));
    status
}
