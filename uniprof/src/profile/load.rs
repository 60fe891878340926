//! The stacks of a recording, summed.

use uniprof_collector::recording::SessionInfo;
use uniprof_flamegraph::{Amount, Owner, RawAmount, RawKey, RawStacks};
use uniprof_symbolizer::Leaf;
use uniprof_wire::address::GuestVirtual;
use uniprof_wire::record::{Record, SampleRecord};

use super::figures::Figures;
use super::images::Images;
use super::naming::Mark;
use super::open::Source;
use super::walk::{Visitor, walk};

/// What a recording comes to, before its addresses have names.
pub(crate) struct Sums {
    pub(crate) stacks: RawStacks,
    pub(crate) figures: Figures,
}

/// Reads a recording to its end. `images` find callers that the guest's walk missed.
pub(crate) fn load(source: Source, session: SessionInfo, images: &mut Images) -> anyhow::Result<Sums> {
    let mut adder = Adder { stacks: RawStacks::default(), images, frames: Vec::new() };
    let mut figures = walk(source, session, &mut adder)?;
    let stacks = adder.stacks;
    let refused = stacks.refused().amount.samples;
    if refused > 0 {
        figures.notes.push(format!("{refused} samples of rare stacks were left out to bound memory"));
    }
    Ok(Sums { stacks, figures })
}

struct Adder<'a> {
    stacks: RawStacks,
    images: &'a mut Images,
    /// The stack that is being put together.
    frames: Vec<u64>,
}

impl Visitor for Adder<'_> {
    fn record(&mut self, vcpu: u32, record: &Record<'_>) {
        if let Record::Sample(sample) = record {
            self.add(vcpu, sample);
        }
    }
}

impl Adder<'_> {
    fn add(&mut self, vcpu: u32, sample: &SampleRecord<'_>) {
        let leaf = Leaf {
            rip: GuestVirtual(sample.rip),
            rsp: sample.rsp,
            rbp: sample.rbp,
            stack: sample.stack,
            frames: sample.frames,
        };
        let caller = self.images.repair(&leaf).caller();
        self.frames.clear();
        self.frames.push(sample.rip);
        self.frames.extend(caller.map(|address| address.0));
        self.frames.extend_from_slice(sample.frames);
        let mark = Mark { end: sample.end, repaired: caller.is_some() };
        let key = RawKey { owner: Owner { thread: sample.thread, vcpu }, mark: mark.to_bits() };
        let sum = RawAmount { amount: Amount::sample(sample.weight), missed: sample.missed.into() };
        self.stacks.add(key, &self.frames, sum);
    }
}
