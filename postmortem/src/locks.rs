//! Who waits for what, held by whom; and circles of threads that wait for each other.
//!
//! All of it is what the guest's scheduler told the thread table: a kernel that does not tell has no waits here.

use std::fmt;

use serde::Serialize;
use uniprof_wire::address::GuestVirtual;
use uniprof_wire::tables::{ThreadEntry, ThreadState, WaitKind};

use crate::stacks::{self, Owner, Stack};
use crate::subject::Subject;
use crate::verdict::waiting_frame;

/// In a guest that was not stopped, a wait counts that has lasted for so long, in milliseconds.
const SETTLED_MS: u64 = 1000;

/// A thread that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// Its number.
    pub thread: u32,
    /// Its name and number, for people.
    pub title: String,
    /// For what kind of thing.
    pub kind: WaitKind,
    /// Where that lies; 0 where it has no place.
    pub on: GuestVirtual,
    /// What lies there: a symbol's name, or empty.
    pub name: String,
    /// Who holds it, or must end; `None` where that is not known.
    pub holder: Option<u32>,
    /// The holder's name and number; empty without a holder.
    pub holder_title: String,
    /// The function that waits.
    pub function: Option<String>,
    /// Its file and line.
    pub place: Option<String>,
    /// The guest's clock when the wait began; 0 where that is not known.
    pub since: u64,
    /// Whether what it waits for has come, by the word that the guest has for that: the lock is free, there is something in the queue.
    /// `None` where the guest has no such word.
    pub has_come: Option<bool>,
}

/// Threads that wait for each other: each for the next one, the last for the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cycle {
    /// Their waits, the thread with the lowest number first.
    pub waits: Vec<Wait>,
}

/// All waits of a guest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Locks {
    /// Threads that wait, by number. Sleepers are none of them.
    pub waits: Vec<Wait>,
    /// Those that will wait for ever.
    pub cycles: Vec<Cycle>,
}

/// Who waits for what. `stacks` are those of [`crate::stacks::of`]: where each waits.
#[must_use]
pub fn of(subject: &Subject, stacks: &[Stack]) -> Locks {
    let waiting = |thread: &ThreadEntry| {
        let told = !matches!(thread.wait, WaitKind::None | WaitKind::Sleep);
        // A thread that was woken, or has not gone to sleep yet, is about to look again.
        told && thread.state_now() == ThreadState::Blocked
    };
    let mut waits: Vec<Wait> =
        stacks::threads(subject).filter(waiting).map(|thread| wait(subject, stacks, &thread)).collect();
    waits.sort_by_key(|wait| wait.thread);
    let mut cycles = cycles(&waits);
    cycles.retain(|cycle| cycle.waits.iter().all(|wait| is_settled(subject, wait)));
    Locks { waits, cycles }
}

/// Whether a wait is one, and not two halves of different moments: in a guest that ran while its memory was read, the entry of a thread
/// that waited and the word of a lock that it took right afterwards make a thread that waits for itself.
pub(crate) fn is_settled(subject: &Subject, wait: &Wait) -> bool {
    let Ok(region) = &subject.region else { return true };
    let latest = region.tables.vcpus.iter().map(|vcpu| vcpu.heartbeat).max().unwrap_or(0);
    let ticks = u128::from(latest.saturating_sub(wait.since)) * 1000;
    let long = wait.since != 0 && ticks >= u128::from(SETTLED_MS) * u128::from(region.tables.header.tsc_hz);
    !subject.was_moving() || long
}

fn wait(subject: &Subject, stacks: &[Stack], thread: &ThreadEntry) -> Wait {
    let word = word(subject, thread.wait_word);
    let holder = match (thread.wait, word) {
        // Who holds it now; who did when the wait began may have let go.
        (WaitKind::Lock, Some(owner)) => owner,
        _ => thread.waits_on,
    };
    let holder = Some(holder).filter(|id| *id != 0);
    let holder_title = holder.map_or_else(String::new, |id| {
        stacks::entry(subject, id)
            .map_or_else(|| stacks::thread_title(id, ""), |entry| stacks::title_of(&entry))
    });
    let stack = stacks.iter().find(|stack| stack.owner == Owner::Thread(thread.id));
    let frame = stack.and_then(waiting_frame);
    Wait {
        thread: thread.id,
        title: stacks::title_of(thread),
        kind: thread.wait,
        on: thread.waits_for,
        name: subject.describe(thread.waits_for),
        holder,
        holder_title,
        function: frame.and_then(|frame| frame.function.as_deref()).map(str::to_owned),
        place: frame.and_then(stacks::StackFrame::place),
        since: thread.wait_since,
        has_come: word.map(|word| (thread.wait == WaitKind::Lock) == (word == 0)),
    }
}

/// The 32-bit word at an address; `None` where there is none or it can't be read.
fn word(subject: &Subject, at: GuestVirtual) -> Option<u32> {
    let mut bytes = [0; 4];
    let read = at.0 != 0 && subject.space.read(at, &mut bytes).is_ok();
    read.then(|| u32::from_le_bytes(bytes))
}

/// Circles, each told once. A thread waits for one thing, so from each there is one way to go.
fn cycles(waits: &[Wait]) -> Vec<Cycle> {
    let next = |wait: &Wait| waits.iter().find(|other| Some(other.thread) == wait.holder);
    let mut found: Vec<Cycle> = Vec::new();
    for start in waits {
        let mut path: Vec<&Wait> = vec![start];
        while let Some(wait) = path.last().and_then(|last| next(last)) {
            if wait.thread == start.thread {
                // The thread with the lowest number tells of it.
                if path.iter().all(|other| other.thread >= start.thread) {
                    found.push(Cycle { waits: path.into_iter().cloned().collect() });
                }
                break;
            }
            if path.iter().any(|other| other.thread == wait.thread) {
                break;
            }
            path.push(wait);
        }
    }
    found
}

impl Wait {
    /// What it waits for, for people.
    #[must_use]
    pub fn what(&self) -> String {
        let kind = match self.kind {
            WaitKind::Lock => "the lock",
            WaitKind::Join if self.holder.is_some() => return format!("the end of {}", self.holder_title),
            WaitKind::Join => return "the end of a thread".into(),
            WaitKind::Event => "an event at",
            _ => "something at",
        };
        match (self.name.as_str(), self.on.0) {
            ("", 0) => kind.trim_end_matches(" at").into(),
            ("", at) => format!("{kind} {at:#x}"),
            (name, _) => format!("{kind} {name}"),
        }
    }

    fn held(&self) -> String {
        match (self.kind, self.holder) {
            (_, None) => String::new(),
            (WaitKind::Join, Some(_)) => String::new(),
            (_, Some(_)) => format!(", held by {}", self.holder_title),
        }
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} waits for {}{}", self.title, self.what(), self.held())?;
        match &self.function {
            Some(function) => write!(f, ", in {function}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Cycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, wait) in self.waits.iter().enumerate() {
            match index {
                0 => write!(f, "{} waits for {}{}", wait.title, wait.what(), wait.held())?,
                _ => write!(f, ", which waits for {}{}", wait.what(), wait.held())?,
            }
        }
        Ok(())
    }
}

impl Serialize for Wait {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Document<'a> {
            thread: u32,
            title: &'a str,
            kind: &'static str,
            address: String,
            name: &'a str,
            holder: Option<u32>,
            holder_title: &'a str,
            function: Option<&'a str>,
            place: Option<&'a str>,
        }
        let document = Document {
            thread: self.thread,
            title: &self.title,
            kind: self.kind.name(),
            address: format!("{:#x}", self.on),
            name: &self.name,
            holder: self.holder,
            holder_title: &self.holder_title,
            function: self.function.as_deref(),
            place: self.place.as_deref(),
        };
        document.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::{Guest, thread};
    use uniprof_collector::dump::Facts;

    /// The guest's clock at its last sign of life.
    const LATEST: u64 = 11_000_000_000;

    fn waiting(guest: &mut Guest, id: u32, name: &str, lock: u64, holder: u32) {
        let mut entry = thread(id, name, ThreadState::Blocked, 0x10_4000);
        (entry.wait, entry.waits_for, entry.waits_on) = (WaitKind::Lock, GuestVirtual(lock), holder);
        guest.thread(&entry);
    }

    fn locks(guest: Guest) -> Locks {
        let mut subject = guest.subject();
        let stacks = stacks::of(&mut subject);
        of(&subject, &stacks)
    }

    #[test]
    fn a_circle_is_told_once_and_those_behind_it_are_no_part_of_it() {
        let mut guest = Guest::with_region();
        waiting(&mut guest, 9, "behind", 0x8000, 2);
        waiting(&mut guest, 5, "b", 0x8000, 2);
        waiting(&mut guest, 2, "a", 0x9000, 5);
        let locks = locks(guest);
        assert_eq!(locks.waits.len(), 3);
        let [cycle] = &locks.cycles[..] else { panic!("one circle: {:?}", locks.cycles) };
        assert_eq!(
            cycle.to_string(),
            "a (thread 2) waits for the lock 0x9000, held by b (thread 5), which waits for the lock 0x8000, held by a (thread 2)"
        );
    }

    #[test]
    fn a_holder_that_runs_and_one_that_is_unknown_make_no_circle() {
        let mut guest = Guest::with_region();
        waiting(&mut guest, 1, "a", 0x8000, 2);
        guest.thread(&thread(2, "runs", ThreadState::Running, 0x10_4000));
        waiting(&mut guest, 3, "c", 0x9000, 0);
        let mut free = thread(6, "e", ThreadState::Blocked, 0x10_4000);
        (free.wait, free.wait_word, free.waits_on) = (WaitKind::Lock, GuestVirtual(0x9000), 3);
        guest.thread(&free);
        waiting(&mut guest, 4, "d", 0x9000, 77);
        let locks = locks(guest);
        assert!(locks.cycles.is_empty());
        assert_eq!(locks.waits[1].has_come, None);
        assert_eq!(locks.waits[2].holder_title, "thread 77");
        assert_eq!((locks.waits[3].has_come, locks.waits[3].holder), (Some(true), None));
    }

    #[test]
    fn a_thread_that_waits_for_itself_is_a_circle_of_one() {
        let mut guest = Guest::with_region();
        waiting(&mut guest, 1, "a", 0x8000, 1);
        assert_eq!(locks(guest).cycles.len(), 1);
    }

    /// As seen of a guest that was well: it took the lock between two looks.
    #[test]
    fn in_a_guest_that_was_not_stopped_only_long_waits_make_a_circle() {
        for (since, circles) in [(0, 0), (LATEST - 10_000_000, 0), (LATEST - 2_000_000_000, 1)] {
            let mut guest = Guest::with_region();
            let mut entry = thread(1, "a", ThreadState::Blocked, 0x10_4000);
            (entry.wait, entry.waits_for, entry.waits_on) = (WaitKind::Lock, GuestVirtual(0x8000), 1);
            entry.wait_since = since;
            guest.thread(&entry);
            let mut subject = guest.subject();
            subject.facts = Some(Facts { moving: true, ..Facts::default() });
            let stacks = stacks::of(&mut subject);
            assert_eq!(of(&subject, &stacks).cycles.len(), circles, "{since}");
        }
    }
}
