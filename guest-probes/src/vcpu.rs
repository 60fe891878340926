//! The running totals of each vCPU: its slot in the region's vCPU table.

use uniprof_wire::ring::WriterWords;
use uniprof_wire::tables::{VCPU_WORDS, VcpuField};

use crate::platform;
use crate::region::{Words, region_of};

/// One vCPU's slot.
#[derive(Clone, Copy)]
pub(crate) struct Vcpu(Words);

impl Vcpu {
    /// The slot of `vcpu`, where the region has one.
    #[inline(always)]
    pub(crate) fn of(vcpu: u32) -> Option<Self> {
        let region = region_of(vcpu)?;
        Some(Self(region.words.at_byte(region.geometry.vcpu_table() + vcpu as usize * VCPU_WORDS * 8)))
    }

    /// The calling vCPU's slot.
    #[inline(always)]
    pub(crate) fn current() -> Option<Self> {
        Self::of(platform::vcpu())
    }

    #[inline(always)]
    pub(crate) fn get(self, field: VcpuField) -> u64 {
        self.0.load(field as usize)
    }

    #[inline(always)]
    pub(crate) fn set(self, field: VcpuField, value: u64) {
        self.0.store(field as usize, value);
    }

    #[inline(always)]
    pub(crate) fn add(self, field: VcpuField, value: u64) {
        self.0.local_add(field as usize, value);
    }

    #[inline(always)]
    pub(crate) fn count(self, field: VcpuField) {
        self.0.local_increment(field as usize);
    }

    /// Marks the vCPU as up since `now`, unless it is already.
    #[inline(always)]
    pub(crate) fn online_since(self, now: u64) {
        if self.get(VcpuField::Online) == 0 {
            self.set(VcpuField::Online, now.max(1));
        }
    }

    /// TSC ticks up to `now` in which the vCPU had something to do.
    pub(crate) fn busy(self, now: u64) -> u64 {
        let since = self.get(VcpuField::IdleSince);
        let idle_now = if since == 0 { 0 } else { now.saturating_sub(since) };
        let idle = self.get(VcpuField::Idle).saturating_add(idle_now);
        now.saturating_sub(self.get(VcpuField::Online)).saturating_sub(idle)
    }
}

/// Tells the probes that the calling vCPU has come up: its time counts from here, else from its first tick.
pub fn vcpu_online() {
    let Some(vcpu) = Vcpu::current() else { return };
    let now = platform::now();
    vcpu.online_since(now);
    vcpu.set(VcpuField::Heartbeat, now);
}

/// Call before the idle loop halts the CPU, with interrupts off: time up to [`idle_exit`] is counted as idle and never
/// sampled.
pub fn idle_enter() {
    let Some(vcpu) = Vcpu::current() else { return };
    let now = platform::now();
    vcpu.set(VcpuField::Heartbeat, now);
    vcpu.set(VcpuField::IdleSince, now.max(1));
}

/// Call when the idle loop goes on, with interrupts off, or from the interrupt that makes a thread ready to run.
pub fn idle_exit() {
    let Some(vcpu) = Vcpu::current() else { return };
    let since = vcpu.get(VcpuField::IdleSince);
    if since == 0 {
        return;
    }
    let now = platform::now();
    // In this order a tick from an NMI between the two still finds the vCPU idle. In the other it would take all the idle time
    // for busy, and weigh its sample with it.
    vcpu.add(VcpuField::Idle, now.saturating_sub(since));
    vcpu.set(VcpuField::IdleSince, 0);
    vcpu.set(VcpuField::Heartbeat, now);
}
