#![cfg_attr(not(any(test, doctest)), no_std)]
//! Probes that any kernel can link: they let `uniprof` on the host see inside a unikernel.
//!
//! A kernel implements [`Platform`] (six short functions), gives the probes some memory (the *observation region*,
//! see `uniprof_wire`), and calls [`tick`] from its timer. Everything else is optional: events, spans,
//! counters, calls, log lines, hooks for threads, locks, interrupts and the heap, a crash record. The probes allocate nothing, lock nothing, never wait
//! for a reader and never panic; without a region, and before [`init`], every call is a no-op.
//!
//! They know no kernel and no device: a host reads the region from outside, or a kernel with a serial port lets [`Streamer`] send it.
//!
//! ```
//! use core::ops::Range;
//! use uniprof_probes as probe;
//!
//! probe::region!(bytes = 1 << 20);
//!
//! struct Kernel;
//! // SAFETY: none of these takes a lock, faults or allocates, and this "kernel" has one vCPU and no interrupts.
//! unsafe impl probe::Platform for Kernel {
//!     fn now() -> u64 {
//!         1234 // the TSC
//!     }
//!     fn vcpu() -> u32 {
//!         0
//!     }
//!     fn pin() {}
//!     fn unpin() {}
//!     fn stack() -> Range<usize> {
//!         0..0
//!     }
//!     fn thread() -> probe::ThreadId {
//!         1
//!     }
//! }
//! probe::platform!(Kernel);
//!
//! let config = probe::Config { name: "doctest", tsc_hz: 1_000_000_000, ..probe::Config::new(region_memory()) };
//! // SAFETY: the memory is the static one, and nothing else uses it.
//! assert_eq!(unsafe { probe::init(config) }, probe::Status::On);
//!
//! fn get(key: u64) {
//!     let _span = probe::span!("kv.get", key = key);
//!     probe::event!("kv.miss", key = key, peer: str = "10.0.2.2", age: f64 = 0.5);
//! }
//! get(7);
//!
//! /// The timer's interrupt handler, with what it interrupted; returns how long until the next.
//! fn timer(rip: u64, rsp: u64, rbp: u64) -> u64 {
//!     // SAFETY: this vCPU's own interrupt, and `Platform::stack` can be read (here it is empty).
//!     unsafe { probe::tick(rip, rsp, rbp) };
//!     probe::next_tick()
//! }
//! assert!(timer(0x1000, 0, 0) > 0);
//! probe::log_line("served one request");
//!
//! fn read(fd: u32, buffer: &mut [u8]) -> i64 {
//!     let call = probe::call!("fs.read" -> i64, fd: u32 = fd, size = buffer.len());
//!     call.returned(0)
//! }
//! assert_eq!(read(3, &mut [0; 16]), 0);
//! ```
//!
//! # What a kernel may tell besides
//!
//! | where | what it calls | class |
//! |---|---|---|
//! | a thread begins, ends | [`thread_start`], [`thread_exit`] | `threads` |
//! | the scheduler, on the stack of who leaves | [`switch`], and [`saved`] after it | `switches`; `off-cpu`: where it waits |
//! | a thread begins and ends to wait | [`wait_begin`], [`wait_end`] | (the thread table) |
//! | a thread is made ready | [`woken`], [`woken_by_interrupt`] | `off-cpu`: by whom |
//! | a lock that is not free | [`lock_wait`], [`lock_released`] | `locks` |
//! | an interrupt's handler | [`interrupt`], or [`interrupt_enter`] and [`interrupt_exit`] | `irq` |
//! | the allocator | [`allocated`], [`freed`] | `heap` |
//! | its own interface | [`call!`] | `calls` |
//! | the network stack and its drivers | [`net::packet`], [`net::Connection`] | `net` |
//!
//! Each costs a load and a predicted branch while nobody wants it (`switch`, `interrupt` and `net` keep a few words of the tables in any case).
//!
//! # Calling contexts
//!
//! Everything may be called from threads and from interrupt handlers, and everything but [`init`], the thread hooks and
//! the heap hooks from NMIs. What the platform must promise for that stands at [`Platform`].

mod arch;
mod arg;
mod call;
mod callers;
mod control;
mod crash;
mod event;
mod heap;
mod histogram;
mod hook;
mod irq;
mod list;
mod lock;
mod log;
pub mod net;
mod off_cpu;
mod platform;
mod poll;
mod region;
mod sample;
mod sites;
mod snapshot;
mod span;
mod stream;
mod thread;
mod vcpu;
mod wait;

pub use arg::Unsigned;
pub use call::Call;
pub use control::flush_wanted;
pub use crash::{Crash, crash};
pub use heap::{allocated, freed};
pub use hook::{recording, watching_heap};
pub use irq::{interrupt, interrupt_enter, interrupt_exit};
pub use lock::{LockWait, lock_released, lock_wait};
pub use log::log_line;
pub use off_cpu::{woken, woken_by_interrupt};
pub use platform::{Platform, ThreadId};
pub use poll::{poll, poll_with_registers};
pub use region::{Config, Image, Memory, Status, Why, init, set_interrupt_cost};
pub use sample::{next_tick, tick, tick_with_registers};
pub use sites::Site;
pub use span::{Span, SpanId};
pub use stream::{Sink, Step, Streamer};
pub use thread::{switch, thread_exit, thread_start};
pub use uniprof_wire::record::{Class, LockKind, Registers, SwitchReason};
pub use uniprof_wire::tables::{CrashReason, WaitKind};
pub use vcpu::{idle_enter, idle_exit, vcpu_online};
pub use wait::{SavedRegisters, Wait, saved, wait_begin, wait_end};

/// What the macros expand to, and what probes for other languages are made of; not for direct use.
#[doc(hidden)]
pub mod expansion {
    pub use crate::arch::poll_here;
    pub use crate::arg::{Address, Word, bytes, same, text};
    pub use crate::event::{counter, event, gauge};
    pub use crate::histogram::record;
    pub use crate::list::{Item, List};
    pub use crate::region::StaticRegion;
    pub use crate::sites::{SWITCH, id_of_entry};
    pub use uniprof_wire::site::SiteKind;
    pub use uniprof_wire::site::{HEADER_BYTES, entry_bytes};
}
