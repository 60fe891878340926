//! Switches, wake-ups, starts and ends of threads joined to what each thread was in, from moment to moment.

use std::collections::HashMap;

use uniprof_wire::record::{Record, SwitchReason, ThreadAction};
use uniprof_wire::tables::{ThreadEntry, ThreadState};

use super::{MOST, Window};

/// What a thread was in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It ran on this vCPU.
    Running(u32),
    /// It could have run, and waited for a CPU: because it was preempted, or had been woken.
    Ready,
    /// It waited for something else.
    Blocked,
    /// It slept until a time.
    Sleeping,
}

/// A thread was in one state from a moment to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    /// Which thread.
    pub thread: u32,
    /// From when.
    pub from: u64,
    /// Till when.
    pub to: u64,
    /// In which.
    pub state: State,
}

/// A vCPU went from one thread to another.
#[derive(Clone, Copy, Debug)]
struct Switch {
    tsc: u64,
    vcpu: u32,
    from: u32,
    to: u32,
    reason: SwitchReason,
}

/// What is known of a thread before its next switch.
#[derive(Clone, Copy, Debug)]
enum Last {
    /// It has had a vCPU since.
    On(u64, u32),
    /// It has been off it since, for a reason.
    Off(u64, SwitchReason),
    /// It has ended.
    Over,
}

/// Joins records of classes switches, threads and off-cpu, in whatever order they come.
#[derive(Debug, Default)]
pub struct States {
    switches: Vec<Switch>,
    /// When each thread was made ready to run, as far as it then ran.
    wakes: HashMap<u32, Vec<u64>>,
    started: HashMap<u32, u64>,
    left_out: u64,
}

impl States {
    /// Takes in a record of `vcpu`.
    pub fn record(&mut self, vcpu: u32, record: &Record<'_>) {
        if self.switches.len() >= MOST {
            self.left_out += 1;
            return;
        }
        match record {
            Record::Switch(switch) => {
                let (tsc, from, to, reason) = (switch.tsc, switch.from, switch.to, switch.reason);
                self.switches.push(Switch { tsc, vcpu, from, to, reason });
            }
            Record::Resume(resume) if resume.woken != 0 => {
                self.wakes.entry(resume.thread).or_default().push(resume.woken);
            }
            Record::Thread(thread) if thread.action == ThreadAction::Started => {
                self.started.insert(thread.thread, thread.tsc);
            }
            _ => {}
        }
    }

    /// Whether there was a switch: without one nothing is known.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.switches.is_empty()
    }

    /// Records that were left out to bound memory.
    #[must_use]
    pub const fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Every state of every thread within `window`; `threads` are as they were at its end. Intervals of one thread follow each other without a gap
    /// from its start, or from the begin of the window on.
    pub fn finish<'a>(
        mut self,
        window: Window,
        threads: impl IntoIterator<Item = &'a ThreadEntry>,
        each: &mut impl FnMut(Interval),
    ) {
        self.switches.sort_by_key(|switch| switch.tsc);
        self.wakes.values_mut().for_each(|wakes| wakes.sort_unstable());
        let mut last: HashMap<u32, Last> = HashMap::new();
        for switch in &self.switches {
            let Switch { tsc, vcpu, from, to, reason } = *switch;
            match last.get(&from) {
                Some(Last::On(since, vcpu)) => tell(from, *since, tsc, State::Running(*vcpu), each),
                // It had the vCPU when the records began, unless one was lost.
                None => tell(from, self.began(from, window), tsc, State::Running(vcpu), each),
                Some(Last::Off(..) | Last::Over) => {}
            }
            last.insert(
                from,
                if reason == SwitchReason::Exited { Last::Over } else { Last::Off(tsc, reason) },
            );
            match last.get(&to) {
                Some(Last::Off(since, reason)) => self.away(to, *since, tsc, *reason, each),
                None => self.away_since_before(to, window, tsc, each),
                Some(Last::On(..) | Last::Over) => {}
            }
            last.insert(to, Last::On(tsc, vcpu));
        }
        let mut at_end: Vec<(u32, Last)> = last.iter().map(|(thread, last)| (*thread, *last)).collect();
        at_end.sort_unstable_by_key(|(thread, _)| *thread);
        for (thread, last) in at_end {
            match last {
                Last::On(since, vcpu) => tell(thread, since, window.end, State::Running(vcpu), each),
                Last::Off(since, reason) => self.away(thread, since, window.end, reason, each),
                Last::Over => {}
            }
        }
        // Threads that no switch was about: they waited all the time.
        for thread in threads.into_iter().filter(|thread| !last.contains_key(&thread.id)) {
            let state = match thread.state {
                ThreadState::Blocked => State::Blocked,
                ThreadState::Sleeping => State::Sleeping,
                _ => continue,
            };
            tell(thread.id, self.began(thread.id, window), window.end, state, each);
        }
    }

    /// When a thread's part of the window begins.
    fn began(&self, thread: u32, window: Window) -> u64 {
        self.started.get(&thread).copied().unwrap_or(window.begin)
    }

    /// A thread off the CPU whose leaving is from before the records, or that has just been started: with a wake-up it had waited until then.
    fn away_since_before(&self, thread: u32, window: Window, to: u64, each: &mut impl FnMut(Interval)) {
        let from = self.began(thread, window);
        let is_new = self.started.contains_key(&thread);
        let reason = match self.woken(thread, 0, to) {
            Some(_) if !is_new => SwitchReason::Blocked,
            _ => SwitchReason::Preempted,
        };
        self.away(thread, from, to, reason, each);
    }

    /// A thread off the CPU: blocked or asleep until it was woken, from then on ready.
    fn away(&self, thread: u32, from: u64, to: u64, reason: SwitchReason, each: &mut impl FnMut(Interval)) {
        let state = match reason {
            SwitchReason::Blocked => State::Blocked,
            SwitchReason::Sleeping => State::Sleeping,
            SwitchReason::Exited => return,
            SwitchReason::Preempted | SwitchReason::Yielded | SwitchReason::Idle => State::Ready,
        };
        let until = match state {
            State::Ready => to,
            _ => self.woken(thread, from, to).unwrap_or(to).clamp(from.min(to), to),
        };
        tell(thread, from, until, state, each);
        tell(thread, until, to, State::Ready, each);
    }

    /// The first wake-up from one moment to another.
    fn woken(&self, thread: u32, from: u64, to: u64) -> Option<u64> {
        let wakes = self.wakes.get(&thread)?;
        wakes.get(wakes.partition_point(|woken| *woken < from)).copied().filter(|woken| *woken <= to)
    }
}

/// Thread 0 is that of a vCPU that is idle.
fn tell(thread: u32, from: u64, to: u64, state: State, each: &mut impl FnMut(Interval)) {
    if thread != 0 && to > from {
        each(Interval { thread, from, to, state });
    }
}

#[cfg(test)]
mod tests {
    use uniprof_wire::address::GuestVirtual;
    use uniprof_wire::record::{Callers, ResumeRecord, SwitchRecord, Text, ThreadRecord};

    use super::*;

    const WINDOW: Window = Window { begin: 100, end: 1000 };

    fn switch(tsc: u64, from: u32, to: u32, reason: SwitchReason) -> Record<'static> {
        Record::Switch(SwitchRecord { tsc, from, to, reason })
    }

    fn resume(thread: u32, tsc: u64, woken: u64) -> Record<'static> {
        let (reason, callers) = (SwitchReason::Blocked, Callers::NONE);
        Record::Resume(ResumeRecord { tsc, thread, reason, parked: 0, woken, waker: 0, callers })
    }

    fn started(thread: u32, tsc: u64) -> Record<'static> {
        let (entry, stack) = (GuestVirtual(0), (GuestVirtual(0), GuestVirtual(0)));
        let (action, name) = (ThreadAction::Started, Text::Bytes(b""));
        Record::Thread(ThreadRecord { tsc, thread, action, entry, stack, name })
    }

    fn states(records: &[(u32, Record<'_>)], threads: &[ThreadEntry], thread: u32) -> Vec<(u64, u64, State)> {
        let mut states = States::default();
        records.iter().for_each(|(vcpu, record)| states.record(*vcpu, record));
        let mut told = Vec::new();
        states.finish(WINDOW, threads, &mut |interval| {
            if interval.thread == thread {
                told.push((interval.from, interval.to, interval.state));
            }
        });
        told
    }

    #[test]
    fn a_thread_is_in_one_state_at_a_time_and_in_one_at_any_time() {
        // Preempted, then waiting, woken, and back on another vCPU; rings come one after the other.
        let records = [
            (1, switch(700, 0, 7, SwitchReason::Idle)),
            (0, switch(200, 7, 8, SwitchReason::Preempted)),
            (0, switch(250, 8, 7, SwitchReason::Yielded)),
            (0, switch(300, 7, 8, SwitchReason::Blocked)),
            (1, resume(7, 700, 600)),
        ];
        let wanted = [
            (100, 200, State::Running(0)),
            (200, 250, State::Ready),
            (250, 300, State::Running(0)),
            (300, 600, State::Blocked),
            (600, 700, State::Ready),
            (700, 1000, State::Running(1)),
        ];
        assert_eq!(states(&records, &[], 7), wanted);
        let other = states(&records, &[], 8);
        assert_eq!(other.iter().map(|(from, to, _)| to - from).sum::<u64>(), 900, "{other:?}");
    }

    #[test]
    fn a_new_thread_is_ready_from_its_start_and_one_that_ended_is_nothing() {
        let records = [
            (0, started(7, 150)),
            (0, switch(180, 0, 7, SwitchReason::Idle)),
            (0, switch(220, 7, 0, SwitchReason::Exited)),
        ];
        assert_eq!(states(&records, &[], 7), [(150, 180, State::Ready), (180, 220, State::Running(0))]);
    }

    #[test]
    fn who_waited_when_the_records_began_is_told_by_its_wake_up_or_by_the_table() {
        let records = [(0, resume(7, 500, 450)), (0, switch(500, 0, 7, SwitchReason::Idle))];
        let wanted = [(100, 450, State::Blocked), (450, 500, State::Ready), (500, 1000, State::Running(0))];
        assert_eq!(states(&records, &[], 7), wanted);
        let sleeper = ThreadEntry { id: 9, state: ThreadState::Sleeping, ..ThreadEntry::default() };
        assert_eq!(states(&records, &[sleeper], 9), [(100, 1000, State::Sleeping)]);
    }
}
