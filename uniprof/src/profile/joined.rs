//! Sums of what is not on the CPU, by stacks that are joined of several: who waits and who wakes, who holds a lock and who wants it.

use std::collections::HashMap;

use uniprof_events::waits::{Blame, Block, StackId, Stacks, Wait, Waker};
use uniprof_flamegraph::{Amount, Found, Frame, FrameId, Owner, Profile, ProfileBuilder, TimedSample};
use uniprof_symbolizer::AddressKind;
use uniprof_wire::record::Callers;

use super::mark::Mark;
use super::naming::Naming;
use super::view::View;
use super::{Figures, Times};

/// How names of the probes' own functions begin.
const PROBES: &str = "uniprof_probes::";
const LOST: &str = "[unknown: stack lost]";

/// A piece of a joined stack, from the root on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Part {
    /// A thread, as the root of what follows.
    Thread(u32),
    /// Its stack from the thread's entry to where it waits.
    Stack(Option<StackId>),
    /// A stack from its innermost function outwards, as chain graphs put the waker's on top of the sleeper's.
    Inverted(StackId),
    /// Something to be said.
    Note(Note),
}

/// What is said between and after stacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Note {
    WokenBy(Waker),
    GoesOn,
    MadeWait(u32),
    Released(u32),
}

/// Moments that are kept at most.
const MOST_MOMENTS: usize = 4 << 20;

/// Sums by joined stack.
#[derive(Debug, Default)]
pub(super) struct Joined {
    sums: HashMap<(Owner, Vec<Part>), Sum>,
    moments: Option<Vec<Moment>>,
}

#[derive(Clone, Copy, Debug)]
struct Sum {
    amount: Amount,
    /// Of the stack, in the order of first use.
    number: usize,
}

/// When something was measured.
#[derive(Clone, Copy, Debug)]
struct Moment {
    /// Of its stack.
    number: usize,
    tsc: u64,
    weight: u64,
}

impl Joined {
    /// From now on the time of each amount is kept, or is not.
    pub(super) fn keep_times(&mut self, times: Times) {
        self.moments = (times == Times::Kept).then(Vec::new);
    }

    /// Adds a wait of `ticks` with who ended it.
    pub(super) fn add_wait(&mut self, view: View, wait: &Wait, ticks: u64) {
        let mut parts = vec![Part::Thread(wait.thread), Part::Stack(wait.stack)];
        parts.push(Part::Note(if wait.goes_on() { Note::GoesOn } else { Note::WokenBy(wait.waker) }));
        if view == View::Wakeups {
            parts.extend(wait.wake_stack.map(Part::Inverted));
        }
        let end = wait.parked.saturating_add(ticks);
        self.add(Owner { thread: wait.thread, vcpu: wait.vcpu }, parts, end, ticks);
    }

    /// Adds a part of a wait for a lock, below it who is to blame.
    pub(super) fn add_blame(&mut self, blame: &Blame) {
        let Blame { wait, holder, is_released, .. } = blame;
        let note = if *is_released { Note::Released(wait.thread) } else { Note::MadeWait(wait.thread) };
        let holders = [Part::Thread(holder.thread), Part::Stack(holder.stack)];
        let parts = holders.into_iter().chain([Part::Note(note), Part::Stack(wait.stack)]).collect();
        self.add(Owner { thread: wait.thread, vcpu: wait.vcpu }, parts, blame.to, blame.ticks());
    }

    /// Adds a block of the heap.
    pub(super) fn add_block(&mut self, block: &Block) {
        let owner = Owner { thread: block.thread, vcpu: block.vcpu.unwrap_or(0) };
        let parts = vec![Part::Thread(owner.thread), Part::Stack(block.stack)];
        self.add(owner, parts, block.tsc, block.weight);
    }

    fn add(&mut self, owner: Owner, parts: Vec<Part>, tsc: u64, weight: u64) {
        let number = self.sums.len();
        let sum = self.sums.entry((owner, parts)).or_insert(Sum { amount: Amount::default(), number });
        sum.amount += Amount { samples: 1, weight };
        if let Some(moments) = self.moments.as_mut().filter(|moments| moments.len() < MOST_MOMENTS) {
            moments.push(Moment { number: sum.number, tsc, weight });
        }
    }

    /// Names all stacks.
    pub(super) fn name(self, view: View, stacks: &Stacks, figures: &Figures, naming: Naming<'_>) -> Profile {
        let is_time = !view.is_heap();
        let mut sums: Vec<_> = self.sums.into_iter().collect();
        // Any order that is always the same: ids of frames are in the order of their first use.
        sums.sort_by(|(key, sum), (other_key, other)| {
            other.amount.weight.cmp(&sum.amount.weight).then_with(|| key.cmp(other_key))
        });
        let weight = |sum: u64| if is_time { figures.nanoseconds(sum).unwrap_or(0) } else { sum };
        let mut places = vec![None; sums.len()];
        let mut namer = Namer { stacks, figures, naming };
        for ((owner, parts), Sum { amount, number }) in sums {
            let frames: Vec<FrameId> = parts.iter().flat_map(|part| namer.frames(*part)).collect();
            namer.builder().thread(owner.thread, &figures.thread(owner.thread));
            let amount = Amount { weight: weight(amount.weight), ..amount };
            places[number] = namer.builder().add(frames, owner, amount).map(|stack| (stack, owner));
        }
        for moment in self.moments.iter().flatten() {
            let Some((stack, owner)) = places[moment.number] else { continue };
            let at = figures.nanoseconds(moment.tsc.saturating_sub(figures.boot_tsc)).unwrap_or(0);
            namer.builder().keep_time(TimedSample { at, stack, owner, weight: weight(moment.weight) });
        }
        namer.naming.builder.finish()
    }
}

struct Namer<'a> {
    stacks: &'a Stacks,
    figures: &'a Figures,
    naming: Naming<'a>,
}

impl Namer<'_> {
    /// The frames of a part, from the root on.
    fn frames(&mut self, part: Part) -> Vec<FrameId> {
        match part {
            Part::Thread(id) => {
                let name = self.figures.thread(id);
                vec![self.builder().frame(Frame::thread(&name))]
            }
            Part::Note(note) => {
                let text = self.note(note);
                vec![self.builder().frame(Frame::note(&text))]
            }
            Part::Stack(None) => vec![self.builder().frame(Frame::unknown(LOST))],
            Part::Stack(Some(stack)) => {
                let callers = self.stacks.get(stack);
                let mut frames = self.innermost_first(callers);
                frames.extend(self.cut_short(callers));
                frames.reverse();
                frames
            }
            Part::Inverted(stack) => {
                let callers = self.stacks.get(stack);
                let mut frames = self.innermost_first(callers);
                frames.extend(self.cut_short(callers));
                frames
            }
        }
    }

    fn builder(&mut self) -> &mut ProfileBuilder {
        &mut self.naming.builder
    }

    fn innermost_first(&mut self, callers: Callers<'_>) -> Vec<FrameId> {
        let mut frames = Vec::with_capacity(callers.frames.len());
        for address in callers.frames {
            frames.extend_from_slice(self.naming.frames(*address, AddressKind::Return, Found::FramePointer));
        }
        // The probe that looked is at the end of every stack, and no part of what it looked at.
        let is_probe = |id: &FrameId| self.naming.builder.name(*id).starts_with(PROBES);
        let probes = frames.iter().take_while(|id| is_probe(id)).count();
        if probes < frames.len() {
            frames.drain(..probes);
        }
        frames
    }

    fn cut_short(&mut self, callers: Callers<'_>) -> Option<FrameId> {
        let why = Mark::Walked { end: callers.end, repaired: false }.cut_short()?;
        Some(self.builder().frame(Frame::unknown(why)))
    }

    fn note(&self, note: Note) -> String {
        match note {
            Note::GoesOn => "[still blocked at the end]".into(),
            Note::WokenBy(Waker::Thread(0)) => "[woken by no thread: a vCPU that was idle]".into(),
            Note::WokenBy(Waker::Thread(id)) => format!("[woken by {}]", self.figures.thread(id)),
            Note::WokenBy(Waker::Interrupt) => "[woken by an interrupt]".into(),
            Note::WokenBy(Waker::Nobody | Waker::Unknown) => {
                "[woken by an interrupt or an unknown thread]".into()
            }
            Note::MadeWait(id) => format!("[made wait: {}]", self.figures.thread(id)),
            Note::Released(id) => format!("[released, not yet taken by: {}]", self.figures.thread(id)),
        }
    }
}
