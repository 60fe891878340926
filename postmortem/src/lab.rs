//! Guests made by hand, for tests: memory, page tables, registers, a region. None of it comes from the layouts that production
//! code reads, but for the encoders of the wire format.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use uniprof_collector::cpu::{CpuState, StateSource};
use uniprof_collector::memory::{GuestMemory, MemoryError, Window};
use uniprof_wire::address::{GuestPhysical, GuestVirtual};
use uniprof_wire::layout::{Architecture, Geometry, RegionHeader};
use uniprof_wire::tables::{
    CRASH_WORDS, CrashReason, CrashRecord, HeapEntry, REGISTERS, THREAD_WORDS, ThreadEntry, ThreadState,
    VCPU_WORDS,
};
use uniprof_wire::text::FixedText;

use crate::{Evidence, Program, Subject};

/// Where made guests have their region.
pub(crate) const REGION: u64 = 0x40_0000;
const BYTES: u64 = 16 << 20;
const PAGE: u64 = 4096;

/// Memory of 16 MiB, of which only what was written is kept.
#[derive(Default)]
pub(crate) struct Memory(Mutex<BTreeMap<u64, Vec<u8>>>);

impl Memory {
    pub(crate) fn write(&self, at: u64, bytes: &[u8]) {
        let mut pages = self.0.lock().unwrap();
        for (index, byte) in (0..).zip(bytes) {
            let at = at + index;
            let page = pages.entry(at / PAGE).or_insert_with(|| vec![0; PAGE as usize]);
            page[(at % PAGE) as usize] = *byte;
        }
    }

    pub(crate) fn write_words(&self, at: u64, words: &[u64]) {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.write(at, &bytes);
    }
}

impl GuestMemory for Memory {
    fn read(&self, at: GuestPhysical, into: &mut [u8]) -> Result<(), MemoryError> {
        let len = into.len() as u64;
        if at.0.checked_add(len).is_none_or(|end| end > BYTES) {
            return Err(MemoryError::Absent { at, len });
        }
        let pages = self.0.lock().unwrap();
        for (index, byte) in (at.0..).zip(into) {
            *byte = pages.get(&(index / PAGE)).map_or(0, |page| page[(index % PAGE) as usize]);
        }
        Ok(())
    }

    fn ranges(&self) -> Result<Vec<Range<GuestPhysical>>, MemoryError> {
        Ok(vec![GuestPhysical(0)..GuestPhysical(BYTES)])
    }

    fn resident(&self) -> Result<Vec<Range<GuestPhysical>>, MemoryError> {
        let page = |number: u64| GuestPhysical(number * PAGE)..GuestPhysical((number + 1) * PAGE);
        Ok(self.0.lock().unwrap().keys().map(|number| page(*number)).collect())
    }

    fn window(&self, at: GuestPhysical, len: u64) -> Result<Window, MemoryError> {
        let mut bytes = vec![0; len as usize];
        self.read(at, &mut bytes)?;
        let words: Vec<u64> = bytes.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)).collect();
        Ok(Window::from_words(&words))
    }
}

/// A guest in the making.
pub(crate) struct Guest {
    pub(crate) memory: Arc<Memory>,
    pub(crate) cpus: Vec<CpuState>,
    geometry: Geometry,
    threads: usize,
}

impl Guest {
    /// Without a region, vCPUs and page tables.
    pub(crate) fn bare() -> Self {
        let geometry = Geometry::with_ring_bytes(2, 16 << 10).unwrap().with_heap_slots(64).unwrap();
        Self { memory: Arc::default(), cpus: Vec::new(), geometry, threads: 0 }
    }

    /// With a region for two vCPUs, whose clocks ran for ten seconds of 1 GHz.
    pub(crate) fn with_region() -> Self {
        let guest = Self::bare();
        let header = RegionHeader {
            architecture: Architecture::X86_64,
            boot_id: 0x1_0000_0005,
            region_gpa: GuestPhysical(REGION),
            region_gva: GuestVirtual(REGION),
            geometry: guest.geometry,
            tsc_hz: 1_000_000_000,
            boot_tsc: 1_000_000_000,
            boot_wall_ns: 0,
            sites: (GuestVirtual(0), GuestVirtual(0)),
            name: FixedText::new(b"made"),
        };
        guest.memory.write_words(REGION, &header.to_words());
        // The last byte is written too, so that the region lies in memory as a whole.
        guest.memory.write(REGION + guest.geometry.region_bytes() as u64 - 1, &[0]);
        for vcpu in 0..2 {
            guest.vcpu_word(vcpu, 0, 11_000_000_000);
            guest.vcpu_word(vcpu, 1, 1_000_000_000);
        }
        guest
    }

    /// Maps 2 MiB at 0 and at 4 MiB one to one, but for the pages of `holes`, by tables at 0xf0_0000.
    pub(crate) fn with_paging(&mut self, holes: &[u64]) {
        let tables = 0xf0_0000;
        self.memory.write_words(tables, &[tables + 0x1003]);
        self.memory.write_words(tables + 0x1000, &[tables + 0x2003]);
        for (index, base) in [(0, 0), (2, 0x40_0000), (3, 0x60_0000)] {
            let leaves = tables + 0x3000 + index * PAGE;
            self.memory.write_words(tables + 0x2000 + index * 8, &[leaves + 3]);
            for page in (0..512).map(|page| base + page * PAGE).filter(|page| !holes.contains(page)) {
                self.memory.write_words(leaves + (page - base) / PAGE * 8, &[page + 3]);
            }
        }
        for cpu in &mut self.cpus {
            cpu.cr3 = Some(GuestPhysical(tables));
            cpu.cr0 = Some(1 << 31 | 1);
        }
    }

    pub(crate) fn cpu(&mut self, rip: u64, rsp: u64) -> &mut CpuState {
        let mut cpu = CpuState::new(self.cpus.len() as u32, rip, StateSource::QemuNote);
        cpu.general = [Some(0); 16];
        cpu.general[7] = Some(rsp);
        cpu.rflags = Some(0x202);
        cpu.halted = Some(false);
        self.cpus.push(cpu);
        self.cpus.last_mut().unwrap()
    }

    pub(crate) fn vcpu_word(&self, vcpu: usize, field: usize, value: u64) {
        let at = self.geometry.vcpu_table() + vcpu * VCPU_WORDS * 8 + field * 8;
        self.memory.write_words(REGION + at as u64, &[value]);
    }

    pub(crate) fn crash(&self, vcpu: usize, record: &CrashRecord) {
        self.crash_slot(vcpu, 2, record);
    }

    /// A record that was begun and not finished.
    pub(crate) fn torn_crash(&self, vcpu: usize, record: &CrashRecord) {
        self.crash_slot(vcpu, 1, record);
    }

    fn crash_slot(&self, vcpu: usize, sequence: u64, record: &CrashRecord) {
        let at = REGION + (self.geometry.crash_table() + vcpu * CRASH_WORDS * 8) as u64;
        self.memory.write_words(at, &[sequence]);
        self.memory.write_words(at + 8, &record.to_words());
    }

    pub(crate) fn thread(&mut self, thread: &ThreadEntry) {
        let at = REGION + (self.geometry.thread_table() + self.threads * THREAD_WORDS * 8) as u64;
        self.memory.write_words(at, &[2]);
        self.memory.write_words(at + 8, &thread.to_words());
        self.threads += 1;
    }

    /// Puts a block into the heap table, under its own key or another.
    pub(crate) fn heap(&self, slot: usize, key: u64, entry: &HeapEntry) {
        let at = |offset: usize| REGION + offset as u64;
        self.memory.write_words(at(self.geometry.heap_keys() + slot * 8), &[key]);
        let words = entry.to_words();
        self.memory.write_words(at(self.geometry.heap_entries() + slot * words.len() * 8), &words);
    }

    pub(crate) fn subject(self) -> Subject {
        let mut evidence = Evidence::new(self.memory, self.cpus, None);
        if let Ok(region) = &evidence.region {
            assert_eq!(region.found.at.0, REGION);
        }
        evidence.remarks.clear();
        Subject::new(evidence, Program::default())
    }
}

/// A thread with a stack of 16 KiB below `top`.
pub(crate) fn thread(id: u32, name: &str, state: ThreadState, top: u64) -> ThreadEntry {
    ThreadEntry {
        id,
        state,
        stack: (GuestVirtual(top - 0x4000), GuestVirtual(top)),
        name: FixedText::new(name.as_bytes()),
        ..ThreadEntry::default()
    }
}

/// A record of an exception.
pub(crate) fn exception(vector: u8, cr2: u64, rip: u64, rsp: u64) -> CrashRecord {
    let mut registers = [1; REGISTERS];
    registers[7] = rsp;
    CrashRecord {
        reason: CrashReason::Exception,
        vector,
        tsc: 11_000_000_000,
        thread: 1,
        rip,
        rflags: 0x202,
        cr2,
        cr3: GuestPhysical(0),
        error_code: 0,
        registers,
        message: FixedText::new(b"an exception"),
    }
}

#[test]
fn made_page_tables_have_the_holes_that_were_asked_for() {
    let mut guest = Guest::bare();
    guest.cpu(0, 0);
    guest.with_paging(&[0x5000]);
    guest.memory.write_words(0x4010, &[42]);
    let subject = guest.subject();
    assert_eq!(subject.space.word(0x4010), Some(42));
    assert_eq!(subject.space.word(0x5010), None);
    assert_eq!(subject.space.word(0x20_0000), None);
    assert_eq!(subject.space.word(REGION), Some(0));
}
