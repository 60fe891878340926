//! The profile of what is not on the CPU: waits, wake-ups, locks, the heap.

use uniprof_collector::live_blocks::LiveBlocks;
use uniprof_collector::recording::SessionInfo;
use uniprof_events::waits::{Block, Blocks, Locks, OffCpu, Stacks, States, Unpaired, Wait, Window};
use uniprof_flamegraph::{Profile, ProfileBuilder, Unit};
use uniprof_postmortem::heap;
use uniprof_wire::record::Record;
use uniprof_wire::tables::Histogram;

use super::images::Images;
use super::joined::Joined;
use super::naming::Naming;
use super::open::Source;
use super::walk::{Visitor, walk};
use super::{Figures, Lives, Named, Times, View, lives};
use crate::sites::Sites;

/// What is to be said of a view besides its stacks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Aside {
    /// For how long threads that were ready waited for a CPU, in ticks.
    pub(crate) run_queue: Option<Box<Histogram>>,
    /// Waits that go on at the end, and waits that had begun before the beginning.
    pub(crate) still_waiting: u64,
    pub(crate) clipped: u64,
    /// What could not be joined.
    pub(crate) unpaired: Unpaired,
    /// What the threads' time was made of, where that is known.
    pub(crate) lives: Option<Lives>,
    /// More to be said, in sentences.
    pub(crate) remarks: Vec<String>,
}

/// How long threads that were ready waited for a CPU, in nanoseconds.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub(crate) struct RunQueue {
    pub(crate) count: u64,
    pub(crate) total_ns: u64,
    pub(crate) mean_ns: u64,
    pub(crate) p50_ns: u64,
    pub(crate) p99_ns: u64,
    pub(crate) max_ns: u64,
}

impl Aside {
    /// The run-queue latency; `None` where nobody was woken.
    pub(crate) fn run_queue(&self, figures: &Figures) -> Option<RunQueue> {
        let ticks = self.run_queue.as_deref().filter(|ticks| ticks.count > 0)?;
        let ns = |ticks| figures.nanoseconds(ticks).unwrap_or(0);
        let quantile = |share| ns(ticks.quantile(share).unwrap_or(0));
        Some(RunQueue {
            count: ticks.count,
            total_ns: ns(ticks.sum),
            mean_ns: ns(ticks.sum / ticks.count),
            p50_ns: quantile(0.5),
            p99_ns: quantile(0.99),
            max_ns: ns(ticks.max),
        })
    }

    /// What a reader of the view must know.
    pub(crate) fn sentences(&self, figures: &Figures) -> Vec<String> {
        let mut all = Vec::new();
        if let Some(RunQueue { mean_ns, p99_ns, .. }) = self.run_queue(figures) {
            let [mean, p99] = [mean_ns, p99_ns].map(|ns| Unit::Nanoseconds.short(ns));
            all.push(format!("from wake-up to CPU (in no width): mean {mean}, p99 {p99}"));
        }
        let mut count = |number: u64, one: &str, several: &str| match number {
            0 => {}
            1 => all.push(format!("1 {one}")),
            number => all.push(format!("{number} {several}")),
        };
        count(self.still_waiting, "wait goes on at the end", "waits go on at the end");
        count(self.clipped, "wait had begun before the recording", "waits had begun before the recording");
        let Unpaired { lost_ends, lost_stacks, disordered, disorder, left_out } = self.unpaired;
        count(lost_stacks, "wait has lost its stack", "waits have lost their stacks");
        count(
            lost_ends,
            "wait has lost its end, and is in no figure",
            "waits have lost their ends, and are in no figure",
        );
        count(left_out, "record was left out to bound memory", "records were left out to bound memory");
        if disordered > 0 {
            let most = Unit::Nanoseconds.short(figures.nanoseconds(disorder).unwrap_or(0));
            all.push(format!(
                "{disordered} waits ended before what ended them: the vCPUs' clocks differ by up to {most}, and what is \
                 said of the order of events on different vCPUs is no better than that"
            ));
        }
        all.extend(self.remarks.iter().cloned());
        all
    }
}

/// Reads a recording to its end, and names what `view` is about.
pub(super) fn read(
    source: Source,
    session: SessionInfo,
    images: &mut Images,
    view: View,
    times: Times,
) -> anyhow::Result<Named> {
    let mut records = Records { view, ..Records::default() };
    records.waits.joined.keep_times(times);
    let mut figures = walk(source, session, &mut records)?;
    figures.has_heap_table = records.blocks.has_looked();
    let (joined, stacks, aside) = records.finish(&figures);
    let naming = Naming::new(images, ProfileBuilder::of(view.measured()));
    let profile = joined.name(view, &stacks, &figures, naming);
    Ok(Named { profile, figures, view, aside, sites: Sites::default() })
}

/// The profile of records.
pub(crate) fn profile(records: Records, figures: &Figures, images: &mut Images) -> Profile {
    let view = records.view;
    let (joined, stacks, _) = records.finish(figures);
    joined.name(view, &stacks, figures, Naming::new(images, ProfileBuilder::of(view.measured())))
}

/// The records that a view is made of.
#[derive(Default)]
pub(crate) struct Records {
    view: View,
    stacks: Stacks,
    off_cpu: OffCpu,
    /// Those that are complete.
    waits: Waits,
    states: States,
    locks: Locks,
    blocks: Blocks,
    /// Slots of the heap table that were being written at the last look.
    torn: u64,
}

impl Visitor for Records {
    fn record(&mut self, vcpu: u32, record: &Record<'_>) {
        let Self { view, stacks, off_cpu, waits, states, locks, blocks, .. } = self;
        match view {
            View::Cpu => {}
            View::OffCpu | View::Wakeups => {
                states.record(vcpu, record);
                off_cpu.record(vcpu, record, stacks, &mut |wait| waits.add(*view, &wait, None));
            }
            View::Locks => locks.record(vcpu, record, stacks),
            View::LiveHeap | View::AllocatedHeap => blocks.record(vcpu, record, stacks),
        }
    }

    fn live_blocks(&mut self, table: &LiveBlocks) {
        if self.view.is_heap() {
            self.blocks.look(&table.entries, &mut self.stacks);
            self.torn = table.torn;
        }
    }
}

impl Records {
    /// None yet, for a view.
    pub(crate) fn of(view: View) -> Self {
        Self { view, ..Self::default() }
    }

    /// Takes a record in.
    pub(crate) fn take(&mut self, vcpu: u32, record: &Record<'_>) {
        Visitor::record(self, vcpu, record);
    }

    /// Takes in the blocks that lived at some moment.
    pub(crate) fn look(&mut self, table: &LiveBlocks) {
        Visitor::live_blocks(self, table);
    }

    fn finish(self, figures: &Figures) -> (Joined, Stacks, Aside) {
        let Self { view, stacks, off_cpu, mut waits, states, locks, blocks, torn } = self;
        let window = figures.window.unwrap_or(Window { begin: 0, end: 0 });
        match view {
            View::Cpu => {}
            View::OffCpu | View::Wakeups => {
                // Without a record of the class, the table's waiting threads are no profile.
                let class = figures.class(view.class());
                let threads = if class.emitted() > 0 { &figures.last_threads[..] } else { &[] };
                let unpaired =
                    off_cpu.finish(window, threads, &mut |wait| waits.add(view, &wait, Some(window.end)));
                waits.aside.unpaired = unpaired;
                waits.aside.lives = lives::of(states, figures);
            }
            View::Locks => {
                waits.aside.unpaired.left_out = locks.left_out();
                locks.finish(window.begin).iter().for_each(|blame| waits.joined.add_blame(blame));
            }
            View::LiveHeap | View::AllocatedHeap => {
                waits.aside.unpaired.left_out = blocks.left_out();
                let is_live = view == View::LiveHeap;
                let all = blocks.finish().into_iter();
                let shown = all.filter(|block| if is_live { block.lives } else { block.vcpu.is_some() });
                let shown: Vec<Block> = shown.collect();
                waits.aside.remarks = heap_remarks(&shown, is_live, torn, figures);
                shown.iter().for_each(|block| waits.joined.add_block(block));
            }
        }
        let Waits { joined, aside } = waits;
        (joined, stacks, aside)
    }
}

/// What is to be known of these blocks.
fn heap_remarks(blocks: &[Block], is_live: bool, torn: u64, figures: &Figures) -> Vec<String> {
    let (totals, sampled) = heap::counters(&figures.last_vcpus);
    let mut remarks = heap::Sampled { torn, ..sampled }.remarks();
    if !is_live {
        return remarks;
    }
    let older = |block: &&Block| figures.window.is_some_and(|window| block.tsc < window.begin);
    let older = blocks.iter().filter(older).fold(0_u64, |sum, block| sum.saturating_add(block.weight));
    let bytes = |bytes| Unit::Bytes.short(bytes);
    if figures.has_heap_table {
        if older > 0 {
            remarks.push(format!("{} of that was allocated before the recording", bytes(older)));
        }
        let (live, count) = (bytes(totals.live_bytes), totals.live_blocks);
        remarks.push(format!("the guest's own count: {live} in {count} blocks"));
    } else {
        remarks.push("what was allocated before the recording is missing: it holds no table of the blocks that lived then".into());
    }
    remarks
}

/// Waits, summed.
#[derive(Default)]
struct Waits {
    joined: Joined,
    aside: Aside,
}

impl Waits {
    /// Adds a wait; one that may go on counts until `end`.
    fn add(&mut self, view: View, wait: &Wait, end: Option<u64>) {
        self.joined.add_wait(view, wait, wait.blocked(end.unwrap_or(wait.parked)));
        self.aside.still_waiting += u64::from(wait.goes_on());
        self.aside.clipped += u64::from(wait.is_clipped);
        if let Some(ticks) = wait.runnable() {
            self.aside.run_queue.get_or_insert_default().record(ticks);
        }
    }
}
