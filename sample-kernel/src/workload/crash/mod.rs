//! `crash-…`: a small server that works for half a second and then goes wrong, each time in another known way, so that what a
//! dead guest tells can be compared with what happened. The three that end in nothing happening (`crash-deadlock`, `crash-spin`,
//! `crash-lostwake`) say `crash-NAME: ready` on the console once it has come to that.

mod background;
mod deadlock;
mod double;
mod frontend;
mod heap;
mod lostwake;
mod null;
mod oom;
mod panic;
mod scribble;
mod server;
mod spin;
mod stack;
mod triple;
mod wild;

use crate::console::print_line;
use crate::time::Deadline;

/// What goes wrong.
#[derive(Clone, Copy)]
pub(crate) enum Crash {
    Null,
    Wild,
    GeneralProtection,
    Stack,
    Double,
    Triple,
    Panic,
    OutOfMemory,
    Deadlock,
    Spin,
    LostWake,
    Heap,
    Scribble,
}

impl Crash {
    /// By the part of the workload's name after `crash-`.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "null" => Self::Null,
            "wild" => Self::Wild,
            "gp" => Self::GeneralProtection,
            "stack" => Self::Stack,
            "double" => Self::Double,
            "triple" => Self::Triple,
            "panic" => Self::Panic,
            "oom" => Self::OutOfMemory,
            "deadlock" => Self::Deadlock,
            "spin" => Self::Spin,
            "lostwake" => Self::LostWake,
            "heap" => Self::Heap,
            "scribble" => Self::Scribble,
            _ => return None,
        })
    }
}

/// Where it happens: not on the vCPU that does everything else, if there are two.
fn unlucky_vcpu(vcpus: u32) -> u32 {
    1 % vcpus
}

pub(super) fn run(crash: Crash, vcpus: u32, end: Deadline) {
    server::start();
    match crash {
        Crash::Null => frontend::run(vcpus, null::authorize),
        Crash::Wild => frontend::run(vcpus, wild::send_reply),
        Crash::GeneralProtection => frontend::run(vcpus, wild::send_late_reply),
        Crash::Stack => frontend::run(vcpus, stack::parse_document),
        Crash::Double => frontend::run(vcpus, double::count_files),
        Crash::Triple => frontend::run(vcpus, triple::attach_device),
        Crash::Panic => frontend::run(vcpus, panic::apply_transaction),
        Crash::OutOfMemory => frontend::run(vcpus, oom::fill_cache),
        Crash::Heap => frontend::run(vcpus, heap::parse_headers),
        Crash::Scribble => frontend::run(vcpus, scribble::flush_statistics),
        Crash::Deadlock => deadlock::run(vcpus, end),
        Crash::Spin => spin::run(vcpus, end),
        Crash::LostWake => lostwake::run(vcpus, end),
    }
}

/// Tells scripts that from now on nothing will change.
fn say_ready(name: &str) {
    print_line!("crash-{name}: ready");
}
