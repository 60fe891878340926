//! The order in which the kernel comes up.

use alloc::string::String;
use core::mem::ManuallyDrop;
use core::ops::Range;

use crate::arch::{self, BootInfo};
use crate::command_line::Options;
use crate::console::print_line;
use crate::exit::{Exit, exit};
use crate::percpu::{MAX_VCPUS, PerCpu};
use crate::probes::{self, Status};
use crate::region::{self, Region};
use crate::sched::Stack;
use crate::{drain, heap, net, sched, tick, workload};

const COMMAND_LINE_BYTES: usize = 4096;

/// Ends with one line that says what the starter of this kernel has to change.
fn usage(text: core::fmt::Arguments<'_>) -> ! {
    print_line!("uniprof-sample-kernel: {text}");
    exit(Exit::Usage)
}

/// The boot vCPU, on its boot stack, interrupts off.
pub(crate) fn start(info: Option<BootInfo>) -> ! {
    // SAFETY: the first call, on the boot vCPU.
    unsafe { PerCpu::start(0) };
    let Some(info) = info else { usage(format_args!("started without PVH boot information")) };
    let mut line = [0; COMMAND_LINE_BYTES];
    let given = info.command_line(COMMAND_LINE_BYTES);
    line[..given.len()].copy_from_slice(given);
    let options = match Options::parse(&line[..given.len()]) {
        Ok(options) => options,
        Err(error) => usage(format_args!("{error}")),
    };
    let region = match region::find(options.placement) {
        Ok(region) => region,
        Err(missing) => usage(format_args!("{missing}")),
    };
    let memory_bytes = heap::usable_bytes(&info);
    // SAFETY: the first call; the command line was copied and the rest of the loader's memory is read no more.
    if !unsafe { heap::init(&info) } {
        usage(format_args!("the machine has no memory for a heap"));
    }
    // SAFETY: what the loader left there has been read.
    unsafe { arch::unmap_null_page() };
    arch::calibrate();
    let mut vcpus = arch::vcpu_count().min(MAX_VCPUS);
    if options.workload.is_cooperative() {
        vcpus = 1;
        tick::switch_off();
    }
    start_probes(&options, &region, vcpus, memory_bytes);
    // SAFETY: interrupts are off, and nothing else runs on this stack.
    unsafe { sched::become_idle(arch::boot_stack()) };
    let started = start_others(vcpus);
    drain::start();
    sched::spawn(0, String::from("main"), move || {
        workload::run(&options, started);
        exit(Exit::Done)
    });
    sched::run_idle()
}

fn start_probes(options: &Options, region: &Region, vcpus: u32, memory_bytes: u64) {
    // SAFETY: the region's memory is the static one or a device's, which nothing else in the kernel uses.
    let status = unsafe { probes::init(region.memory, vcpus, &options.probes) };
    probes::vcpu_online();
    print_line!(
        "uniprof-sample-kernel: {vcpus} vCPUs, {} MiB, tsc {} MHz, {region}",
        memory_bytes.next_multiple_of(1 << 20) >> 20,
        arch::hz() / 1_000_000
    );
    if let Status::On = status {
        region.publish();
    } else {
        print_line!("uniprof-sample-kernel: probes {status}");
    }
    drain::prepare(&options.mmio);
    if options.workload.needs_network() {
        net::prepare(&options.mmio);
    }
    probes::set_interrupt_cost(arch::interrupt_cost());
}

/// Starts the vCPUs from 1 and gives the number of those that run, the boot vCPU among them. The first that does not answer
/// ends the row: numbers have no holes.
fn start_others(vcpus: u32) -> u32 {
    for vcpu in 1..vcpus {
        // The vCPU keeps it for ever.
        let stack = ManuallyDrop::new(Stack::new());
        // SAFETY: the stack is new, and given to this vCPU alone.
        if !unsafe { arch::start_vcpu(vcpu, stack.range()) } {
            print_line!("uniprof-sample-kernel: vCPU {vcpu} does not start; going on with {vcpu}");
            return vcpu;
        }
    }
    vcpus
}

/// Every other vCPU, on the stack that it was started with, interrupts off; `arrived` tells the one that started it.
pub(crate) fn start_secondary(vcpu: u32, stack: Range<usize>, arrived: impl FnOnce()) -> ! {
    // SAFETY: the first thing on this vCPU, whose number is its own.
    unsafe { PerCpu::start(vcpu) };
    probes::vcpu_online();
    // SAFETY: interrupts are off, and the stack is this vCPU's for ever.
    unsafe { sched::become_idle(stack) };
    arrived();
    sched::run_idle()
}
