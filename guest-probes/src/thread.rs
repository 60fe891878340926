//! Threads: who exists, who runs, for how long.

use core::ops::Range;
use core::sync::atomic::Ordering;

use uniprof_wire::address::GuestVirtual;
use uniprof_wire::layout::RingKind;
use uniprof_wire::record::{
    Class, MAX_NAME_BYTES, Record, SwitchReason, SwitchRecord, Text, ThreadAction, ThreadRecord,
};
use uniprof_wire::ring::WriterWords;
use uniprof_wire::tables::{THREAD_SLOTS, THREAD_WORDS, ThreadEntry, ThreadState, VcpuField, thread_field};
use uniprof_wire::text::FixedText;

use crate::callers::Frame;
use crate::control;
use crate::off_cpu;
use crate::platform::{self, Pinned, ThreadId};
use crate::region::{Region, Words, region, writer};
use crate::vcpu::Vcpu;

/// A thread's slot in the table.
#[derive(Clone, Copy)]
pub(crate) struct Slot(Words);

impl Slot {
    fn at(region: &Region, index: usize) -> Self {
        let index = index % THREAD_SLOTS;
        Self(region.words.at_byte(region.geometry.thread_table() + index * THREAD_WORDS * 8))
    }

    /// The slot of the live thread `id`: at `id` modulo the table's size, or further on where that one was taken. A slot
    /// that was ever used stays so, hence an empty one ends the search. A thread that has told of its exit has none:
    /// its slot may be claimed for another thread at any moment.
    pub(crate) fn of(region: &Region, id: ThreadId) -> Option<Self> {
        (0..THREAD_SLOTS)
            .map(|i| Self::at(region, id as usize + i))
            .take_while(|slot| slot.0.load(thread_field::SEQUENCE) != 0)
            .find(|slot| slot.holds_live(id))
    }

    /// For single words, which need no sequence.
    pub(crate) fn words(self) -> Words {
        self.0
    }

    fn holds_live(self, id: ThreadId) -> bool {
        self.0.load(thread_field::ID_STATE) as u32 == id && !self.has_exited()
    }

    pub(crate) fn state(self) -> Option<ThreadState> {
        ThreadState::from_number((self.0.load(thread_field::ID_STATE) >> 32) as u8)
    }

    fn has_exited(self) -> bool {
        self.state() == Some(ThreadState::Exited)
    }

    /// The thread leaves the CPU at `now` for `state`.
    fn leave(self, id: ThreadId, state: ThreadState, vcpu: u32, now: u64) {
        self.change(|words| {
            let ran = now.saturating_sub(words.load(thread_field::SINCE));
            words.local_add(thread_field::CPU_TIME, ran);
            words.store(thread_field::ID_STATE, ThreadEntry::id_state(id, state, vcpu as u16));
        });
    }

    /// An empty slot, else one whose thread has ended; `None` when the table is full of live threads.
    fn claim(region: &Region, id: ThreadId) -> Option<Self> {
        (0..THREAD_SLOTS).map(|i| Self::at(region, id as usize + i)).find(|slot| {
            let sequence = slot.0.load(thread_field::SEQUENCE);
            let free = sequence == 0 || slot.has_exited();
            free && sequence.is_multiple_of(2)
                && slot
                    .0
                    .atomic(thread_field::SEQUENCE)
                    .compare_exchange(sequence, sequence + 1, Ordering::AcqRel, Ordering::Acquire)
                    .is_ok()
        })
    }

    /// Lets `change` change fields, with an odd sequence meanwhile.
    pub(crate) fn change(self, change: impl FnOnce(Words)) {
        let sequence = self.0.load(thread_field::SEQUENCE);
        self.0.store(thread_field::SEQUENCE, sequence | 1);
        change(self.0);
        self.0.store(thread_field::SEQUENCE, (sequence | 1) + 1);
    }
}

/// Tells of a new thread: its number (not 0), name (the first 64 bytes count), stack and entry function. Not
/// from interrupt handlers.
pub fn thread_start(id: ThreadId, name: &str, stack: Range<usize>, entry: usize) {
    let Some(region) = region() else { return };
    let _pinned = Pinned::new();
    let name = &name.as_bytes()[..name.len().min(MAX_NAME_BYTES)];
    let stack = (GuestVirtual(stack.start as u64), GuestVirtual(stack.end as u64));
    let entry = GuestVirtual(entry as u64);
    if let Some(slot) = Slot::claim(region, id) {
        let thread = ThreadEntry {
            id,
            state: ThreadState::Ready,
            entry,
            stack,
            name: FixedText::new(name),
            ..ThreadEntry::default()
        };
        slot.change(|words| {
            thread.to_words().iter().enumerate().for_each(|(i, &word)| words.store(1 + i, word));
        });
    }
    let action = ThreadAction::Started;
    record(Class::Thread, |tsc| {
        Record::Thread(ThreadRecord { tsc, thread: id, action, entry, stack, name: Text::Bytes(name) })
    });
}

/// Tells that the running thread `id` has ended; its last [`switch`] is still to come. Not from interrupt handlers.
pub fn thread_exit(id: ThreadId) {
    let Some(region) = region() else { return };
    let _pinned = Pinned::new();
    if let Some(slot) = Slot::of(region, id) {
        slot.leave(id, ThreadState::Exited, platform::vcpu(), platform::now());
    }
    let nowhere = GuestVirtual(0);
    record(Class::Thread, |tsc| {
        Record::Thread(ThreadRecord {
            tsc,
            thread: id,
            action: ThreadAction::Exited,
            entry: nowhere,
            stack: (nowhere, nowhere),
            name: Text::Bytes(&[]),
        })
    });
}

/// Tells of a switch on the calling vCPU, from the scheduler, with interrupts off: `from` leaves for `reason`, `to`
/// comes. 0 stands for the idle loop. It must be called on the stack of `from`, which is told to observers of the class `off-cpu` if
/// `from` leaves to wait.
#[inline(never)]
pub fn switch(from: ThreadId, to: ThreadId, reason: SwitchReason) {
    let frame = Frame::here();
    let Some(region) = region() else { return };
    let id = platform::vcpu();
    let Some(vcpu) = Vcpu::of(id) else { return };
    let now = platform::now();
    vcpu.set(VcpuField::CurrentThread, to.into());
    vcpu.add(VcpuField::Switches, 1);
    if let Some(slot) = (from != 0).then(|| Slot::of(region, from)).flatten() {
        slot.leave(from, ThreadState::after(reason), id, now);
        off_cpu::left(slot, from, reason, now, frame);
    }
    if let Some(slot) = (to != 0).then(|| Slot::of(region, to)).flatten() {
        off_cpu::comes(slot, to, now);
        slot.change(|words| {
            words.store(thread_field::ID_STATE, ThreadEntry::id_state(to, ThreadState::Running, id as u16));
            words.store(thread_field::SINCE, now);
            // Out of date from here on.
            for field in [thread_field::RIP, thread_field::RSP, thread_field::RBP, thread_field::PARKED] {
                words.store(field, 0);
            }
        });
    }
    record(Class::Switch, |tsc| Record::Switch(SwitchRecord { tsc, from, to, reason }));
    vcpu.add(VcpuField::ProbeTime, platform::now().saturating_sub(now));
}

/// Writes a record of `class` into the calling vCPU's core ring, if the class is on.
fn record<'a>(class: Class, make: impl FnOnce(u64) -> Record<'a>) {
    if control::classes() & class.bit() == 0 {
        return;
    }
    if let Some(writer) = writer(platform::vcpu(), RingKind::Core) {
        // A refusal is counted in the ring.
        let _ = writer.write_record(&make(platform::now()));
    }
}
