//! LockWait and LockHold joined: who made whom wait.

use std::collections::HashMap;

use uniprof_wire::{
    address::GuestVirtual,
    record::{LockHoldRecord, LockKind, LockWaitRecord, Record},
};

use super::{MOST, StackId, Stacks};

/// One wait for a lock, which was taken in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockWait {
    /// Which thread waited.
    pub thread: u32,
    /// The vCPU on which it took the lock.
    pub vcpu: u32,
    /// How it waited.
    pub kind: LockKind,
    /// The lock.
    pub lock: GuestVirtual,
    /// When the wait began.
    pub begin: u64,
    /// When the lock was taken.
    pub taken: u64,
    /// Who held the lock when the wait began; 0 unknown.
    pub owner: u32,
    /// Where it was waited for.
    pub stack: Option<StackId>,
}

/// Who held a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Which thread.
    pub thread: u32,
    /// Where it released the lock; `None` where that was not recorded.
    pub stack: Option<StackId>,
}

/// A part of a wait, and whose fault it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blame {
    /// The whole wait.
    pub wait: LockWait,
    /// From when.
    pub from: u64,
    /// Till when.
    pub to: u64,
    /// Who held the lock then, or had held it last.
    pub holder: Holder,
    /// Whether the lock had been released already: whoever waited had not taken it yet.
    pub is_released: bool,
}

impl Blame {
    /// How long that was.
    #[must_use]
    pub fn ticks(&self) -> u64 {
        self.to.saturating_sub(self.from)
    }
}

#[derive(Clone, Copy, Debug)]
struct Hold {
    since: u64,
    released: u64,
    holder: Holder,
}

/// Joins records of class locks, in whatever order they come.
#[derive(Debug, Default)]
pub struct Locks {
    waits: Vec<LockWait>,
    holds: HashMap<GuestVirtual, Vec<Hold>>,
    held: usize,
    left_out: u64,
}

impl Locks {
    /// Takes in a record of `vcpu`.
    pub fn record(&mut self, vcpu: u32, record: &Record<'_>, stacks: &mut Stacks) {
        if self.waits.len().max(self.held) >= MOST {
            self.left_out += 1;
            return;
        }
        match *record {
            Record::LockWait(LockWaitRecord {
                tsc: taken,
                thread,
                kind,
                lock,
                begin,
                owner,
                ref callers,
            }) => {
                let stack = stacks.keep(callers);
                self.waits.push(LockWait { thread, vcpu, kind, lock, begin, taken, owner, stack });
            }
            Record::LockHold(LockHoldRecord { tsc: released, thread, lock, since, ref callers, .. }) => {
                let holder = Holder { thread, stack: stacks.keep(callers) };
                self.holds.entry(lock).or_default().push(Hold { since, released, holder });
                self.held += 1;
            }
            _ => {}
        }
    }

    /// Records that were left out to bound memory.
    #[must_use]
    pub const fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Every part of every wait, in the order of the waits' ends. The parts of one wait add up to it; none is longer than from
    /// `begin`, where the records begin, on.
    #[must_use]
    pub fn finish(mut self, begin: u64) -> Vec<Blame> {
        for holds in self.holds.values_mut() {
            holds.sort_by_key(|hold| (hold.released, hold.since));
        }
        self.waits.sort_by_key(|wait| (wait.taken, wait.thread));
        let mut blames = Vec::with_capacity(self.waits.len());
        for mut wait in self.waits {
            wait.begin = wait.begin.clamp(begin.min(wait.taken), wait.taken);
            let holds = self.holds.get(&wait.lock).map_or(&[][..], Vec::as_slice);
            share(wait, holds, &mut blames);
        }
        blames
    }
}

/// Shares a wait out among those who held the lock meanwhile.
fn share(wait: LockWait, holds: &[Hold], blames: &mut Vec<Blame>) {
    let first = holds.partition_point(|hold| hold.released <= wait.begin);
    // Who takes a lock may say so before the one who released it has said that.
    let others =
        holds[first..].iter().take_while(|hold| hold.released <= wait.taken || hold.since < wait.taken);
    let others = others.filter(|hold| hold.holder.thread != wait.thread && hold.since < wait.taken);
    let mut at = wait.begin;
    let mut before: Option<Holder> = None;
    let mut tell = |from: u64, to: u64, holder, is_released| {
        if to > from {
            blames.push(Blame { wait, from, to, holder, is_released });
        }
    };
    for hold in others {
        let since = hold.since.clamp(at, wait.taken);
        // Nobody held it: the one before has let go, and this one had not taken it yet.
        tell(at, since, before.unwrap_or(hold.holder), before.is_some());
        let until = hold.released.clamp(since, wait.taken);
        tell(since, until, hold.holder, false);
        at = until;
        before = Some(hold.holder);
    }
    match before {
        Some(holder) => tell(at, wait.taken, holder, true),
        None => tell(at, wait.taken, Holder { thread: wait.owner, stack: None }, false),
    }
}

#[cfg(test)]
mod tests {
    use uniprof_wire::record::{Callers, WalkEnd};

    use super::*;

    const LOCK: GuestVirtual = GuestVirtual(0x9000);

    fn wait(thread: u32, begin: u64, tsc: u64) -> Record<'static> {
        let callers = Callers { end: WalkEnd::Root, frames: &[1] };
        Record::LockWait(LockWaitRecord {
            tsc,
            thread,
            kind: LockKind::Blocking,
            lock: LOCK,
            begin,
            owner: 7,
            callers,
        })
    }

    fn hold(thread: u32, since: u64, tsc: u64) -> Record<'static> {
        let callers = Callers { end: WalkEnd::Root, frames: &[2] };
        Record::LockHold(LockHoldRecord { tsc, thread, kind: LockKind::Blocking, lock: LOCK, since, callers })
    }

    fn blames(records: &[Record<'_>]) -> Vec<(u32, u64, u64, bool)> {
        let (mut locks, mut stacks) = (Locks::default(), Stacks::default());
        records.iter().for_each(|record| locks.record(0, record, &mut stacks));
        let blames = locks.finish(0);
        blames.iter().map(|blame| (blame.holder.thread, blame.from, blame.to, blame.is_released)).collect()
    }

    #[test]
    fn the_one_who_held_it_is_to_blame() {
        // Its record comes first, and last.
        for records in [[hold(2, 50, 190), wait(1, 100, 200)], [wait(1, 100, 200), hold(2, 50, 190)]] {
            assert_eq!(blames(&records), [(2, 100, 190, false), (2, 190, 200, true)]);
        }
    }

    #[test]
    fn several_share_the_blame_and_the_parts_add_up() {
        let records =
            [wait(1, 100, 400), hold(2, 50, 200), hold(3, 210, 390), hold(4, 10, 90), hold(5, 500, 600)];
        let parts = blames(&records);
        assert_eq!(
            parts,
            [(2, 100, 200, false), (2, 200, 210, true), (3, 210, 390, false), (3, 390, 400, true)]
        );
        assert_eq!(parts.iter().map(|(_, from, to, _)| to - from).sum::<u64>(), 300);
    }

    #[test]
    fn a_release_that_is_told_late_counts_up_to_the_taking() {
        assert_eq!(blames(&[wait(1, 100, 200), hold(2, 50, 205)]), [(2, 100, 200, false)]);
    }

    #[test]
    fn without_a_release_the_owner_is_known_by_number_only() {
        // The waiter's own hold is no reason to wait.
        assert_eq!(blames(&[wait(1, 100, 200), hold(1, 200, 300), hold(1, 90, 150)]), [(7, 100, 200, false)]);
    }
}
