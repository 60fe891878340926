//! Writers of dumps, from the documents that describe the formats.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::dump::ReadAt;

/// A growing file in memory; numbers are little-endian.
#[derive(Clone, Debug, Default)]
pub(super) struct Bytes(pub(super) Vec<u8>);

impl Bytes {
    pub(super) fn u16(mut self, value: u16) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }
    pub(super) fn u32(mut self, value: u32) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }
    pub(super) fn u64(mut self, value: u64) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }
    pub(super) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }
    pub(super) fn zeros(mut self, count: usize) -> Self {
        self.0.extend(std::iter::repeat_n(0, count));
        self
    }
}

/// A note; names and bodies are padded to whole words.
pub(super) fn note(name: &str, kind: u32, body: &[u8]) -> Vec<u8> {
    let name = [name.as_bytes(), b"\0"].concat();
    let mut bytes = Bytes::default().u32(name.len() as u32).u32(body.len() as u32).u32(kind).raw(&name);
    bytes = bytes.zeros((4 - name.len() % 4) % 4).raw(body);
    bytes.zeros((4 - body.len() % 4) % 4).0
}

/// `CORE`/`NT_PRSTATUS` of x86-64: register number n (in the order of `user_regs_struct`) holds `first + n`.
pub(super) fn prstatus(first: u64) -> Vec<u8> {
    let mut body = Bytes::default().zeros(112);
    for register in 0..27 {
        body = body.u64(first + register);
    }
    note("CORE", 1, &body.zeros(8).0)
}

/// QEMU's note: general register n (rax rbx rcx rdx rsi rdi rsp rbp r8 …) holds `first + n`, segment n has selector and base
/// from `first + 100 + n`, control register n is `first + 200 + n`.
pub(super) fn qemu_note(first: u64) -> Vec<u8> {
    let mut body = Bytes::default().u32(1).u32(432);
    for register in 0..18 {
        body = body.u64(first + register);
    }
    for segment in 0..10 {
        let value = first + 100 + segment;
        body = body.u32(value as u32).u32(0xfff).u32(0xa09b00).u32(0).u64(value);
    }
    for control in 0..5 {
        body = body.u64(first + 200 + control);
    }
    note("QEMU", 0, &body.0)
}

/// Program header of a 64-bit core: kind, file offset, virtual and physical address, bytes in the file and in memory.
pub(super) type Load = (u32, u64, u64, u64, u64, u64);

/// The headers of a 64-bit core: file header and program headers, which end at 64 + 56 × their count.
pub(super) fn elf_headers(osabi: u8, loads: &[Load]) -> Bytes {
    let mut bytes = Bytes::default().raw(b"\x7fELF\x02\x01\x01").raw(&[osabi]).zeros(8);
    bytes = bytes.u16(4).u16(62).u32(1).u64(0).u64(64).u64(0).u32(0);
    bytes = bytes.u16(64).u16(56).u16(loads.len() as u16).u16(0).u16(0).u16(0);
    for &(kind, offset, virt, phys, stored, len) in loads {
        bytes = bytes.u32(kind).u32(0).u64(offset).u64(virt).u64(phys).u64(stored).u64(len).u64(0);
    }
    bytes
}

/// A page that tells its number.
pub(super) fn page(number: u64) -> Vec<u8> {
    (0..512u64).flat_map(|word| (number << 32 | word).to_le_bytes()).collect()
}

/// Counts what is read from it.
pub(super) struct Counted<S> {
    pub(super) source: S,
    pub(super) bytes: AtomicU64,
}

impl<S> Counted<S> {
    pub(super) fn new(source: S) -> Arc<Self> {
        Arc::new(Self { source, bytes: AtomicU64::new(0) })
    }
    pub(super) fn so_far(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

impl<S: ReadAt> ReadAt for Counted<S> {
    fn size(&self) -> u64 {
        self.source.size()
    }
    fn read_exact_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        self.bytes.fetch_add(into.len() as u64, Ordering::Relaxed);
        self.source.read_exact_at(into, offset)
    }
    fn data(&self) -> io::Result<Vec<Range<u64>>> {
        self.source.data()
    }
}
