//! What the kernel can be told to do.

mod burst;
mod calls;
mod cooperative;
mod crash;
mod deep;
mod http;
mod idle;
mod kv;
mod leak;
mod locks;
mod nofp;
mod observer;
mod ratio;
mod waits;

use alloc::format;
use alloc::vec::Vec;

use self::crash::Crash;
use crate::command_line::Options;
use crate::sched::{self, JoinHandle};
use crate::time::Deadline;

#[derive(Clone, Copy)]
pub(crate) enum Workload {
    Ratio,
    Kv,
    Http,
    Deep,
    Burst,
    Idle,
    Nofp,
    Waits,
    Locks,
    Leak,
    Calls,
    Cooperative,
    Crash(Crash),
}

impl Workload {
    pub(crate) const NAMES: &str = "ratio, kv, http, deep, burst, idle, nofp, waits, locks, leak, calls, cooperative, or crash- and one of null, wild, gp, stack, double, triple, panic, oom, deadlock, spin, lostwake, heap, scribble";

    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "ratio" => Self::Ratio,
            "kv" => Self::Kv,
            "http" => Self::Http,
            "deep" => Self::Deep,
            "burst" => Self::Burst,
            "idle" => Self::Idle,
            "nofp" => Self::Nofp,
            "waits" => Self::Waits,
            "locks" => Self::Locks,
            "leak" => Self::Leak,
            "calls" => Self::Calls,
            "cooperative" => Self::Cooperative,
            _ => Self::Crash(Crash::named(name.strip_prefix("crash-")?)?),
        })
    }
}

impl Workload {
    /// Whether it runs on one vCPU and nothing interrupts it.
    pub(crate) fn is_cooperative(self) -> bool {
        matches!(self, Self::Cooperative)
    }

    /// Whether it listens to a network.
    pub(crate) fn needs_network(self) -> bool {
        matches!(self, Self::Http)
    }
}

/// Runs the workload on vCPUs 0 to `vcpus - 1` to its end.
pub(crate) fn run(options: &Options, vcpus: u32) {
    match options.workload {
        Workload::Ratio => ratio::run(vcpus, options.shares, Deadline::after(options.seconds)),
        Workload::Kv => kv::run(vcpus, options.requests, Deadline::after(options.seconds)),
        Workload::Http => http::run(options, vcpus),
        Workload::Deep => deep::run(vcpus, Deadline::after(options.seconds)),
        Workload::Burst => {
            burst::run(vcpus, Deadline::after(options.seconds.or(Some(burst::DEFAULT_SECONDS))))
        }
        Workload::Idle => idle::run(vcpus, Deadline::after(options.seconds)),
        Workload::Crash(crash) => crash::run(crash, vcpus, Deadline::after(options.seconds)),
        Workload::Nofp => nofp::run(vcpus, Deadline::after(options.seconds)),
        Workload::Waits => waits::run(vcpus, || after(options, waits::DEFAULT_SECONDS)),
        Workload::Locks => locks::run(vcpus, || after(options, locks::DEFAULT_SECONDS)),
        Workload::Leak => leak::run(vcpus, || after(options, leak::DEFAULT_SECONDS)),
        Workload::Calls => calls::run(vcpus),
        Workload::Cooperative => cooperative::run(Deadline::after(options.seconds)),
    }
}

fn after(options: &Options, default_seconds: u64) -> Deadline {
    Deadline::after(options.seconds.or(Some(default_seconds)))
}

/// Starts one thread on each vCPU; `body` makes what it does from the vCPU's number.
fn one_per_vcpu<F>(vcpus: u32, name: &str, body: impl Fn(u32) -> F) -> Vec<JoinHandle>
where
    F: FnOnce() + Send + 'static,
{
    (0..vcpus).map(|vcpu| sched::spawn(vcpu, format!("{name}-{vcpu}"), body(vcpu))).collect()
}

fn join_all(threads: Vec<JoinHandle>) {
    threads.into_iter().for_each(JoinHandle::join);
}
