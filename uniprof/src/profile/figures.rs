//! Everything that a recording says besides its stacks: who, how long, what was lost, what it cost.

use std::collections::BTreeMap;
use std::time::Duration;

use uniprof_collector::accounting::Tally;
use uniprof_collector::clock::Clocks;
use uniprof_collector::ledger::Ledger;
use uniprof_collector::recording::SessionInfo;
use uniprof_events::Apart;
use uniprof_events::waits::Window;
use uniprof_flamegraph::Unit;
use uniprof_postmortem::heap::{self, HeapError};
use uniprof_wire::record::{CLASSES, Class};
use uniprof_wire::tables::{ThreadEntry, VcpuStats};

use super::View;
use super::metrics::Metrics;

/// The figures of a recording.
#[derive(Debug, Clone, Default)]
pub(crate) struct Figures {
    /// Who was recorded; absent where that part of the file is damaged.
    pub(crate) session: SessionInfo,
    /// From the first message to the last.
    pub(crate) seconds: f64,
    /// The guest's clock: its value at boot, and how fast it runs.
    pub(crate) boot_tsc: u64,
    pub(crate) tsc_hz: u64,
    /// The guest's clock against that on the wall.
    pub(crate) clocks: Clocks,
    /// How far the vCPUs' clocks are apart.
    pub(crate) apart: Apart,
    /// By vCPU.
    pub(crate) vcpus: BTreeMap<u32, Vcpu>,
    /// Counters, gauges and histograms.
    pub(crate) metrics: Metrics,
    /// Histograms that the region had room for, where that is known.
    pub(crate) histograms: Option<u32>,
    /// Names of threads.
    pub(crate) threads: BTreeMap<u32, String>,
    /// The guest's clock at the first and at the last that is known of it.
    pub(crate) window: Option<Window>,
    /// The threads as they were last seen.
    pub(crate) last_threads: Vec<ThreadEntry>,
    /// The vCPUs' running totals as they were last seen.
    pub(crate) last_vcpus: Vec<VcpuStats>,
    /// Whether it was seen which sampled blocks of the heap live.
    pub(crate) has_heap_table: bool,
    /// Whether the account of loss reaches to the end.
    pub(crate) is_settled: bool,
    /// What a reader must know about the recording itself.
    pub(crate) notes: Vec<String>,
}

/// The figures of one vCPU.
#[derive(Debug, Clone, Default)]
pub(crate) struct Vcpu {
    /// What became of its records, by class.
    pub(crate) classes: [Tally; CLASSES],
    /// Sampling ticks that did not come in time.
    pub(crate) missed: u64,
    /// TSC ticks that it was up, idle, and in the profiler.
    pub(crate) up: u64,
    pub(crate) idle: u64,
    pub(crate) own: u64,
    /// The rate in effect at the end, in Hz.
    pub(crate) rate: u32,
    /// The classes in effect at the end, a bit each.
    pub(crate) on: u64,
    /// Bytes of stack that samples took along at most at the end; 0 where the guest walked frame pointers.
    pub(crate) snapshot_bytes: u32,
}

impl Vcpu {
    /// Adds what happened between two looks at the vCPU's totals.
    pub(crate) fn add_span(&mut self, first: &VcpuStats, last: &VcpuStats) {
        self.missed = self.missed.saturating_add(last.missed.saturating_sub(first.missed));
        self.up = self.up.saturating_add(last.lifetime().saturating_sub(first.lifetime()));
        self.idle = self.idle.saturating_add(last.idle.saturating_sub(first.idle));
        self.own = self.own.saturating_add(last.own_cost().saturating_sub(first.own_cost()));
        self.rate = last.rate;
        self.on = last.classes;
        self.snapshot_bytes = last.snapshot_bytes;
    }

    /// The sum over all classes.
    pub(crate) fn all(&self) -> Tally {
        let mut sum = Tally::default();
        for tally in &self.classes {
            sum += *tally;
        }
        sum
    }

    /// The account of one class.
    pub(crate) fn class(&self, class: Class) -> Tally {
        self.classes[class as usize]
    }
}

impl Figures {
    /// The figures of a recording that has just been made.
    pub(crate) fn of(ledger: &Ledger, elapsed: Duration, from_boot: bool) -> Self {
        let mut figures = Self { seconds: elapsed.as_secs_f64(), ..Self::default() };
        figures.take(ledger, from_boot);
        figures
    }

    /// Takes over what the account says. `from_boot`: the recording has all of the guest's life, so its running totals count
    /// from zero; the first look at them came later.
    pub(crate) fn take(&mut self, ledger: &Ledger, from_boot: bool) {
        for (ring, tallies) in ledger.rings() {
            let vcpu = self.vcpus.entry(ring.vcpu.into()).or_default();
            for (sum, tally) in vcpu.classes.iter_mut().zip(tallies) {
                *sum += tally;
            }
        }
        let (Some(first), Some(last)) = (ledger.first_tables(), ledger.tables()) else { return };
        for (id, (first, last)) in first.vcpus.iter().zip(&last.vcpus).enumerate() {
            let first = if from_boot { &VcpuStats::default() } else { first };
            self.vcpus.entry(id as u32).or_default().add_span(first, last);
        }
        for thread in last.threads.iter().filter_map(|slot| slot.entry()) {
            if !thread.name.as_str().is_empty() {
                self.threads.entry(thread.id).or_insert_with(|| thread.name.as_str().to_owned());
            }
        }
        self.last_vcpus.clone_from(&last.vcpus);
        self.histograms = Some(last.header.geometry.histograms());
        self.boot_tsc = last.header.boot_tsc;
        self.tsc_hz = last.header.tsc_hz;
    }

    /// The sum over all vCPUs of one class.
    pub(crate) fn class(&self, class: Class) -> Tally {
        let mut sum = Tally::default();
        for vcpu in self.vcpus.values() {
            sum += vcpu.class(class);
        }
        sum
    }

    /// The profiler's own share of vCPU time, 0 to 1; `None` where no vCPU told.
    pub(crate) fn own_cost(&self) -> Option<f64> {
        self.share(|vcpu| vcpu.own)
    }

    /// The share of vCPU time that was idle.
    pub(crate) fn idle(&self) -> Option<f64> {
        self.share(|vcpu| vcpu.idle)
    }

    fn share(&self, of: impl Fn(&Vcpu) -> u64) -> Option<f64> {
        let sum = |of: &dyn Fn(&Vcpu) -> u64| self.vcpus.values().map(|vcpu| of(vcpu) as f64).sum::<f64>();
        let up = sum(&|vcpu| vcpu.up);
        (up > 0.0).then(|| (sum(&of) / up).min(1.0))
    }

    /// For how long the vCPUs that count were up, in sum, in nanoseconds; `None` where that is not known.
    pub(crate) fn vcpu_time(&self, counts: impl Fn(u32) -> bool) -> Option<u64> {
        let up = self.vcpus.iter().filter(|(id, _)| counts(**id)).map(|(_, vcpu)| vcpu.up);
        self.nanoseconds(up.fold(0, u64::saturating_add)).filter(|time| *time > 0)
    }

    /// Samples per second and vCPU: what was in effect, else what was asked for.
    pub(crate) fn rate(&self) -> Option<u32> {
        let in_effect = self.vcpus.values().map(|vcpu| vcpu.rate).max().filter(|rate| *rate > 0);
        in_effect.or(self.session.requested_hz)
    }

    /// Bytes of stack that samples took along at most; 0 where the guest walked frame pointers.
    pub(crate) fn snapshot_bytes(&self) -> u32 {
        self.vcpus.values().map(|vcpu| vcpu.snapshot_bytes).max().unwrap_or(0)
    }

    /// Seconds from the guest's boot to a value of its clock.
    pub(crate) fn since_boot(&self, tsc: u64) -> f64 {
        tsc.saturating_sub(self.boot_tsc) as f64 / self.tsc_hz.max(1) as f64
    }

    /// Wall clock at the guest's boot, nanoseconds since 1970: that which its first times count from.
    pub(crate) fn booted_ns(&self) -> Option<u64> {
        Some(self.clocks.last()?.wall(self.boot_tsc)?.ns)
    }

    /// Nanoseconds from the guest's boot to a value of its clock.
    pub(crate) fn at(&self, tsc: u64) -> u64 {
        self.nanoseconds(tsc.saturating_sub(self.boot_tsc)).unwrap_or(0)
    }

    /// Ticks of the guest's clock in nanoseconds; `None` where its rate is not known.
    pub(crate) fn nanoseconds(&self, ticks: u64) -> Option<u64> {
        let product = u128::from(ticks) * 1_000_000_000;
        product.checked_div(self.tsc_hz.into()).map(|ns| u64::try_from(ns).unwrap_or(u64::MAX))
    }

    /// A thread's name, or what is known instead.
    pub(crate) fn thread(&self, id: u32) -> String {
        match (id, self.threads.get(&id)) {
            (_, Some(name)) => name.clone(),
            (0, None) => "no thread".into(),
            (id, None) => format!("thread {id}"),
        }
    }

    /// Whether timings are those of an emulator.
    pub(crate) fn is_emulated(&self) -> bool {
        self.session.accelerator.as_ref().is_some_and(|accelerator| accelerator.is_emulated())
    }

    /// Sampling ticks that came too late, over all vCPUs.
    pub(crate) fn missed(&self) -> u64 {
        self.vcpus.values().fold(0, |sum, vcpu| sum.saturating_add(vcpu.missed))
    }

    /// The classes that any vCPU recorded at the end, a bit each.
    pub(crate) fn recorded(&self) -> u64 {
        self.vcpus.values().fold(0, |on, vcpu| on | vcpu.on)
    }

    /// What became of the records that are no samples.
    pub(crate) fn others(&self) -> Tally {
        let mut sum = Tally::default();
        for class in Class::ALL.into_iter().filter(|class| *class != Class::Sample) {
            sum += self.class(class);
        }
        sum
    }

    /// Why a view has nothing to show.
    pub(crate) fn why_nothing(&self, view: View) -> String {
        if view == View::Cpu {
            return format!("no samples: {}", self.why_no_samples());
        }
        let class = view.class();
        let word = class.name();
        let account = self.class(class);
        let word = if word == "off-cpu" { "off-CPU" } else { word.trim_end_matches('s') };
        if account.lost() > 0 && account.received == 0 {
            return format!("all {} {word} records were lost; try a larger --ring", account.lost());
        }
        let was_on = self.vcpus.values().any(|vcpu| vcpu.on & class.bit() != 0);
        let is_watched = view == View::LiveHeap && self.has_heap_table;
        if is_watched && self.last_vcpus.iter().all(|vcpu| vcpu.heap.interval == 0) {
            return HeapError::NotWatched.to_string();
        }
        if account.emitted() == 0 && !was_on && !is_watched {
            return format!("no {word} records: record with -e {}", class.name());
        }
        if is_watched {
            let (totals, sampled) = heap::counters(&self.last_vcpus);
            let bytes = |bytes| Unit::Bytes.short(bytes);
            return format!(
                "none of the blocks that live is a sample, of which there is one every {} on average; by the guest's own count {} live in {} \
                 blocks",
                bytes(sampled.interval),
                bytes(totals.live_bytes),
                totals.live_blocks
            );
        }
        let nothing = match view {
            View::Locks => "no thread had to wait for a lock",
            View::LiveHeap | View::AllocatedHeap => "no sampled block of the heap",
            _ => "no thread left the CPU to wait",
        };
        format!("{nothing} in {:.1} s (the kernel has to tell the probes of it)", self.seconds)
    }

    /// Why there is not a single sample.
    pub(crate) fn why_no_samples(&self) -> String {
        let samples = self.class(Class::Sample);
        if samples.lost() > 0 {
            return format!("all {} samples were lost; try a larger --ring", samples.lost());
        }
        if self.rate().is_none_or(|rate| rate == 0) {
            return "the guest's sampling was off; record with -F 99".into();
        }
        if self.vcpus.values().all(|vcpu| vcpu.on & Class::Sample.bit() == 0) {
            return "the class of samples was off; add samples to -e".into();
        }
        match self.idle() {
            Some(idle) if idle > 0.5 => format!(
                "the guest was idle for {:.1} % of its time, and idle time is not sampled; give it work while you \
                 record",
                idle * 100.0
            ),
            _ => format!(
                "{:.1} s were too short for one sample; record longer or faster (-d, -F)",
                self.seconds
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heap_without_a_sample_says_why() {
        let mut figures = Figures::default();
        assert_eq!(figures.why_nothing(View::LiveHeap), "no heap records: record with -e heap");
        figures.has_heap_table = true;
        figures.last_vcpus = vec![VcpuStats::default()];
        assert!(figures.why_nothing(View::LiveHeap).contains("do not watch its heap"));
        let heap = &mut figures.last_vcpus[0].heap;
        (heap.interval, heap.allocated_bytes, heap.allocated_blocks) = (524_288, 3_000, 20);
        let why = figures.why_nothing(View::LiveHeap);
        assert!(why.contains("one every 524 kB") && why.contains("3.00 kB live in 20 blocks"), "{why}");
        assert_eq!(figures.why_nothing(View::AllocatedHeap), "no heap records: record with -e heap");
    }
}
