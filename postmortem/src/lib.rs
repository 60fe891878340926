#![forbid(unsafe_code)]
//! What the memory of a unikernel tells, dead or alive: what killed it, what every vCPU and thread was doing, who held which
//! lock, what the heap is made of, what a variable held.
//!
//! - [`Subject`]: what is looked at: memory, registers, the observation region where there is one, and the images that give
//!   names to addresses.
//! - [`memory`]: memory as bytes, and where a value occurs; [`owner`]: what an address belongs to.
//! - [`export`]: all of it as an ordinary ELF core, for other debuggers.
//! - [`flight`]: what the rings still hold, as a recording.
//! - [`stacks`]: the stacks of all vCPUs and threads, and which of them are alike.
//! - [`verdict`]: what killed the guest; [`locks`]: who waits for whom; [`disassembly`]: what code it was.
//! - [`print`]: what variables held: expressions, arguments and locals of frames.
//! - [`heap`]: what the heap is made of, and what nobody points to.
//! - [`report`]: all of that in one document.
//!
//! Analysis is apart from printing: everything here returns values, and the command line and the live view draw them.
//!
//! It parses no dump format (a dump is one more [`GuestMemory`](uniprof_collector::memory::GuestMemory)), and it needs no
//! probes in the guest, no frame pointers and no debug information: with less there, it says less, and says what was missing.

mod describe;
pub mod disassembly;
pub mod export;
pub mod flight;
pub mod heap;
#[cfg(test)]
mod lab;
pub mod locks;
pub mod memory;
mod mended;
pub mod owner;
pub mod print;
mod program;
mod region;
pub mod report;
pub mod stacks;
mod subject;
pub mod verdict;

pub use program::{LoadedImage, Place, Program};
pub use region::Region;
pub use subject::{Evidence, Subject, of_crash_records};
