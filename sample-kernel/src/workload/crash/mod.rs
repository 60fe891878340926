//! `crash-…`: a small server that works for half a second and then goes wrong, each time in another known way, so that what a
//! dead guest tells can be compared with what happened. The three that end in nothing happening (`crash-deadlock`, `crash-spin`,
//! `crash-lostwake`) say `crash-NAME: ready` on the console once it has come to that.

mod background;
mod deadlock;
mod frontend;
mod null;
mod panic;
mod server;
mod spin;
mod triple;

use crate::console::print_line;
use crate::time::Deadline;

/// What goes wrong.
#[derive(Clone, Copy)]
pub(crate) enum Crash {
    Null,
    Triple,
    Panic,
    Deadlock,
    Spin,
}

impl Crash {
    /// By the part of the workload's name after `crash-`.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "null" => Self::Null,
            "triple" => Self::Triple,
            "panic" => Self::Panic,
            "deadlock" => Self::Deadlock,
            "spin" => Self::Spin,
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
        Crash::Triple => frontend::run(vcpus, triple::attach_device),
        Crash::Panic => frontend::run(vcpus, panic::apply_transaction),
        Crash::Deadlock => deadlock::run(vcpus, end),
        Crash::Spin => spin::run(vcpus, end),
    }
}

/// Tells scripts that from now on nothing will change.
fn say_ready(name: &str) {
    print_line!("crash-{name}: ready");
}
