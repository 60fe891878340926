//! Park, Resume and Wake joined to waits.

use std::collections::HashMap;

use uniprof_wire::{
    address::GuestVirtual,
    record::{ParkRecord, Record, ResumeRecord, SwitchReason, WakeRecord},
    tables::{ThreadEntry, ThreadState, WaitKind},
};

use super::{MOST, StackId, Stacks, Window};

/// Who ended a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Waker {
    /// Nobody: it goes on.
    Nobody,
    /// Not told.
    Unknown,
    /// An interrupt handler, be it that of the timer.
    Interrupt,
    /// A thread.
    Thread(u32),
}

/// One wait of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// Which thread.
    pub thread: u32,
    /// The vCPU that it left, or where that was lost, on which it came back; 0 where neither is known.
    pub vcpu: u32,
    /// Why it had left.
    pub reason: SwitchReason,
    /// What it waited for.
    pub kind: WaitKind,
    /// Address of the lock, the queue or the like; 0 unknown.
    pub waits_for: GuestVirtual,
    /// The thread that it waited on; 0 unknown.
    pub waits_on: u32,
    /// Where it waited; `None` where that was lost.
    pub stack: Option<StackId>,
    /// When it left, not before the records begin.
    pub parked: u64,
    /// Whether it had left before that.
    pub is_clipped: bool,
    /// When it was made ready to run; `None` unknown, or not yet.
    pub woken: Option<u64>,
    /// By whom.
    pub waker: Waker,
    /// By which call.
    pub wake_stack: Option<StackId>,
    /// When it got the CPU back; `None`: not before the records end.
    pub resumed: Option<u64>,
}

impl Wait {
    /// For how long it was blocked, if the records end at `end`: to the wake-up where that is known, else to its coming back.
    #[must_use]
    pub fn blocked(&self, end: u64) -> u64 {
        self.woken.or(self.resumed).unwrap_or(end).saturating_sub(self.parked)
    }

    /// For how long it then waited for a CPU; `None` where the wake-up is not known, or it has not come back.
    #[must_use]
    pub fn runnable(&self) -> Option<u64> {
        Some(self.resumed?.saturating_sub(self.woken?.max(self.parked)))
    }

    /// Whether it goes on when the records end: it was neither woken nor came back.
    #[must_use]
    pub fn goes_on(&self) -> bool {
        self.woken.is_none() && self.resumed.is_none()
    }
}

/// What could not be joined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unpaired {
    /// Waits whose end was lost: for how long they lasted is not known.
    pub lost_ends: u64,
    /// Waits whose beginning was lost: how long is known, where is not.
    pub lost_stacks: u64,
    /// Waits that ended before they began, or before they were ended: clocks of vCPUs that differ.
    pub disordered: u64,
    /// By how many ticks at most.
    pub disorder: u64,
    /// Records that were left out to bound memory.
    pub left_out: u64,
}

#[derive(Clone, Copy, Debug)]
struct Park {
    vcpu: u32,
    reason: SwitchReason,
    kind: WaitKind,
    waits_for: GuestVirtual,
    waits_on: u32,
    stack: Option<StackId>,
}

#[derive(Clone, Copy, Debug)]
struct Resume {
    vcpu: u32,
    reason: SwitchReason,
    tsc: u64,
    woken: u64,
    waker: u32,
    stack: Option<StackId>,
}

#[derive(Clone, Copy, Debug)]
struct Wake {
    waker: Waker,
    stack: Option<StackId>,
}

/// A thread, and the TSC of one of its records.
type Moment = (u32, u64);

/// Joins records of class off-cpu, in whatever order they come.
#[derive(Debug, Default)]
pub struct OffCpu {
    parks: HashMap<Moment, Park>,
    resumes: HashMap<Moment, Resume>,
    /// Resumes that have their park, and lack the record of who woke them; by the moment of the wake-up.
    unexplained: HashMap<Moment, Wait>,
    /// Resumes whose park nobody recorded, because that was not asked for yet.
    begun_before: Vec<(u32, Resume)>,
    wakes: HashMap<Moment, Wake>,
    /// When each thread last left or came back.
    seen: HashMap<u32, u64>,
    unpaired: Unpaired,
}

impl OffCpu {
    /// Takes in a record of `vcpu`; a wait that it makes complete is handed to `each`. Others are told by [`OffCpu::finish`].
    pub fn record(
        &mut self,
        vcpu: u32,
        record: &Record<'_>,
        stacks: &mut Stacks,
        each: &mut impl FnMut(Wait),
    ) {
        if self.parks.len().max(self.resumes.len()).max(self.unexplained.len()) >= MOST {
            self.unpaired.left_out += 1;
            return;
        }
        match record {
            Record::Park(park) => self.park(vcpu, park, stacks, each),
            Record::Resume(resume) => self.resume(vcpu, resume, stacks, each),
            Record::Wake(wake) => self.wake(wake, stacks, each),
            _ => {}
        }
    }

    fn park(&mut self, vcpu: u32, record: &ParkRecord<'_>, stacks: &mut Stacks, each: &mut impl FnMut(Wait)) {
        let &ParkRecord { tsc, thread, reason, wait: kind, waits_for, waits_on, ref callers } = record;
        let stack = stacks.keep(callers);
        let park = Park { vcpu, reason, kind, waits_for, waits_on, stack };
        self.see(thread, tsc);
        match self.resumes.remove(&(thread, tsc)) {
            Some(resume) => self.joined(thread, tsc, park, resume, each),
            None => _ = self.parks.insert((thread, tsc), park),
        }
    }

    fn resume(
        &mut self,
        vcpu: u32,
        record: &ResumeRecord<'_>,
        stacks: &mut Stacks,
        each: &mut impl FnMut(Wait),
    ) {
        let &ResumeRecord { tsc, thread, reason, parked, woken, waker, ref callers } = record;
        let resume = Resume { vcpu, reason, tsc, woken, waker, stack: stacks.keep(callers) };
        self.see(thread, tsc);
        if let Some(park) = self.parks.remove(&(thread, parked)) {
            self.joined(thread, parked, park, resume, each);
        } else if parked == 0 {
            if self.begun_before.len() < MOST {
                self.begun_before.push((thread, resume));
            }
        } else {
            self.resumes.insert((thread, parked), resume);
        }
    }

    fn wake(&mut self, record: &WakeRecord<'_>, stacks: &mut Stacks, each: &mut impl FnMut(Wait)) {
        let waker = if record.by_interrupt { Waker::Interrupt } else { Waker::Thread(record.waker) };
        let wake = Wake { waker, stack: stacks.keep(&record.callers) };
        match self.unexplained.remove(&(record.thread, record.tsc)) {
            Some(wait) => each(wake.explains(wait)),
            None if self.wakes.len() < MOST => _ = self.wakes.insert((record.thread, record.tsc), wake),
            None => self.unpaired.left_out += 1,
        }
    }

    fn see(&mut self, thread: u32, tsc: u64) {
        let seen = self.seen.entry(thread).or_default();
        *seen = tsc.max(*seen);
    }

    /// A wait that has its beginning and its end; who woke it may still come.
    fn joined(&mut self, thread: u32, parked: u64, park: Park, resume: Resume, each: &mut impl FnMut(Wait)) {
        let wait = self.wait(thread, parked, Some(park), resume);
        let Some(woken) = wait.woken else { return each(wait) };
        match self.wakes.remove(&(thread, woken)) {
            Some(wake) => each(wake.explains(wait)),
            None => _ = self.unexplained.insert((thread, woken), wait),
        }
    }

    fn wait(&mut self, thread: u32, parked: u64, park: Option<Park>, resume: Resume) -> Wait {
        let woken = (resume.woken != 0).then_some(resume.woken);
        let last = woken.unwrap_or(parked).max(parked);
        if last > resume.tsc {
            self.unpaired.disordered += 1;
            self.unpaired.disorder = self.unpaired.disorder.max(last - resume.tsc);
        }
        Wait {
            thread,
            vcpu: park.map_or(resume.vcpu, |park| park.vcpu),
            reason: resume.reason,
            kind: park.map_or(WaitKind::None, |park| park.kind),
            waits_for: park.map_or(GuestVirtual(0), |park| park.waits_for),
            waits_on: park.map_or(0, |park| park.waits_on),
            stack: park.map_or(resume.stack, |park| park.stack),
            parked,
            is_clipped: false,
            woken,
            waker: if resume.waker == 0 { Waker::Unknown } else { Waker::Thread(resume.waker) },
            wake_stack: None,
            resumed: Some(resume.tsc),
        }
    }

    /// Tells the waits that lack a record, and what could not be joined. `threads` are as they were at the end of `window`.
    pub fn finish<'a>(
        mut self,
        window: Window,
        threads: impl IntoIterator<Item = &'a ThreadEntry>,
        each: &mut impl FnMut(Wait),
    ) -> Unpaired {
        std::mem::take(&mut self.unexplained).into_values().for_each(&mut *each);
        self.without_beginning(window, each);
        let exited = self.without_any_record(window, threads, each);
        self.without_end(window, &exited, each);
        self.unpaired
    }

    /// Waits that began before the records, or whose beginning was lost.
    fn without_beginning(&mut self, window: Window, each: &mut impl FnMut(Wait)) {
        let resumes = std::mem::take(&mut self.resumes).into_iter();
        let resumes = resumes.map(|((thread, parked), resume)| (thread, parked, resume));
        let before =
            std::mem::take(&mut self.begun_before).into_iter().map(|(thread, resume)| (thread, 0, resume));
        let mut all: Vec<_> = resumes.chain(before).collect();
        all.sort_unstable_by_key(|(thread, _, resume)| (resume.tsc, *thread));
        for (thread, parked, resume) in all {
            let mut wait = self.wait(thread, parked.max(window.begin), None, resume);
            wait.is_clipped = parked < window.begin;
            self.unpaired.lost_stacks += u64::from(wait.stack.is_none());
            let wake = wait.woken.and_then(|woken| self.wakes.remove(&(thread, woken)));
            each(wake.map_or(wait, |wake| wake.explains(wait)));
        }
    }

    /// Waits that lasted from before the first record to after the last. Gives the threads that have ended.
    fn without_any_record<'a>(
        &mut self,
        window: Window,
        threads: impl IntoIterator<Item = &'a ThreadEntry>,
        each: &mut impl FnMut(Wait),
    ) -> Vec<u32> {
        let mut exited = Vec::new();
        for thread in threads {
            match thread.state {
                ThreadState::Exited => exited.push(thread.id),
                ThreadState::Blocked | ThreadState::Sleeping if !self.seen.contains_key(&thread.id) => {}
                _ => continue,
            }
            if thread.state == ThreadState::Exited || thread.is_woken() {
                continue;
            }
            self.unpaired.lost_stacks += 1;
            let asleep = thread.state == ThreadState::Sleeping;
            each(Wait {
                thread: thread.id,
                vcpu: thread.vcpu.into(),
                reason: if asleep { SwitchReason::Sleeping } else { SwitchReason::Blocked },
                kind: thread.wait,
                waits_for: thread.waits_for,
                waits_on: thread.waits_on,
                stack: None,
                parked: thread.wait_since.clamp(window.begin, window.end.max(window.begin)),
                is_clipped: thread.wait_since < window.begin,
                woken: None,
                waker: Waker::Nobody,
                wake_stack: None,
                resumed: None,
            });
        }
        exited
    }

    /// Waits that go on, unless the thread was seen later.
    fn without_end(&mut self, window: Window, exited: &[u32], each: &mut impl FnMut(Wait)) {
        let mut parks: Vec<_> = std::mem::take(&mut self.parks).into_iter().collect();
        parks.sort_unstable_by_key(|((thread, tsc), _)| (*tsc, *thread));
        // Of each thread the first wake-up that nobody came back from: no other is left of those before.
        let mut wakes: HashMap<u32, Vec<(u64, Wake)>> = HashMap::new();
        for ((thread, tsc), wake) in self.wakes.drain() {
            wakes.entry(thread).or_default().push((tsc, wake));
        }
        for ((thread, tsc), park) in parks {
            if self.seen.get(&thread).is_some_and(|seen| *seen > tsc) || exited.contains(&thread) {
                self.unpaired.lost_ends += 1;
                continue;
            }
            let after = wakes.get(&thread).into_iter().flatten().filter(|(woken, _)| *woken >= tsc);
            let wake = after.min_by_key(|(woken, _)| *woken);
            each(Wait {
                thread,
                vcpu: park.vcpu,
                reason: park.reason,
                kind: park.kind,
                waits_for: park.waits_for,
                waits_on: park.waits_on,
                stack: park.stack,
                parked: tsc.max(window.begin),
                is_clipped: false,
                woken: wake.map(|(woken, _)| *woken),
                waker: wake.map_or(Waker::Nobody, |(_, wake)| wake.waker),
                wake_stack: wake.and_then(|(_, wake)| wake.stack),
                resumed: None,
            });
        }
    }
}

impl Wake {
    fn explains(self, wait: Wait) -> Wait {
        Wait { waker: self.waker, wake_stack: self.stack, ..wait }
    }
}

#[cfg(test)]
mod tests;
