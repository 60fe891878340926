//! The bytes of an ELF core: System V ABI, and for the notes Linux' `struct elf_prstatus` of x86_64.

use uniprof_collector::cpu::CpuState;

/// Where memory begins in the file, so that its pages are pages of the file.
pub(super) const FIRST: u64 = 0x1000;

/// A run of virtual memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) address: u64,
    pub(super) physical: u64,
    pub(super) len: u64,
    pub(super) offset: u64,
    pub(super) writable: bool,
    pub(super) executable: bool,
}

/// Bytes that headers are added to.
pub(super) trait Writable {
    fn half(&mut self, value: u16);
    fn word(&mut self, value: u32);
    fn long(&mut self, value: u64);

    /// A program header of type `PT_NOTE`.
    fn note(&mut self, offset: u64, len: u64) {
        self.word(4);
        self.word(4);
        [offset, 0, 0, len, 0, 4].into_iter().for_each(|value| self.long(value));
    }

    /// A program header of type `PT_LOAD`.
    fn load(&mut self, segment: &Segment) {
        let Segment { address, physical, len, offset, writable, executable } = *segment;
        self.word(1);
        self.word(4 | u32::from(writable) << 1 | u32::from(executable));
        [offset, address, physical, len, len, 0x1000].into_iter().for_each(|value| self.long(value));
    }
}

impl Writable for Vec<u8> {
    fn half(&mut self, value: u16) {
        self.extend(value.to_le_bytes());
    }

    fn word(&mut self, value: u32) {
        self.extend(value.to_le_bytes());
    }

    fn long(&mut self, value: u64) {
        self.extend(value.to_le_bytes());
    }
}

/// The ELF header of a core for x86_64, with `count` program headers at `table`.
pub(super) fn header(table: u64, count: usize) -> Vec<u8> {
    let mut bytes = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    // ET_CORE, EM_X86_64.
    bytes.half(4);
    bytes.half(62);
    bytes.word(1);
    [0, table, 0].into_iter().for_each(|value| bytes.long(value));
    bytes.word(0);
    [64, 56, count as u16, 64, 0, 0].into_iter().for_each(|value| bytes.half(value));
    bytes
}

/// A note `CORE`/`NT_PRSTATUS`: the registers of a thread. What is not known is 0.
pub(super) fn prstatus(id: u32, signal: u16, state: &CpuState) -> Vec<u8> {
    /// r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi, by their places in `CpuState::general`.
    const ORDER: [usize; 15] = [15, 14, 13, 12, 6, 1, 11, 10, 9, 8, 0, 2, 3, 4, 5];
    const BODY: u32 = 336;
    let mut note = Vec::new();
    note.word(5);
    note.word(BODY);
    note.word(1);
    note.extend(*b"CORE\0\0\0\0");
    note.word(signal.into());
    note.extend([0; 8]);
    note.half(signal);
    note.extend([0; 18]);
    note.word(id);
    note.extend([0; 76]);
    ORDER.iter().for_each(|index| note.long(state.general[*index].unwrap_or(0)));
    // In place of rax at a system call: it was none.
    note.long(u64::MAX);
    note.long(state.rip);
    note.long(state.cs.unwrap_or(0).into());
    note.long(state.rflags.unwrap_or(0));
    note.long(state.rsp().unwrap_or(0));
    note.long(0);
    note.long(state.fs_base.unwrap_or(0));
    note.long(state.gs_base.unwrap_or(0));
    // ds es fs gs, and whether floating-point registers were valid.
    note.extend([0; 40]);
    note
}
