//! x86_64 on the machines of QEMU: `q35` and `microvm`.

mod apic;
mod boot;
mod context;
mod cpu;
mod debug_exit;
mod descriptors;
mod exceptions;
mod fw_cfg;
mod image;
mod interrupts;
mod ioapic;
mod mem;
mod msi;
mod msr;
mod paging;
pub(crate) mod pci;
mod pic;
mod pit;
mod port;
mod pvclock;
mod pvh;
mod pvpanic;
mod registers;
mod serial;
mod smp;
mod trap;
mod tsc;

pub(crate) use apic::{set_timer, wake as wake_vcpu};
pub(crate) use boot::boot_stack_range as boot_stack;
pub(crate) use context::{first_stack_pointer, saved, saved_first, switch as switch_context};
pub(crate) use cpu::{
    VcpuState, cpu_local, cpu_local_decrement, cpu_local_increment, cpu_local_word, disable_interrupts,
    enable_interrupts, halt_forever, interrupts_enabled, set_cpu_local, wait,
};
pub(crate) use debug_exit::exit;
pub(crate) use descriptors::{take_stack_from_page_faults, unload_interrupt_table};
pub(crate) use fw_cfg::vcpu_count;
pub(crate) use image::image;
pub(crate) use interrupts::{interrupt_cost, start_interrupts};
pub(crate) use ioapic::{InterruptLine, route as route_network_line};
pub(crate) use msi::route_network_messages;
pub(crate) use paging::{map_device_memory, set_guard, unmap_null_page};
pub(crate) use pvh::{BootInfo, MemoryRange};
pub(crate) use pvpanic::announce as announce_panic;
pub(crate) use registers::Registers;
pub(crate) use serial::write as write_console;
pub(crate) use smp::start as start_vcpu;
pub(crate) use trap::TrapFrame;
pub(crate) use tsc::{calibrate, hz, now};
