use std::io::Cursor;
use std::ops::Range;
use std::sync::Arc;

use uniprof_collector::memory::{GuestMemory, MemoryError, Window};
use uniprof_wire::address::GuestPhysical;
use uniprof_wire::tables::ThreadState;

use super::*;
use crate::lab::{Guest, Memory, exception, thread};

/// A core, read by the offsets of the System V ABI alone.
struct Core(Vec<u8>);

impl Core {
    fn of(guest: Guest) -> (Self, Exported) {
        let mut file = Cursor::new(Vec::new());
        let told = write(&mut guest.subject(), &mut file).unwrap();
        (Self(file.into_inner()), told)
    }

    fn number(&self, at: usize, bytes: usize) -> u64 {
        self.0[at..at + bytes].iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
    }

    /// Type, offset, address, length of each program header.
    fn headers(&self) -> Vec<[u64; 4]> {
        let (table, count) = (self.number(32, 8) as usize, self.number(56, 2) as usize);
        let header = |at| {
            [self.number(at, 4), self.number(at + 8, 8), self.number(at + 16, 8), self.number(at + 32, 8)]
        };
        (0..count).map(|index| header(table + index * 56)).collect()
    }

    fn byte(&self, address: u64) -> Option<u8> {
        let holds =
            |header: &&[u64; 4]| header[0] == 1 && (header[2]..header[2] + header[3]).contains(&address);
        let [_, offset, start, _] = *self.headers().iter().find(holds)?;
        Some(self.0[(offset + address - start) as usize])
    }

    /// Number, signal, rip, rsp and rbx of each thread.
    fn threads(&self) -> Vec<[u64; 5]> {
        let [_, offset, _, len] = *self.headers().iter().find(|header| header[0] == 4).unwrap();
        let notes = (offset..offset + len).step_by(20 + 336);
        notes
            .map(|note| {
                let body = note as usize + 20;
                let register = |index: usize| self.number(body + 112 + 8 * index, 8);
                [
                    self.number(body + 32, 4),
                    self.number(body + 12, 2),
                    register(16),
                    register(19),
                    register(5),
                ]
            })
            .collect()
    }
}

#[test]
fn memory_is_found_by_virtual_address_and_only_where_it_is_mapped() {
    let mut guest = Guest::bare();
    guest.cpu(0x1000, 0x8000);
    guest.with_paging(&[0x5000]);
    guest.memory.write(0x4321, b"here");
    guest.memory.write(0x5321, b"hole");
    guest.memory.write(0x20_0321, b"not mapped");
    let (core, told) = Core::of(guest);
    assert_eq!(core.byte(0x4321), Some(b'h'));
    assert_eq!(core.byte(0x5321), None);
    assert_eq!(core.byte(0x20_0321), None);
    assert_eq!(core.byte(0x6000), Some(0));
    assert_eq!(told.memory_bytes, 0x60_0000 - 0x1000);
    assert_eq!(told.lacks, [""; 0]);
}

#[test]
fn zeros_take_no_room() {
    let mut guest = Guest::bare();
    guest.cpu(0x1000, 0x8000);
    guest.memory.write(0x4000, &[0; 0x3000]);
    guest.memory.write(0xa0_0000, b"x");
    let (core, told) = Core::of(guest);
    assert_eq!((told.stored_bytes, told.memory_bytes), (0x1000, 16 << 20));
    assert_eq!(core.byte(0xa0_0000), Some(b'x'));
}

#[test]
fn memory_that_is_mapped_twice_is_stored_once() {
    let mut guest = Guest::bare();
    guest.cpu(0x1000, 0x8000);
    guest.with_paging(&[]);
    // The tables' second gigabyte is the first again.
    guest.memory.write_words(0xf0_1008, &[0xf0_2003]);
    guest.memory.write(0x4321, b"here");
    let (core, told) = Core::of(guest);
    assert_eq!(core.byte(0x4321), Some(b'h'));
    assert_eq!(core.byte(0x4000_4321), Some(b'h'));
    assert_eq!(told.memory_bytes, 0x60_0000);
    assert!(core.0.len() < 0x61_0000, "{:#x}", core.0.len());
}

#[test]
fn a_thread_that_crashed_comes_first_and_has_a_signal() {
    let mut guest = Guest::with_region();
    guest.cpu(0x100, 0x8000).general[1] = Some(0xbb);
    guest.cpu(0x200, 0x9000);
    let mut waiting = thread(3, "waiting", ThreadState::Blocked, 0x10_1000);
    waiting.saved = [0x300, 0x10_0000, 0];
    guest.thread(&waiting);
    guest.thread(&thread(1, "faulty", ThreadState::Running, 0x12_0000));
    guest.thread(&thread(9, "gone", ThreadState::Exited, 0x14_0000));
    guest.vcpu_word(1, 7, 1);
    guest.crash(1, &exception(14, 0, 0x1111, 0x11_f000));
    let (core, told) = Core::of(guest);
    let ids: Vec<_> = told.threads.iter().map(|thread| thread.id).collect();
    assert_eq!(ids, [1, 1_000_000, 3]);
    let threads = core.threads();
    assert_eq!(threads[0][..4], [1, 11, 0x1111, 0x11_f000]);
    assert_eq!(threads[1], [1_000_000, 0, 0x100, 0x8000, 0xbb]);
    assert_eq!(threads[2], [3, 0, 0x300, 0x10_0000, 0]);
}

#[test]
fn without_a_region_there_is_a_thread_for_each_vcpu() {
    let mut guest = Guest::bare();
    guest.cpu(0x100, 0x8000);
    guest.cpu(0x200, 0x9000);
    let (core, _) = Core::of(guest);
    let threads: Vec<_> = core.threads().iter().map(|thread| (thread[0], thread[2])).collect();
    assert_eq!(threads, [(1, 0x100), (2, 0x200)]);
}

#[test]
fn without_registers_there_is_no_core() {
    let error = write(&mut Guest::bare().subject(), &mut Cursor::new(Vec::new())).unwrap_err();
    assert!(error.to_string().contains("--regs"), "{error}");
}

/// Memory that lacks two pages.
struct Damaged(Arc<Memory>);

impl GuestMemory for Damaged {
    fn read(&self, at: GuestPhysical, into: &mut [u8]) -> Result<(), MemoryError> {
        let len = into.len() as u64;
        if at.0 < 0x9000 && at.0 + len > 0x7000 {
            return Err(MemoryError::Missing { at, len, why: "it is cut off" });
        }
        self.0.read(at, into)
    }

    fn ranges(&self) -> Result<Vec<Range<GuestPhysical>>, MemoryError> {
        self.0.ranges()
    }

    fn window(&self, at: GuestPhysical, len: u64) -> Result<Window, MemoryError> {
        self.0.window(at, len)
    }
}

#[test]
fn what_cannot_be_read_is_no_memory_of_the_core() {
    let mut guest = Guest::bare();
    guest.cpu(0x1000, 0x8000);
    guest.memory.write(0x9000, b"x");
    let memory = Damaged(Arc::clone(&guest.memory));
    let mut subject = guest.subject();
    subject.memory = Arc::new(memory);
    let mut file = Cursor::new(Vec::new());
    let told = write(&mut subject, &mut file).unwrap();
    let core = Core(file.into_inner());
    assert_eq!([0x6fff, 0x7000, 0x8fff, 0x9000].map(|at| core.byte(at)), [Some(0), None, None, Some(b'x')]);
    assert!(told.lacks[0].starts_with("8192 bytes that the guest had mapped could not be read"), "{told:?}");
}
