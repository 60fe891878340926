//! The thread table's entries.

use super::{Slot, THREAD_WORDS, slot};
use crate::address::GuestVirtual;
use crate::record::SwitchReason;
use crate::text::FixedText;

/// What a thread was doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ThreadState {
    /// Can run, does not.
    #[default]
    Ready = 0,
    /// Runs on `vcpu`.
    Running = 1,
    /// Waits for a lock, another thread or a message.
    Blocked = 2,
    /// Sleeps until a time.
    Sleeping = 3,
    /// Has ended.
    Exited = 4,
}

impl ThreadState {
    /// The state that a thread is in after leaving the CPU for `reason`.
    #[must_use]
    pub const fn after(reason: SwitchReason) -> Self {
        match reason {
            SwitchReason::Preempted | SwitchReason::Yielded | SwitchReason::Idle => Self::Ready,
            SwitchReason::Blocked => Self::Blocked,
            SwitchReason::Sleeping => Self::Sleeping,
            SwitchReason::Exited => Self::Exited,
        }
    }

    /// The state with that number.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::Ready,
            1 => Self::Running,
            2 => Self::Blocked,
            3 => Self::Sleeping,
            4 => Self::Exited,
            _ => return None,
        })
    }
}

/// What a thread waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum WaitKind {
    /// It does not wait, or its kernel does not say.
    #[default]
    None = 0,
    /// A lock that another thread holds.
    Lock = 1,
    /// The end of another thread.
    Join = 2,
    /// A time.
    Sleep = 3,
    /// A condition that somebody makes true: a queue with something in it, a message, a signal.
    Event = 4,
    /// Something else.
    Other = 5,
}

impl WaitKind {
    /// A word for people and for file formats.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Lock => "lock",
            Self::Join => "join",
            Self::Sleep => "sleep",
            Self::Event => "event",
            Self::Other => "other",
        }
    }

    /// A number that is not known reads as [`WaitKind::Other`]: the thread waits, whatever for.
    #[must_use]
    pub const fn from_number(number: u8) -> Self {
        match number {
            0 => Self::None,
            1 => Self::Lock,
            2 => Self::Join,
            3 => Self::Sleep,
            4 => Self::Event,
            _ => Self::Other,
        }
    }
}

/// Word numbers of [`ThreadEntry`], for the guest, which changes single fields.
pub mod thread_field {
    /// Sequence: 0 empty, odd while being changed.
    pub const SEQUENCE: usize = 0;
    /// Thread id in the low half, state and vCPU in the high half.
    pub const ID_STATE: usize = 1;
    /// Lowest address of its stack.
    pub const STACK_LOW: usize = 3;
    /// Address behind its stack.
    pub const STACK_HIGH: usize = 4;
    /// Saved instruction pointer.
    pub const RIP: usize = 5;
    /// Saved stack pointer.
    pub const RSP: usize = 6;
    /// Saved frame pointer.
    pub const RBP: usize = 7;
    /// TSC ticks of CPU time so far.
    pub const CPU_TIME: usize = 8;
    /// TSC at which it last got the CPU.
    pub const SINCE: usize = 9;
    /// Kind of wait in the low byte, owner in the high half.
    pub const WAIT: usize = 18;
    /// Address of what it waits for.
    pub const WAITS_FOR: usize = 19;
    /// Address of the word that tells whether the wait has a reason.
    pub const WAIT_WORD: usize = 20;
    /// TSC at which the wait began.
    pub const WAIT_SINCE: usize = 21;
    /// TSC at which the wait ends by itself.
    pub const WAKES_AT: usize = 22;
    /// TSC at which it was last made ready to run. Written by whoever wakes it.
    pub const WOKEN: usize = 23;
    /// The thread that did so; 0: an interrupt, or unknown. Written with it.
    pub const WAKER: usize = 24;
    /// TSC of the record of its leaving the CPU to wait; 0 where none was written.
    pub const PARKED: usize = 25;
}

/// One thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ThreadEntry {
    /// Its number.
    pub id: u32,
    /// What it was doing.
    pub state: ThreadState,
    /// vCPU that it runs or last ran on.
    pub vcpu: u16,
    /// Its entry function.
    pub entry: GuestVirtual,
    /// Its stack, low and high end.
    pub stack: (GuestVirtual, GuestVirtual),
    /// Instruction, stack and frame pointer while it does not run.
    pub saved: [u64; 3],
    /// TSC ticks of CPU time up to the last switch.
    pub cpu_time: u64,
    /// TSC at which it last got the CPU.
    pub since: u64,
    /// Its name.
    pub name: FixedText<8>,
    /// What it waits for. Its kernel may tell of the wait before the state changes, and of its end after.
    pub wait: WaitKind,
    /// The thread that it waits on, as of when the wait began: the lock's owner, the thread to be joined; 0 unknown.
    pub waits_on: u32,
    /// Address of the lock, the queue or the like; 0 none.
    pub waits_for: GuestVirtual,
    /// Address of a 32-bit word that tells whether the wait still has a reason; 0 none. Of a lock: its owner's thread number, 0 while it
    /// is free. Otherwise 0 for as long as there is a reason to wait: a thread that goes on waiting although the word is not 0 has
    /// missed its wake-up.
    pub wait_word: GuestVirtual,
    /// TSC at which the wait began.
    pub wait_since: u64,
    /// TSC at which the wait ends by itself; 0 never.
    pub wakes_at: u64,
    /// TSC at which it was last made ready to run; 0 never.
    pub woken: u64,
    /// The thread that made it so; 0: an interrupt, or unknown.
    pub waker: u32,
    /// TSC of its [`ParkRecord`](crate::record::ParkRecord) while it waits; 0 where none was written.
    pub parked: u64,
}

impl ThreadEntry {
    /// What the thread is doing now: a thread that was woken is still stated as blocked or asleep until it gets the CPU.
    #[must_use]
    pub const fn state_now(&self) -> ThreadState {
        match self.state {
            ThreadState::Blocked | ThreadState::Sleeping if self.is_woken() => ThreadState::Ready,
            state => state,
        }
    }

    /// Whether it has been made ready to run since it began to wait.
    #[must_use]
    pub const fn is_woken(&self) -> bool {
        self.woken != 0 && self.wait_since != 0 && self.woken >= self.wait_since
    }

    /// Word [`thread_field::WAIT`].
    #[must_use]
    pub const fn wait_and_owner(kind: WaitKind, waits_on: u32) -> u64 {
        kind as u64 | (waits_on as u64) << 32
    }

    /// Word [`thread_field::ID_STATE`].
    #[must_use]
    pub const fn id_state(id: u32, state: ThreadState, vcpu: u16) -> u64 {
        id as u64 | (state as u64) << 32 | (vcpu as u64) << 48
    }

    /// The slot's words after the sequence word.
    #[must_use]
    pub fn to_words(&self) -> [u64; THREAD_WORDS - 1] {
        let mut words = [0; THREAD_WORDS - 1];
        words[0] = Self::id_state(self.id, self.state, self.vcpu);
        words[1] = self.entry.0;
        words[2] = self.stack.0.0;
        words[3] = self.stack.1.0;
        words[4..7].copy_from_slice(&self.saved);
        words[7] = self.cpu_time;
        words[8] = self.since;
        words[9..17].copy_from_slice(&self.name.to_words());
        words[17] = Self::wait_and_owner(self.wait, self.waits_on);
        words[18] = self.waits_for.0;
        words[19] = self.wait_word.0;
        words[20] = self.wait_since;
        words[21] = self.wakes_at;
        words[22] = self.woken;
        words[23] = self.waker.into();
        words[24] = self.parked;
        words
    }

    /// From a copy of the slot. An unknown state reads as [`ThreadState::Ready`] in a torn slot.
    #[must_use]
    pub fn from_words(words: &[u64; THREAD_WORDS]) -> Slot<Self> {
        let state = ThreadState::from_number((words[1] >> 32) as u8);
        let entry = Self {
            id: words[1] as u32,
            state: state.unwrap_or_default(),
            vcpu: (words[1] >> 48) as u16,
            entry: GuestVirtual(words[2]),
            stack: (GuestVirtual(words[3]), GuestVirtual(words[4])),
            saved: [words[5], words[6], words[7]],
            cpu_time: words[8],
            since: words[9],
            name: FixedText::from_words(core::array::from_fn(|i| words[10 + i])),
            wait: WaitKind::from_number(words[thread_field::WAIT] as u8),
            waits_on: (words[thread_field::WAIT] >> 32) as u32,
            waits_for: GuestVirtual(words[thread_field::WAITS_FOR]),
            wait_word: GuestVirtual(words[thread_field::WAIT_WORD]),
            wait_since: words[thread_field::WAIT_SINCE],
            wakes_at: words[thread_field::WAKES_AT],
            woken: words[thread_field::WOKEN],
            waker: words[thread_field::WAKER] as u32,
            parked: words[thread_field::PARKED],
        };
        let sequence = if state.is_none() && words[0] != 0 { words[0] | 1 } else { words[0] };
        slot(sequence, entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_sequence(sequence: u64, entry: &ThreadEntry) -> [u64; THREAD_WORDS] {
        let words = entry.to_words();
        core::array::from_fn(|i| if i == 0 { sequence } else { words[i - 1] })
    }

    #[test]
    fn entries_round_trip() {
        let thread = ThreadEntry {
            id: 7,
            state: ThreadState::Blocked,
            vcpu: 3,
            entry: GuestVirtual(0x1000),
            stack: (GuestVirtual(0x2000), GuestVirtual(0x3000)),
            saved: [1, 2, 3],
            cpu_time: 4,
            since: 5,
            name: FixedText::new(b"worker"),
            wait: WaitKind::Join,
            waits_on: 6,
            waits_for: GuestVirtual(7),
            wait_word: GuestVirtual(8),
            wait_since: 9,
            wakes_at: 10,
            woken: 11,
            waker: 12,
            parked: 13,
        };
        assert_eq!(ThreadEntry::from_words(&with_sequence(2, &thread)), Slot::Whole(thread));
        assert_eq!(ThreadEntry::from_words(&with_sequence(3, &thread)), Slot::Torn(thread));
        assert_eq!(ThreadEntry::from_words(&with_sequence(0, &thread)), Slot::Empty);
    }

    #[test]
    fn every_kind_of_wait_reads_as_it_was_written() {
        for (number, kind) in [
            WaitKind::None,
            WaitKind::Lock,
            WaitKind::Join,
            WaitKind::Sleep,
            WaitKind::Event,
            WaitKind::Other,
        ]
        .into_iter()
        .enumerate()
        {
            assert_eq!(kind as usize, number);
            let thread = ThreadEntry { id: 1, wait: kind, waits_on: u32::MAX, ..ThreadEntry::default() };
            assert_eq!(ThreadEntry::from_words(&with_sequence(2, &thread)), Slot::Whole(thread));
        }
        let mut words = with_sequence(2, &ThreadEntry::default());
        words[thread_field::WAIT] = 77;
        assert_eq!(ThreadEntry::from_words(&words).entry().map(|thread| thread.wait), Some(WaitKind::Other));
    }

    #[test]
    fn a_woken_thread_is_ready_whatever_its_state_says() {
        let waiting =
            ThreadEntry { state: ThreadState::Blocked, wait_since: 5, woken: 4, ..ThreadEntry::default() };
        assert_eq!(waiting.state_now(), ThreadState::Blocked);
        assert_eq!(ThreadEntry { woken: 6, ..waiting }.state_now(), ThreadState::Ready);
        let sleeping = ThreadEntry { state: ThreadState::Sleeping, woken: 6, ..waiting };
        assert_eq!(sleeping.state_now(), ThreadState::Ready);
        assert_eq!(ThreadEntry { state: ThreadState::Exited, ..sleeping }.state_now(), ThreadState::Exited);
        let silent = ThreadEntry { wait_since: 0, woken: 6, ..waiting };
        assert_eq!(silent.state_now(), ThreadState::Blocked, "a kernel that tells of no waits");
    }
}
