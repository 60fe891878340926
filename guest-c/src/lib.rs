#![no_std]
//! The probes as a static library, for kernels that are not written in Rust.
//!
//! The functions here have C's calling convention and C's types, and each does what the function of [`uniprof_probes`] does whose
//! name it has. `include/uniprof.h` is made from them by cbindgen; `include/uniprof_macros.h`, written by hand, has the macros of
//! events, spans, counters, gauges and histograms.
//!
//! What a kernel must provide stands in `platform`. How to port: `docs/porting.md`.

pub mod command_line;
pub mod config;
pub mod crash;
pub mod emit;
pub mod heap;
pub mod interrupts;
pub mod locks;
pub mod net;
pub mod platform;
mod text;
pub mod threads;
pub mod ticks;

/// The probes don't panic; a mistake in them that does must not go unnoticed.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {
        // SAFETY: an undefined instruction, which the kernel's exception handler reports with this very address.
        unsafe { core::arch::asm!("ud2", options(nomem, nostack)) }
    }
}
