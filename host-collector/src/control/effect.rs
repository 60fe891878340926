//! When a request takes effect: the guest counts its looks at the control page.

use std::time::{Duration, Instant};

use uniprof_wire::{
    address::GuestPhysical,
    tables::{VCPU_WORDS, VcpuStats},
};

use crate::{
    attach::Attached,
    cancel::Cancel,
    memory::{FoundRegion, GuestMemory, MemoryError},
    port::Port,
    tables::Tables,
};

/// Between two looks at the guest's counter.
const STEP: Duration = Duration::from_millis(1);

/// Knows how often a guest has looked at its control page.
pub struct Looks<'a> {
    attached: &'a Attached,
    /// `None`: over a port that is known once the guest has taken the request.
    before: Option<u64>,
    since: Instant,
}

/// What is in effect.
#[derive(Clone, Debug)]
pub struct Effect {
    /// How long it took until the guest had surely seen the request.
    pub after: Duration,
    /// What the vCPUs say then.
    pub vcpus: Vec<VcpuStats>,
}

impl<'a> Looks<'a> {
    /// As of now; to be called before a request is written.
    pub fn of(attached: &'a Attached) -> Result<Self, MemoryError> {
        let before = match attached.port {
            Some(_) => None,
            None => Some(most(&in_memory(&*attached.memory, &attached.region)?)),
        };
        Ok(Self { attached, before, since: Instant::now() })
    }

    /// Waits until the guest has begun and ended a look since [`Looks::of`]; `None` if it has not within `limit`, or the token is set.
    ///
    /// A look may have been under way at first, so it takes two. Over a port they are counted from the moment at which the guest had the request: what
    /// it says after that has been said behind the request.
    pub fn wait(&self, limit: Duration, cancel: &Cancel) -> Result<Option<Effect>, MemoryError> {
        let mut before = self.before;
        loop {
            let left = limit.saturating_sub(self.since.elapsed());
            let vcpus = match &self.attached.port {
                Some(port) => over_port(port, left, cancel),
                None => Some(in_memory(&*self.attached.memory, &self.attached.region)?),
            };
            let after = self.since.elapsed();
            let Some(vcpus) = vcpus else { return Ok(None) };
            let looks = most(&vcpus);
            if looks.wrapping_sub(*before.get_or_insert(looks)) >= 2 {
                return Ok(Some(Effect { after, vcpus }));
            }
            if after > limit || !cancel.sleep(STEP) {
                return Ok(None);
            }
        }
    }
}

/// What the vCPUs of a guest say now; `None`: it does not answer over its port within `limit`, or the token is set.
pub fn vcpus_now(
    attached: &Attached,
    limit: Duration,
    cancel: &Cancel,
) -> Result<Option<Vec<VcpuStats>>, MemoryError> {
    match &attached.port {
        Some(port) => Ok(over_port(port, limit, cancel)),
        None => in_memory(&*attached.memory, &attached.region).map(Some),
    }
}

fn over_port(port: &Port, limit: Duration, cancel: &Cancel) -> Option<Vec<VcpuStats>> {
    let copy = port.look(limit, cancel)?;
    Tables::parse(&copy).ok().map(|tables| tables.vcpus)
}

fn in_memory(memory: &dyn GuestMemory, region: &FoundRegion) -> Result<Vec<VcpuStats>, MemoryError> {
    let geometry = region.header.geometry;
    let mut bytes = vec![0; geometry.vcpus() as usize * VCPU_WORDS * 8];
    let table = region.at.0.saturating_add(geometry.vcpu_table() as u64);
    memory.read(GuestPhysical(table), &mut bytes)?;
    let words = bytes.as_chunks::<8>().0;
    Ok(words
        .chunks_exact(VCPU_WORDS)
        .map(|slot| VcpuStats::from_words(&std::array::from_fn(|word| u64::from_le_bytes(slot[word]))))
        .collect())
}

/// All vCPUs count every look; one whose slot is being written may lag behind.
fn most(vcpus: &[VcpuStats]) -> u64 {
    vcpus.iter().map(|vcpu| vcpu.looks).max().unwrap_or(0)
}
