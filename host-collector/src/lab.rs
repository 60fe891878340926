//! What the tests of several modules share: small kernels for a real QEMU, and a guest that is only played.

use std::{
    fs::File,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use uniprof_wire::{
    layout::{MAGIC, RegionHeader, RingKind},
    record::{EventRecord, Record},
    ring::{Writer, WriterWords},
    tables::{HEAP_WORDS, HISTOGRAM_WORDS, HeapEntry, MIN_HEAP_SLOTS, bucket_of, histogram_field},
};

use crate::{
    guests::Registry,
    qemu::{AcceleratorChoice, Guest, LaunchError, LaunchOptions, LaunchSpec, launch},
    tables::tests::header,
};

/// An ELF that QEMU boots through PVH, whose 32-bit code is `code`.
fn kernel(dir: &Path, code: &[u8]) -> PathBuf {
    let mut elf = Vec::new();
    let le =
        |elf: &mut Vec<u8>, value: u64, bytes: usize| elf.extend_from_slice(&value.to_le_bytes()[..bytes]);
    elf.extend_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    for (value, bytes) in [
        (2, 2),
        (62, 2),
        (1, 4),
        (0x10_0000, 8),
        (64, 8),
        (0, 8),
        (0, 4),
        (64, 2),
        (56, 2),
        (2, 2),
        (0, 2),
        (0, 2),
        (0, 2),
    ] {
        le(&mut elf, value, bytes);
    }
    let len = code.len() as u64;
    // PT_LOAD of the code, PT_NOTE with XEN_ELFNOTE_PHYS32_ENTRY.
    for (value, bytes) in
        [(1, 4), (5, 4), (0x1000, 8), (0x10_0000, 8), (0x10_0000, 8), (len, 8), (len, 8), (0x1000, 8)]
    {
        le(&mut elf, value, bytes);
    }
    for (value, bytes) in
        [(4, 4), (4, 4), (0x800, 8), (0x20_0000, 8), (0x20_0000, 8), (20, 8), (20, 8), (4, 8)]
    {
        le(&mut elf, value, bytes);
    }
    elf.resize(0x800, 0);
    for (value, bytes) in [(4, 4), (4, 4), (18, 4)] {
        le(&mut elf, value, bytes);
    }
    elf.extend_from_slice(b"Xen\0");
    le(&mut elf, 0x10_0000, 4);
    elf.resize(0x1000, 0);
    elf.extend_from_slice(code);
    let path = dir.join("kernel.elf");
    std::fs::write(&path, elf).unwrap();
    path
}

/// What a kernel does.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Does {
    /// Nothing.
    Sulk,
    /// Prints "hi" and nothing more.
    Hang,
    /// Prints "hi" and ends with 0x10.
    Exit,
}

/// Writes "hi\n" to COM1, then loops or writes 0x10 to the debug-exit port.
fn code(does: Does) -> Vec<u8> {
    let mut code = vec![0x66, 0xba, 0xf8, 0x03]; // mov dx, 0x3f8
    for byte in b"hi\n" {
        code.extend([0xb0, *byte, 0xee]); // mov al, byte; out dx, al
    }
    if does == Does::Sulk {
        code.clear();
    }
    if does != Does::Exit {
        code.extend([0xeb, 0xfe]); // jmp .
    } else {
        code.extend([0x66, 0xba, 0x01, 0x05, 0xb8, 0x10, 0, 0, 0, 0xef, 0xeb, 0xfe]); // mov dx, 0x501; out dx, 0x10
    }
    code
}

/// A registry of its own, and kernels.
pub(crate) struct Lab {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) registry: Registry,
}

impl Lab {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("run");
        Self { registry: Registry::at(root).unwrap(), dir }
    }

    pub(crate) fn spec(&self, name: &str, does: Does) -> LaunchSpec {
        let mut spec = LaunchSpec::new(name, kernel(self.dir.path(), &code(does)));
        spec.accelerator = AcceleratorChoice::Tcg;
        spec.memory = 32 << 20;
        spec
    }

    pub(crate) fn launch(&self, spec: &LaunchSpec) -> Result<Guest, LaunchError> {
        launch(&self.registry, spec, LaunchOptions::default())
    }

    pub(crate) fn left(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.registry.path()).unwrap().flatten().map(|entry| entry.path());
        entries.filter(|path| path.is_dir()).collect()
    }
}

/// Histograms of each vCPU of the played guest.
const HISTOGRAMS: u32 = 2;
/// Where the played guest has its region.
pub(crate) const BASE: u64 = 0xfe00_0000;

/// One ring of the played guest: words of the file.
#[derive(Clone, Copy)]
pub(crate) struct FileWords<'a> {
    file: &'a File,
    first: usize,
}

impl WriterWords for FileWords<'_> {
    fn load(&self, index: usize) -> u64 {
        let mut bytes = [0; 8];
        self.file.read_exact_at(&mut bytes, ((self.first + index) * 8) as u64).unwrap();
        u64::from_le_bytes(bytes)
    }
    fn store(&self, index: usize, value: u64) {
        self.file.write_all_at(&value.to_le_bytes(), ((self.first + index) * 8) as u64).unwrap();
    }
    fn local_compare_exchange(&self, index: usize, old: u64, new: u64) -> bool {
        let same = self.load(index) == old;
        if same {
            self.store(index, new);
        }
        same
    }
    fn local_add(&self, index: usize, value: u64) {
        self.store(index, self.load(index).wrapping_add(value));
    }
}

/// A guest played by a writer over the same file that the collector reads.
pub(crate) struct PlayedGuest {
    pub(crate) file: tempfile::NamedTempFile,
    pub(crate) header: RegionHeader,
    pub(crate) written: AtomicU64,
}

impl PlayedGuest {
    pub(crate) fn boot(vcpus: u32) -> Self {
        let mut header = header(BASE, vcpus, 64 << 10);
        let geometry = header.geometry.with_heap_slots(MIN_HEAP_SLOTS).unwrap();
        header.geometry = geometry.with_histograms(HISTOGRAMS).unwrap();
        let file = tempfile::Builder::new().tempfile_in("/dev/shm").unwrap();
        file.as_file().set_len(header.geometry.region_bytes() as u64).unwrap();
        let guest = Self { file, header, written: AtomicU64::new(0) };
        guest.publish();
        guest
    }

    pub(crate) fn words(&self, vcpu: u32, kind: RingKind) -> FileWords<'_> {
        FileWords { file: self.file.as_file(), first: self.header.geometry.ring_offset(vcpu, kind) / 8 }
    }

    pub(crate) fn publish(&self) {
        let magic = FileWords { file: self.file.as_file(), first: 0 };
        magic.store(0, 0);
        for vcpu in 0..self.header.geometry.vcpus() {
            for kind in RingKind::ALL {
                Writer::new(self.words(vcpu, kind), self.header.geometry.ring(), self.header.salt()).format();
            }
        }
        for (index, word) in self.header.to_words().iter().enumerate().skip(1) {
            magic.store(index, *word);
        }
        magic.store(0, MAGIC);
    }

    /// Counts a value in the second histogram of a vCPU, whose site is 40.
    pub(crate) fn count(&self, vcpu: u32, value: u64) {
        let at = self.header.geometry.histogram_table(vcpu) / 8 + HISTOGRAM_WORDS;
        let own = FileWords { file: self.file.as_file(), first: at };
        own.store(histogram_field::SITE, 41);
        own.local_add(histogram_field::COUNT, 1);
        own.local_add(histogram_field::SUM, value);
        own.local_add(histogram_field::BUCKETS + bucket_of(value), 1);
        own.store(histogram_field::MAX, own.load(histogram_field::MAX).max(value));
    }

    /// Puts a block into a slot of the heap table.
    pub(crate) fn allocate(&self, slot: usize, block: &HeapEntry) {
        let geometry = self.header.geometry;
        let words = |at: usize| FileWords { file: self.file.as_file(), first: at / 8 };
        let entry = words(geometry.heap_entries() + slot * HEAP_WORDS * 8);
        block.to_words().iter().enumerate().for_each(|(index, word)| entry.store(index, *word));
        words(geometry.heap_keys()).store(slot, block.address.0);
    }

    pub(crate) fn write(&self, vcpu: u32, records: u64) {
        let writer =
            Writer::new(self.words(vcpu, RingKind::Events), self.header.geometry.ring(), self.header.salt());
        for n in 0..records {
            let event = EventRecord { tsc: n, site: 0, thread: 0, args: &[n; 5] };
            writer.write_record(&Record::Event(event)).unwrap();
        }
        self.written.fetch_add(records, Ordering::Relaxed);
    }
}
