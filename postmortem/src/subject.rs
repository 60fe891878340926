//! What is looked at.

use std::sync::Arc;

use uniprof_collector::cpu::{CpuState, StateSource};
use uniprof_collector::dump::{Dump, Facts};
use uniprof_collector::memory::GuestMemory;
use uniprof_collector::paging::{AddressSpace, PageTables};
use uniprof_wire::address::GuestPhysical;
use uniprof_wire::tables::{CrashReason, CrashRecord};

use crate::program::Program;
use crate::region::Region;

/// What is left of a guest, or what a live one shows, before its addresses have names: this says which images to look for.
pub struct Evidence {
    /// Its physical memory.
    pub memory: Arc<dyn GuestMemory>,
    /// Its vCPUs, by number.
    pub cpus: Vec<CpuState>,
    /// The observation region, or why there is none, in a sentence.
    pub region: Result<Region, String>,
    /// What was known when a dump was taken.
    pub facts: Option<Facts>,
    /// What is missing or damaged, in sentences.
    pub remarks: Vec<String>,
}

impl Evidence {
    /// Of a dump.
    #[must_use]
    pub fn of_dump(mut dump: Dump) -> Self {
        let hint = dump.facts.as_ref().and_then(|facts| facts.region_at).map(GuestPhysical);
        let mut evidence = Self::new(dump.memory, dump.cpus, hint);
        let lacks = dump.facts.as_mut().map(|facts| std::mem::take(&mut facts.lacks));
        evidence.facts = dump.facts;
        evidence.remarks.extend(dump.remarks);
        evidence.remarks.extend(lacks.unwrap_or_default());
        evidence
    }

    /// Of memory and registers. Where nobody knows registers, those of the crash records stand in.
    #[must_use]
    pub fn new(memory: Arc<dyn GuestMemory>, cpus: Vec<CpuState>, hint: Option<GuestPhysical>) -> Self {
        let mut memory = memory;
        let (region, mended) = Region::find_or_mend(&mut memory, hint);
        let cpus = match &region {
            Ok(region) if cpus.is_empty() => of_crash_records(region),
            _ => cpus,
        };
        Self { memory, cpus, region, facts: None, remarks: mended.into_iter().collect() }
    }
}

/// The registers that the guest's crash records have.
#[must_use]
pub fn of_crash_records(region: &Region) -> Vec<CpuState> {
    let records = (0..).zip(&region.tables.crashes);
    records.filter_map(|(vcpu, slot)| Some(of_crash_record(vcpu, &slot.entry()?))).collect()
}

/// The registers that a crash record has. An exception saves all of them; any other crash is a call, and those that mean nothing
/// to its caller are 0.
pub(crate) fn of_crash_record(vcpu: u32, record: &CrashRecord) -> CpuState {
    let is_whole = record.reason == CrashReason::Exception;
    CpuState {
        general: record.registers.map(|value| (is_whole || value != 0).then_some(value)),
        rflags: Some(record.rflags),
        cr2: Some(record.cr2),
        cr3: Some(record.cr3).filter(|cr3| cr3.0 != 0),
        ..CpuState::new(vcpu, record.rip, StateSource::CrashRecord)
    }
}

/// A guest that stands still: a dump, or a live one that is paused, or whose memory is read while it runs.
pub struct Subject {
    /// Its physical memory.
    pub memory: Arc<dyn GuestMemory>,
    /// Its vCPUs, by number; where neither a dump nor a hypervisor told of them, as far as the region does.
    pub cpus: Vec<CpuState>,
    /// Virtual memory, as the first vCPU with page tables sees it.
    pub space: AddressSpace,
    /// The observation region, or why there is none, in a sentence.
    pub region: Result<Region, String>,
    /// Images and names.
    pub program: Program,
    /// What was known when a dump was taken.
    pub facts: Option<Facts>,
    /// What is missing or damaged, in sentences.
    pub remarks: Vec<String>,
}

impl Subject {
    /// Evidence and the images that were found for it.
    #[must_use]
    pub fn new(evidence: Evidence, program: Program) -> Self {
        let Evidence { memory, cpus, region, facts, remarks } = evidence;
        let tables = cpus.iter().find_map(PageTables::of);
        let space = AddressSpace::new(Arc::clone(&memory), tables);
        Self { memory, cpus, space, region, program, facts, remarks }
    }

    /// Whether the guest ran while its memory was read, so that what its tables say may be of different moments.
    #[must_use]
    pub fn was_moving(&self) -> bool {
        self.facts.as_ref().is_some_and(|facts| facts.moving)
    }
}
