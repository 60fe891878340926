//! The budget: what the probes may cost, and what is given up when they cost more.
//!
//! Their cost is what they measure themselves: time spent in them, and that of the sampling interrupt. It counts against the time in
//! which a vCPU had something to do, because time in which it idles is nobody's loss; the dearest vCPU decides. Too dear, the rate
//! goes down while sampling costs the most, else the class that writes the most is shed. Both come back, last shed first, when
//! the cost has stayed well below the budget for a while; a class that proves too dear again waits twice as long the next time.

use core::fmt;

use uniprof_wire::record::{CLASSES, Class};
use uniprof_wire::tables::VcpuField;

use super::wishes::Wishes;
use crate::region::{MAX_VCPUS, Region};
use crate::sample;
use crate::vcpu::Vcpu;

/// Busy time that it takes to judge: a tenth of a second.
const JUDGED_PER_SECOND: u64 = 10;
/// The rate never goes below.
const LEAST_RATE: u32 = 1;
/// Judgements in a row that have to be well below the budget before something comes back.
const PATIENCE: u32 = 4;
const MOST_PATIENCE: u32 = 64;
/// What can be shed, each with what a record of it weighs: those with a stack cost several times as much as others.
const SHEDDABLE: [(Class, u64); 9] = [
    (Class::OffCpu, 6),
    (Class::Lock, 6),
    (Class::Heap, 6),
    (Class::Net, 3),
    (Class::Irq, 1),
    (Class::Call, 1),
    (Class::Event, 1),
    (Class::Span, 1),
    (Class::Counter, 1),
];

/// What the budget lets through of what is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sparing {
    pub(super) rate: u32,
    /// Classes that are off for now, a bit each.
    pub(super) shed: u64,
    /// How often something was given up, since init.
    pub(super) throttled: u64,
    /// What is to be told, if something begins or ends.
    pub(super) said: Option<Said>,
}

/// A change that the log is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Said {
    cost_ppm: u64,
    budget_ppm: u32,
    rate: u32,
    asked: u32,
    /// The class that was shed or came back.
    class: Option<(Class, bool)>,
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "uniprof: probes cost ")?;
        percent(f, self.cost_ppm)?;
        write!(f, " of a vCPU, ")?;
        percent(f, self.budget_ppm.into())?;
        write!(f, " are allowed: ")?;
        match self.class {
            Some((class, false)) => write!(f, "{} off", class.name()),
            Some((class, true)) => write!(f, "{} on again", class.name()),
            None => write!(f, "sampling at {} of {} Hz", self.rate, self.asked),
        }
    }
}

fn percent(f: &mut fmt::Formatter<'_>, ppm: u64) -> fmt::Result {
    write!(f, "{}.{:02} %", ppm / 10_000, ppm / 100 % 100)
}

/// Running totals of one vCPU, in TSC ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Totals {
    now: u64,
    busy: u64,
    cost: u64,
    /// The part of the cost that is sampling.
    ticks: u64,
}

/// What the probes of a vCPU cost, in millionths of its busy time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Cost {
    all: u64,
    /// The part of it that is sampling.
    ticks: u64,
}

pub(super) struct Budget {
    began: [Totals; MAX_VCPUS],
    /// What the rate may be; `u32::MAX` while it is not held down.
    limit: u32,
    /// Shed classes, in the order in which they were.
    shed: [Option<Class>; SHEDDABLE.len()],
    /// Judgements in a row that were well below the budget.
    calm: u32,
    patience: u32,
    /// The class that came back last: it is on trial.
    trial: Option<Class>,
    throttled: u64,
}

impl Budget {
    pub(super) const fn new() -> Self {
        Self {
            began: [Totals { now: 0, busy: 0, cost: 0, ticks: 0 }; MAX_VCPUS],
            limit: u32::MAX,
            shed: [None; SHEDDABLE.len()],
            calm: 0,
            patience: PATIENCE,
            trial: None,
            throttled: 0,
        }
    }

    /// Looks at what the probes have cost, and decides. `records`: how many of each class were written since it was last asked for.
    pub(super) fn judge(
        &mut self,
        region: &Region,
        now: u64,
        wishes: &Wishes,
        records: impl FnOnce() -> [u64; CLASSES],
    ) -> Sparing {
        let mut dearest: Option<Cost> = None;
        if wishes.budget_ppm > 0 {
            for id in 0..region.geometry.vcpus() {
                let cost = self.cost(id, totals(id, now), region.tsc_hz);
                dearest = match (dearest, cost) {
                    (Some(known), Some(cost)) if known.all >= cost.all => Some(known),
                    (known, cost) => cost.or(known),
                };
            }
        }
        self.decide(dearest, wishes, records)
    }

    /// What a vCPU's probes cost since they were last judged, once it has been busy for long enough.
    fn cost(&mut self, vcpu: u32, totals: Totals, tsc_hz: u64) -> Option<Cost> {
        let began = &mut self.began[vcpu as usize % MAX_VCPUS];
        let busy = totals.busy.saturating_sub(began.busy);
        if began.now == 0 || busy < tsc_hz / JUDGED_PER_SECOND {
            // A vCPU that idles nearly all the time loses nothing, and a ratio of little to little says nothing.
            if totals.now.saturating_sub(began.now) > tsc_hz {
                *began = totals;
            }
            return None;
        }
        let share = |now: u64, then: u64| {
            let ppm = u128::from(now.saturating_sub(then)) * 1_000_000 / u128::from(busy.max(1));
            u64::try_from(ppm).unwrap_or(u64::MAX)
        };
        let cost = Cost { all: share(totals.cost, began.cost), ticks: share(totals.ticks, began.ticks) };
        *began = totals;
        Some(cost)
    }

    fn decide(
        &mut self,
        cost: Option<Cost>,
        wishes: &Wishes,
        records: impl FnOnce() -> [u64; CLASSES],
    ) -> Sparing {
        let mut change = None;
        if wishes.budget_ppm == 0 {
            *self = Self { throttled: self.throttled, ..Self::new() };
        } else if let Some(cost) = cost {
            change = if cost.all > wishes.budget_ppm.into() {
                self.calm = 0;
                self.give_up(cost, wishes, records)
            } else if cost.all < u64::from(wishes.budget_ppm) * 3 / 4 {
                self.calm += 1;
                if self.calm < self.patience { None } else { self.give_back(cost, wishes) }
            } else {
                self.calm = 0;
                None
            };
        }
        let rate = wishes.rate.min(self.limit);
        let cost_ppm = cost.unwrap_or_default().all;
        let said = |class| Said { cost_ppm, budget_ppm: wishes.budget_ppm, rate, asked: wishes.rate, class };
        Sparing {
            rate,
            shed: self.shed.iter().flatten().fold(0, |bits, class| bits | class.bit()),
            throttled: self.throttled,
            said: change.map(said),
        }
    }

    /// Too dear. What the log is told: the first step down of the rate, and every class.
    fn give_up(
        &mut self,
        cost: Cost,
        wishes: &Wishes,
        records: impl FnOnce() -> [u64; CLASSES],
    ) -> Option<Option<(Class, bool)>> {
        let rate = wishes.rate.min(self.limit);
        let samples = wishes.classes & Class::Sample.bit() != 0 && rate > LEAST_RATE;
        let others = cost.all.saturating_sub(cost.ticks);
        if !samples || others > cost.ticks {
            let class = self.dearest_class(wishes.classes, &records());
            if let Some(class) = class {
                self.shed(class);
                return Some(Some((class, false)));
            }
        }
        if !samples {
            return None;
        }
        // As far as it takes if the cost goes with the rate, but not to less than a quarter at once: a judgement may be off.
        let room = u64::from(wishes.budget_ppm).saturating_sub(others);
        let fitting = u64::from(rate) * room / cost.ticks.max(1);
        let next = fitting.clamp(u64::from(rate / 4), u64::from(rate - 1)).max(LEAST_RATE.into());
        let first = self.limit == u32::MAX;
        self.limit = u32::try_from(next).unwrap_or(u32::MAX);
        self.throttled += 1;
        first.then_some(None)
    }

    /// The class that is on, can be shed, and has cost the most by the number of its records.
    fn dearest_class(&self, on: u64, records: &[u64; CLASSES]) -> Option<Class> {
        let on = |class: Class| on & class.bit() != 0 && !self.shed.contains(&Some(class));
        SHEDDABLE
            .iter()
            // Sites may be on by their names, whatever their class.
            .filter(|(class, _)| on(*class) || class_has_sites(*class) && !self.shed.contains(&Some(*class)))
            .map(|&(class, weight)| (records[class as usize].saturating_mul(weight), class))
            .filter(|(cost, _)| *cost > 0)
            .max()
            .map(|(_, class)| class)
    }

    fn shed(&mut self, class: Class) {
        if let Some(free) = self.shed.iter_mut().find(|slot| slot.is_none()) {
            *free = Some(class);
        }
        self.patience = match self.trial.take() {
            Some(tried) if tried == class => (self.patience * 2).min(MOST_PATIENCE),
            _ => self.patience,
        };
        self.throttled += 1;
    }

    /// Well below the budget: a step of the rate if that fits, then the class that was shed last.
    fn give_back(&mut self, cost: Cost, wishes: &Wishes) -> Option<Option<(Class, bool)>> {
        self.calm = 0;
        if self.limit < wishes.rate {
            let next = self.limit.saturating_add(self.limit / 4).saturating_add(1).min(wishes.rate);
            let dearer = cost.ticks.saturating_mul((next - self.limit).into()) / u64::from(self.limit.max(1));
            if cost.all.saturating_add(dearer) > u64::from(wishes.budget_ppm) * 9 / 10 {
                return None;
            }
            self.limit = if next == wishes.rate { u32::MAX } else { next };
            return (self.limit == u32::MAX).then_some(None);
        }
        self.limit = u32::MAX;
        let last = self.shed.iter_mut().rev().find(|slot| slot.is_some())?;
        let class = last.take()?;
        self.trial = Some(class);
        Some(Some((class, true)))
    }
}

fn class_has_sites(class: Class) -> bool {
    matches!(class, Class::Event | Class::Span | Class::Counter | Class::Call)
}

fn totals(id: u32, now: u64) -> Totals {
    let Some(vcpu) = Vcpu::of(id) else { return Totals::default() };
    let cost = vcpu.get(VcpuField::ProbeTime).saturating_add(vcpu.get(VcpuField::InterruptTime));
    let online = vcpu.get(VcpuField::Online) != 0;
    Totals { now, busy: if online { vcpu.busy(now) } else { 0 }, cost, ticks: sample::tick_cost(id) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A guest whose ticks cost 20 ppm for each Hz, and whose events cost `events` ppm while they are on.
    struct Guest {
        budget: Budget,
        wishes: Wishes,
        events: u64,
        last: Sparing,
    }

    impl Guest {
        fn new(rate: u32, budget_ppm: u32, events: u64) -> Self {
            let classes = Class::Sample.bit() | Class::Event.bit() | Class::Span.bit();
            let wishes = Wishes { rate, classes, snapshot_bytes: 0, packet_bytes: 0, budget_ppm };
            let last = Sparing { rate, shed: 0, throttled: 0, said: None };
            Self { budget: Budget::new(), wishes, events, last }
        }

        fn cost(&self) -> Cost {
            let ticks = u64::from(self.last.rate) * 20;
            let events = if self.last.shed & Class::Event.bit() == 0 { self.events } else { 0 };
            Cost { all: ticks + events, ticks }
        }

        /// So many judgements; what was said.
        fn run(&mut self, judgements: usize) -> Vec<String> {
            let mut said = Vec::new();
            for _ in 0..judgements {
                let cost = self.cost();
                let mut records = [0; CLASSES];
                records[Class::Event as usize] = cost.all - cost.ticks;
                self.last = self.budget.decide(Some(cost), &self.wishes, || records);
                said.extend(self.last.said.map(|said| std::format!("{said}")));
            }
            said
        }
    }

    #[test]
    fn a_rate_that_costs_too_much_goes_down_until_it_fits_and_comes_back() {
        let mut guest = Guest::new(2000, 10_000, 0);
        let said = guest.run(20);
        assert!(guest.cost().all <= 10_000, "{:?}", guest.last);
        assert!((375..=500).contains(&guest.last.rate), "not further than it takes: {:?}", guest.last);
        assert_eq!(guest.last.shed, 0);
        assert_eq!(said.len(), 1, "told once: {said:?}");
        assert!(said[0].contains("4.00 % of a vCPU, 1.00 % are allowed"), "{said:?}");
        guest.wishes.budget_ppm = 100_000;
        let said = guest.run(40 * PATIENCE as usize);
        assert_eq!((guest.last.rate, guest.last.shed), (2000, 0));
        assert!(said.len() == 1 && said[0].ends_with("2000 of 2000 Hz"), "{said:?}");
    }

    #[test]
    fn events_that_cost_too_much_are_shed_and_samples_stay() {
        let mut guest = Guest::new(99, 10_000, 300_000);
        let said = guest.run(3);
        assert_eq!((guest.last.rate, guest.last.shed), (99, Class::Event.bit()));
        assert!(said[0].ends_with("events off"), "{said:?}");
        // They are tried again, at ever longer intervals.
        let said = guest.run(400);
        assert!((4..=20).contains(&said.len()), "{} {said:?}", said.len());
        assert_eq!(guest.last.rate, 99);
        // Once the burst is over, they come back and stay.
        guest.events = 10;
        guest.run(2 * MOST_PATIENCE as usize);
        assert_eq!(guest.last.shed, 0);
    }

    #[test]
    fn without_a_budget_everything_is_on() {
        let mut guest = Guest::new(2000, 10_000, 300_000);
        guest.run(10);
        assert!(guest.last.rate < 2000 && guest.last.throttled > 0);
        guest.wishes.budget_ppm = 0;
        guest.run(1);
        assert_eq!((guest.last.rate, guest.last.shed), (2000, 0));
    }

    #[test]
    fn what_cannot_be_spared_is_not_spared_for_ever() {
        let mut guest = Guest::new(1, 1, 0);
        guest.run(100);
        assert_eq!(guest.last.rate, LEAST_RATE);
    }

    #[test]
    fn a_vcpu_that_idles_is_not_judged() {
        let mut budget = Budget::new();
        let at = |now, busy, cost| Totals { now, busy, cost, ticks: 0 };
        assert_eq!(budget.cost(0, at(2_000_000, 0, 0), 1_000_000), None, "the first look begins");
        assert_eq!(budget.cost(0, at(2_500_000, 50_000, 40_000), 1_000_000), None);
        assert_eq!(budget.cost(0, at(3_500_000, 60_000, 50_000), 1_000_000), None, "it begins anew");
        let cost = budget.cost(0, at(3_700_000, 160_000, 51_000), 1_000_000);
        assert_eq!(cost, Some(Cost { all: 10_000, ticks: 0 }));
    }
}
