//! Shares of the CPU between two looks at the tables: of each thread, and of idling. They add up to the vCPUs.

use std::collections::BTreeMap;

use uniprof_collector::tables::Tables;
use uniprof_wire::tables::{ThreadState, VcpuStats};

/// What the vCPUs' time went to.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Shares {
    /// Of each thread, in vCPUs: 1 is all of one's time.
    threads: BTreeMap<u32, f64>,
    /// Of idling, likewise.
    pub(crate) idle: f64,
    /// The time, in ticks of the guest's clock, of a vCPU on average.
    pub(crate) ticks: f64,
}

impl Shares {
    /// Between two looks, or since the vCPUs came up. `None` where no time has passed.
    ///
    /// Each vCPU's time ends with its latest sign of life, and what its thread ran counts up to there: so nothing is counted that has not
    /// been told, and the sum comes out.
    pub(crate) fn between(earlier: Option<&Tables>, later: &Tables) -> Option<Self> {
        let before = earlier.map(Totals::of).unwrap_or_default();
        let after = Totals::of(later);
        let of_vcpus = |now: &[u64], then: &[u64]| {
            let then = then.iter().copied().chain(std::iter::repeat(0));
            now.iter().zip(then).map(|(now, then)| now.saturating_sub(then)).sum::<u64>() as f64
        };
        let online = after.up.iter().filter(|up| **up > 0).count();
        let ticks = of_vcpus(&after.up, &before.up) / online.max(1) as f64;
        if ticks <= 0.0 {
            return None;
        }
        let ran = |(id, now): (&u32, &u64)| {
            let then = before.threads.get(id).copied().unwrap_or(0);
            (*id, now.saturating_sub(then) as f64 / ticks)
        };
        let idle = of_vcpus(&after.idle, &before.idle) / ticks;
        Some(Self { threads: after.threads.iter().map(ran).collect(), idle, ticks })
    }

    /// That of a thread.
    pub(crate) fn of(&self, thread: u32) -> Option<f64> {
        self.threads.get(&thread).copied()
    }
}

/// Running totals up to each vCPU's latest sign of life.
#[derive(Default)]
struct Totals {
    up: Vec<u64>,
    idle: Vec<u64>,
    threads: BTreeMap<u32, u64>,
}

impl Totals {
    fn of(tables: &Tables) -> Self {
        let entries: Vec<_> = tables.threads.iter().filter_map(|slot| slot.entry()).collect();
        let running = |vcpu: usize| {
            let runs = |entry: &&_| is_running_on(entry, vcpu);
            entries.iter().filter(runs).map(|entry| entry.since).max().unwrap_or(0)
        };
        // A switch is a sign of life as much as a heartbeat.
        let now: Vec<u64> =
            (0..).zip(&tables.vcpus).map(|(vcpu, of)| of.heartbeat.max(running(vcpu))).collect();
        let idle = |(vcpu, now): (&VcpuStats, &u64)| {
            let current = if vcpu.idle_since == 0 { 0 } else { now.saturating_sub(vcpu.idle_since) };
            vcpu.idle.saturating_add(current)
        };
        let up = |(vcpu, now): (&VcpuStats, &u64)| match vcpu.online {
            0 => 0,
            online => now.saturating_sub(online),
        };
        let threads = entries.iter().map(|entry| {
            let now = now.get(usize::from(entry.vcpu)).copied().unwrap_or(0);
            let current =
                if entry.state == ThreadState::Running { now.saturating_sub(entry.since) } else { 0 };
            (entry.id, entry.cpu_time.saturating_add(current))
        });
        Self {
            up: tables.vcpus.iter().zip(&now).map(up).collect(),
            idle: tables.vcpus.iter().zip(&now).map(idle).collect(),
            threads: threads.collect(),
        }
    }
}

fn is_running_on(entry: &uniprof_wire::tables::ThreadEntry, vcpu: usize) -> bool {
    entry.state == ThreadState::Running && usize::from(entry.vcpu) == vcpu
}
