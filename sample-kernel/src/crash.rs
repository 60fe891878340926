//! The end of a kernel that went wrong: a report for a person, a record for the observer, the exit status for a script.

use core::fmt;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicU32, Ordering};

use crate::console::{last_details, last_words};
use crate::exit::{Exit, exit};
use crate::percpu::PerCpu;
use crate::probes::{self, CrashReason};
use crate::{arch, drain, sched};

const NOBODY: u32 = u32::MAX;

/// The vCPU whose crash is being reported.
static REPORTER: AtomicU32 = AtomicU32::new(NOBODY);

const BACKTRACE_FRAMES: usize = 32;

macro_rules! say {
    ($($part:tt)*) => { last_words(format_args!($($part)*)) };
}

/// The first to crash reports. Another vCPU waits for the end; a crash inside the report ends the machine at once.
fn claim_report() {
    let vcpu = PerCpu::current().id();
    match REPORTER.compare_exchange(NOBODY, vcpu, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => {}
        Err(reporter) if reporter == vcpu => leave(),
        Err(_) => arch::halt_forever(),
    }
}

/// Reports a crash and leaves. First the record, for every vCPU that crashes: what follows may fail, and is for the first alone.
pub(crate) fn crash(reason: CrashReason, name: fmt::Arguments<'_>, registers: &arch::Registers) -> ! {
    arch::disable_interrupts();
    probes::crash(reason, registers, name);
    claim_report();
    let vcpu = PerCpu::current().id();
    say!("{name}");
    say!("  vCPU {vcpu}, thread {} ({})", sched::current_id(), sched::current_name());
    if sched::is_below(&sched::current_stack(), registers.cr2) {
        say!("  the thread ran over the end of its stack");
    }
    registers.for_each_line(|line| last_details(format_args!("  {line}")));
    registers.for_each_caller(&sched::current_stack(), BACKTRACE_FRAMES, |address| {
        last_details(format_args!("  called from {address:#x}"));
    });
    leave()
}

/// The end. What is left goes out over the port, if that is how somebody records; then a hypervisor that listens hears of it, and may stop the
/// machine there, for others to look at.
fn leave() -> ! {
    drain::flush_after_crash();
    arch::announce_panic();
    exit(Exit::Crashed)
}

/// Reports that there is no memory left for a request, and leaves.
pub(crate) fn out_of_memory(bytes: usize, align: usize) -> ! {
    let registers = arch::Registers::here();
    let text = format_args!("out of memory: no {bytes} bytes aligned to {align} are free in the heap");
    crash(CrashReason::OutOfMemory, text, &registers)
}

#[panic_handler]
fn on_panic(info: &PanicInfo<'_>) -> ! {
    let registers = arch::Registers::here();
    match info.location() {
        Some(location) => crash(
            CrashReason::Panic,
            format_args!("panic at {}:{}: {}", location.file(), location.line(), info.message()),
            &registers,
        ),
        None => crash(CrashReason::Panic, format_args!("panic: {}", info.message()), &registers),
    }
}
