//! Vcpus that show no sign of life any more. Pure: what was seen is handed in.

use std::time::Duration;

use super::seen::Seen;

/// No look at a guest counts for more: the host may have been asleep.
const LONGEST_STEP: Duration = Duration::from_secs(1);
/// The share of its silence for which a silent vCPU must have had the host's CPU; else it may just not have been its turn.
const CPU_SHARE: u32 = 10;

/// What the silence of a vCPU is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// It had the host's CPU, and its kernel has ticks, which did not come.
    Hung,
    /// It had the host's CPU, and its kernel has shown no tick yet. It hangs if its interrupts stay off.
    Tickless,
    /// It had no CPU time: it halts, or others were served. It hangs if it halts with its interrupts off.
    Still,
}

impl Silence {
    /// Whether the vCPU will not come back, given whether it hears interrupts and whether it halts.
    #[must_use]
    pub fn is_hang(self, deaf: bool, halts: bool) -> bool {
        match self {
            Self::Hung => true,
            Self::Tickless => deaf,
            Self::Still => deaf && halts,
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Vcpu {
    heartbeat: u64,
    cpu_time: Option<Duration>,
    silent: Duration,
    used: Duration,
}

/// Adds up for how long each vCPU has been silent while the guest ran.
#[derive(Clone, Debug)]
pub struct Watchdog {
    limit: Duration,
    vcpus: Vec<Vcpu>,
    was_running: bool,
}

impl Watchdog {
    /// One that barks after so much silence.
    #[must_use]
    pub fn new(limit: Duration) -> Self {
        Self { limit, vcpus: Vec::new(), was_running: false }
    }

    /// The silence that it takes.
    #[must_use]
    pub fn limit(&self) -> Duration {
        self.limit
    }

    /// Takes in what is seen `step` after the last look; which vCPUs are silent for too long.
    ///
    /// Time while the guest stands still does not count, nor does an idle vCPU: it has nothing to do and may sleep for as long as it
    /// likes.
    pub fn look(&mut self, step: Duration, running: bool, seen: &[Seen]) -> Vec<(u32, Silence)> {
        let counts = running && self.was_running;
        self.was_running = running;
        self.vcpus.resize(seen.len(), Vcpu::default());
        let mut found = Vec::new();
        let ticks = seen.iter().any(|seen| seen.stats.ticks > 0);
        // A kernel that polls, without ticks and without an idle loop, has no heartbeat that could stop.
        let beats = ticks || seen.iter().any(|seen| seen.stats.idle > 0);
        for (number, (vcpu, seen)) in (0..).zip(self.vcpus.iter_mut().zip(seen)) {
            let used = seen.cpu_time.zip(vcpu.cpu_time).map(|(now, then)| now.saturating_sub(then));
            vcpu.cpu_time = seen.cpu_time;
            let stats = &seen.stats;
            let alive = stats.heartbeat != vcpu.heartbeat || stats.online == 0 || stats.idle_since != 0;
            if alive || !beats {
                (vcpu.heartbeat, vcpu.silent, vcpu.used) = (stats.heartbeat, Duration::ZERO, Duration::ZERO);
            } else if counts {
                vcpu.silent += step.min(LONGEST_STEP);
                vcpu.used += used.unwrap_or_default();
                if vcpu.silent >= self.limit {
                    let silence = match vcpu.used >= self.limit / CPU_SHARE {
                        true if ticks => Silence::Hung,
                        true => Silence::Tickless,
                        false => Silence::Still,
                    };
                    found.push((number, silence));
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use uniprof_wire::tables::VcpuStats;

    use super::*;

    const STEP: Duration = Duration::from_millis(500);

    fn seen(heartbeat: u64, cpu_ms: u64) -> Seen {
        let stats = VcpuStats { heartbeat, online: 1, ticks: 9, ..VcpuStats::default() };
        Seen { stats, cpu_time: Some(Duration::from_millis(cpu_ms)) }
    }

    /// Looks `looks` times at what `at` makes of the number of the look; the look at which something was found, and what.
    fn first(looks: u64, at: impl Fn(u64) -> (bool, Vec<Seen>)) -> Option<(u64, Vec<(u32, Silence)>)> {
        let mut dog = Watchdog::new(Duration::from_secs(2));
        (0..looks).find_map(|look| {
            let (running, seen) = at(look);
            let found = dog.look(STEP, running, &seen);
            (!found.is_empty()).then_some((look, found))
        })
    }

    #[test]
    fn a_vcpu_that_spins_without_a_sign_of_life_is_found() {
        let found = first(20, |look| (true, vec![seen(look, 0), seen(look.min(3), look * 400)]));
        assert_eq!(found, Some((7, vec![(1, Silence::Hung)])));
    }

    #[test]
    fn one_that_had_no_cpu_time_or_never_ticked_is_told_apart() {
        let found = first(20, |look| (true, vec![seen(5, look)]));
        assert_eq!(found, Some((4, vec![(0, Silence::Still)])));
        let found = first(20, |look| {
            let mut seen = seen(5, look * 500);
            (seen.stats.ticks, seen.stats.idle) = (0, 1);
            (true, vec![seen])
        });
        assert_eq!(found, Some((4, vec![(0, Silence::Tickless)])));
    }

    #[test]
    fn idle_paused_polling_and_late_vcpus_are_left_alone() {
        let with = |change: fn(&mut VcpuStats)| {
            first(40, |look| {
                let mut seen = seen(5, look * 500);
                change(&mut seen.stats);
                (true, vec![seen])
            })
        };
        assert_eq!(with(|stats| stats.idle_since = 3), None);
        assert_eq!(with(|stats| stats.online = 0), None);
        assert_eq!(with(|stats| stats.ticks = 0), None);
        assert_eq!(with(|_| ()).unwrap().1, [(0, Silence::Hung)]);
        assert_eq!(first(40, |look| (look % 2 == 0, vec![seen(5, look * 500)])), None);
    }

    #[test]
    fn a_host_that_slept_costs_no_guest_its_life() {
        let mut dog = Watchdog::new(Duration::from_secs(2));
        assert!(dog.look(STEP, true, &[seen(5, 0)]).is_empty());
        assert!(dog.look(Duration::from_secs(3600), true, &[seen(5, 900)]).is_empty());
        assert!(dog.look(STEP, true, &[seen(6, 900)]).is_empty());
    }
}
