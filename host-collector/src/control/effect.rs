//! When a request takes effect: the guest counts its looks at the control page.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use uniprof_wire::{
    address::GuestPhysical,
    tables::{VCPU_WORDS, VcpuStats},
};

use crate::{
    cancel::Cancel,
    memory::{FoundRegion, GuestMemory, MemoryError},
};

/// Between two looks at the guest's counter.
const STEP: Duration = Duration::from_millis(1);

/// Knows how often a guest has looked at its control page.
pub struct Looks {
    memory: Arc<dyn GuestMemory>,
    region: FoundRegion,
    before: u64,
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

impl Looks {
    /// As of now; to be called before a request is written.
    pub fn of(memory: Arc<dyn GuestMemory>, region: FoundRegion) -> Result<Self, MemoryError> {
        let mut looks = Self { memory, region, before: 0, since: Instant::now() };
        looks.before = most(&looks.vcpus()?);
        Ok(looks)
    }

    /// What the vCPUs say now.
    pub fn vcpus(&self) -> Result<Vec<VcpuStats>, MemoryError> {
        let geometry = self.region.header.geometry;
        let mut bytes = vec![0; geometry.vcpus() as usize * VCPU_WORDS * 8];
        let table = self.region.at.0.saturating_add(geometry.vcpu_table() as u64);
        self.memory.read(GuestPhysical(table), &mut bytes)?;
        let words = bytes.as_chunks::<8>().0;
        Ok(words
            .chunks_exact(VCPU_WORDS)
            .map(|slot| VcpuStats::from_words(&std::array::from_fn(|word| u64::from_le_bytes(slot[word]))))
            .collect())
    }

    /// Waits until the guest has begun and ended a look since [`Looks::of`]; `None` if it has not within `limit`, or the token is set.
    ///
    /// A look may have been under way at first, so it takes two.
    pub fn wait(&self, limit: Duration, cancel: &Cancel) -> Result<Option<Effect>, MemoryError> {
        loop {
            let vcpus = self.vcpus()?;
            let after = self.since.elapsed();
            if most(&vcpus).wrapping_sub(self.before) >= 2 {
                return Ok(Some(Effect { after, vcpus }));
            }
            if after > limit || !cancel.sleep(STEP) {
                return Ok(None);
            }
        }
    }
}

/// All vCPUs count every look; one whose slot is being written may lag behind.
fn most(vcpus: &[VcpuStats]) -> u64 {
    vcpus.iter().map(|vcpu| vcpu.looks).max().unwrap_or(0)
}
