//! The stacks of a recording, summed.

use uniprof_collector::recording::SessionInfo;
use uniprof_flamegraph::{Amount, Owner, RawAmount, RawKey, RawPlace, RawStacks};
use uniprof_symbolizer::{Leaf, Unwinder, UnwoundFrame};
use uniprof_wire::address::GuestVirtual;
use uniprof_wire::record::{Record, SampleRecord, SnapshotRecord, WalkEnd};

use super::figures::Figures;
use super::images::Images;
use super::mark::{self, Mark};
use super::open::Source;
use super::walk::{Visitor, walk};

/// Per cent of stacks. A few break off in any guest: in assembly code, while a thread starts.
const WORTH_SAYING: f64 = 5.0;

/// Whether the time of each sample is wanted. It costs memory for every sample, where sums cost it for every stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Times {
    Kept,
    Summed,
}

/// One sample's place in time.
pub(crate) struct Moment {
    pub(crate) tsc: u64,
    pub(crate) stack: RawPlace,
    /// In ticks of the guest's clock.
    pub(crate) weight: u64,
}

/// What a recording comes to, before its addresses have names.
pub(crate) struct Sums {
    pub(crate) stacks: RawStacks,
    /// Empty where times are summed.
    pub(crate) moments: Vec<Moment>,
    pub(crate) figures: Figures,
}

/// Reads a recording to its end. `images` find callers that the guest's walk missed.
pub(crate) fn load(
    source: Source,
    session: SessionInfo,
    images: &mut Images,
    times: Times,
) -> anyhow::Result<Sums> {
    let mut adder =
        Adder { stacks: RawStacks::default(), moments: Vec::new(), times, images, puzzle: Puzzle::default() };
    let mut figures = walk(source, session, &mut adder)?;
    let Adder { stacks, moments, .. } = adder;
    figures.notes.extend(frame_pointers_missing(&stacks));
    let refused = stacks.refused().amount.samples;
    if refused > 0 {
        figures.notes.push(format!("{refused} samples of rare stacks were left out to bound memory"));
    }
    Ok(Sums { stacks, moments, figures })
}

struct Adder<'a> {
    stacks: RawStacks,
    moments: Vec<Moment>,
    times: Times,
    images: &'a mut Images,
    puzzle: Puzzle,
}

impl Visitor for Adder<'_> {
    fn record(&mut self, vcpu: u32, record: &Record<'_>) {
        let Some(sample) = self.puzzle.piece_together(record, self.images) else { return };
        let stack = self.stacks.add(sample.key(vcpu), sample.frames, sample.amount());
        if let (Times::Kept, Some(stack)) = (self.times, stack) {
            self.moments.push(Moment { tsc: sample.tsc, stack, weight: sample.weight });
        }
    }
}

/// A sample with its stack put together.
pub(crate) struct Sampled<'a> {
    pub(crate) tsc: u64,
    pub(crate) thread: u32,
    /// In ticks of the guest's clock.
    pub(crate) weight: u64,
    missed: u32,
    mark: Mark,
    /// As [`Mark::frames`] reads them.
    pub(crate) frames: &'a [u64],
}

impl Sampled<'_> {
    /// What it is summed under.
    pub(crate) fn key(&self, vcpu: u32) -> RawKey {
        RawKey { owner: Owner { thread: self.thread, vcpu }, mark: self.mark.to_bits() }
    }

    /// What it adds to a sum.
    pub(crate) fn amount(&self) -> RawAmount {
        RawAmount { amount: Amount::sample(self.weight), missed: self.missed.into() }
    }
}

/// Puts stacks of samples together.
#[derive(Default)]
pub(crate) struct Puzzle {
    /// For snapshots of stacks, which most recordings have none of.
    unwinder: Option<Unwinder>,
    unwound: Vec<UnwoundFrame>,
    /// The stack that is being put together.
    frames: Vec<u64>,
}

impl Puzzle {
    /// The stack of a record that is a sample.
    pub(crate) fn piece_together(&mut self, record: &Record<'_>, images: &mut Images) -> Option<Sampled<'_>> {
        match record {
            Record::Sample(sample) => Some(self.walked(sample, images)),
            Record::Snapshot(snapshot) => Some(self.unwound(snapshot, images)),
            _ => None,
        }
    }

    fn walked(&mut self, sample: &SampleRecord<'_>, images: &mut Images) -> Sampled<'_> {
        let leaf = Leaf {
            rip: GuestVirtual(sample.rip),
            rsp: sample.rsp,
            rbp: sample.rbp,
            stack: sample.stack,
            frames: sample.frames,
        };
        let caller = images.repair(&leaf).caller();
        self.frames.clear();
        self.frames.push(sample.rip);
        self.frames.extend(caller.map(|address| address.0));
        self.frames.extend_from_slice(sample.frames);
        Sampled {
            tsc: sample.tsc,
            thread: sample.thread,
            weight: sample.weight,
            missed: sample.missed,
            mark: Mark::Walked { end: sample.end, repaired: caller.is_some() },
            frames: &self.frames,
        }
    }

    /// Unwinds the snapshot's stack.
    fn unwound(&mut self, snapshot: &SnapshotRecord<'_>, images: &Images) -> Sampled<'_> {
        let read = |at: u64| {
            let offset = usize::try_from(at.checked_sub(snapshot.registers.rsp)?).ok()?;
            let word = snapshot.stack.get(offset / 8)?;
            match offset % 8 * 8 {
                0 => Some(*word),
                shift => Some(word >> shift | snapshot.stack.get(offset / 8 + 1)? << (64 - shift)),
            }
        };
        self.unwound.clear();
        let unwinder = self.unwinder.get_or_insert_with(|| images.unwinder());
        let end = unwinder.unwind(&snapshot.registers, read, &mut self.unwound);
        mark::pack(&self.unwound, &mut self.frames);
        Sampled {
            tsc: snapshot.tsc,
            thread: snapshot.thread,
            weight: snapshot.weight,
            missed: snapshot.missed,
            mark: Mark::Unwound(mark::cut(end, snapshot)),
            frames: &self.frames,
        }
    }
}

/// What to do where the guest's code keeps no frame pointers.
fn frame_pointers_missing(stacks: &RawStacks) -> Option<String> {
    let (mut walked, mut lost) = (0, 0);
    for stack in stacks.iter() {
        if let Mark::Walked { end, .. } = Mark::from_bits(stack.key.mark) {
            let samples = stack.sum.amount.samples;
            walked += samples;
            lost += if matches!(end, WalkEnd::OutsideStack | WalkEnd::NotRising) { samples } else { 0 };
        }
    }
    let share = lost as f64 * 100.0 / walked as f64;
    (share > WORTH_SAYING).then(|| {
        format!(
            "{share:.0} % of stacks have no frame pointers to follow: record with --call-graph dwarf to see all callers"
        )
    })
}
