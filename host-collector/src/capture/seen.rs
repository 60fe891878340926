//! What is seen of a guest's vCPUs from outside: their totals in the region, and the CPU time that their threads have had on the host.

use std::time::Duration;

use uniprof_wire::{
    address::GuestPhysical,
    tables::{VCPU_WORDS, VcpuStats},
};

use crate::{
    memory::{FoundRegion, GuestMemory},
    qmp::{Qmp, QmpError},
};

/// What was seen of one vCPU.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// Its slot in the region.
    pub stats: VcpuStats,
    /// CPU time that its thread has had on the host.
    pub cpu_time: Option<Duration>,
}

/// Looks at every vCPU of the region. `threads` are those of the process `pid`, in the order of the vCPUs.
pub(crate) fn see(
    memory: &dyn GuestMemory,
    region: &FoundRegion,
    pid: u32,
    threads: &[u64],
) -> Option<Vec<Seen>> {
    let geometry = region.header.geometry;
    let mut bytes = vec![0; geometry.vcpus() as usize * VCPU_WORDS * 8];
    let table = region.at.0.checked_add(geometry.vcpu_table() as u64)?;
    memory.read(GuestPhysical(table), &mut bytes).ok()?;
    let words = bytes.as_chunks::<8>().0;
    let slots = words.chunks_exact(VCPU_WORDS).enumerate();
    let seen = slots.map(|(vcpu, slot)| Seen {
        stats: VcpuStats::from_words(&std::array::from_fn(|word| u64::from_le_bytes(slot[word]))),
        cpu_time: threads.get(vcpu).and_then(|thread| cpu_time(pid, *thread)),
    });
    Some(seen.collect())
}

/// The thread of each vCPU, in the order of their numbers.
pub(crate) fn threads(qmp: &mut Qmp, limit: Duration) -> Result<Vec<u64>, QmpError> {
    let answer = qmp.execute("query-cpus-fast", serde_json::Value::Null, limit)?;
    let mut cpus: Vec<_> = answer
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|cpu| Some((cpu.get("cpu-index")?.as_u64()?, cpu.get("thread-id")?.as_u64()?)))
        .collect();
    cpus.sort_unstable();
    Ok(cpus.into_iter().map(|(_, thread)| thread).collect())
}

/// CPU time that all threads of a process have had.
pub(crate) fn process_time(pid: u32) -> Option<Duration> {
    time_in(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// CPU time that a thread has had: fields 14 and 15 of its `stat`, in clock ticks, see proc(5).
pub(crate) fn cpu_time(pid: u32, thread: u64) -> Option<Duration> {
    time_in(&std::fs::read_to_string(format!("/proc/{pid}/task/{thread}/stat")).ok()?)
}

fn time_in(stat: &str) -> Option<Duration> {
    let (_, after) = stat.rsplit_once(')')?;
    let mut fields = after.split_whitespace().skip(11);
    let ticks = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
    Some(Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second().max(1)))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn our_own_thread_has_had_cpu_time() {
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(50) {}
        let pid = std::process::id();
        assert!(cpu_time(pid, u64::from(pid)).is_some());
        assert_eq!(cpu_time(pid, u64::MAX), None);
    }
}
