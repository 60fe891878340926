//! What follows from what was seen.

use std::time::Duration;

use super::{Evidence, Look, Process};
use crate::{capture::Watchdog, cpu::CpuState};

/// The share of the looks' time that a vCPU must be silent for.
const SILENT: f64 = 0.6;
/// A vCPU that wanted the host's CPU and had less of it than this is starved: the watchdog draws the same line.
const STARVED: f64 = 0.1;
/// The share of the looks at which a vCPU must not have been idle to have wanted the CPU all the time.
const BUSY: f64 = 0.75;
/// Times shorter than this say nothing about a share.
const SHORTEST: Duration = Duration::from_millis(500);
/// QEMU's words for a guest that will not run again.
const DEAD: [&str; 4] = ["guest-panicked", "internal-error", "shutdown", "io-error"];

/// How a guest is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It runs, and shows it.
    Alive,
    /// Somebody has paused it.
    Paused,
    /// It would run if the host gave it CPU time.
    Starved,
    /// It runs, and will not come back: its interrupts are off, or its ticks do not come.
    Wedged,
    /// It has ended, or crashed.
    Dead,
}

impl State {
    /// A word for people and JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Paused => "paused",
            Self::Starved => "starved",
            Self::Wedged => "wedged",
            Self::Dead => "dead",
        }
    }
}

/// What was seen of one vCPU over all looks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VcpuSeen {
    /// Its number.
    pub vcpu: u32,
    /// Whether its heartbeat moved; `None` without a region.
    pub beats: Option<bool>,
    /// How long its heartbeat had not moved at the last look.
    pub silent: Duration,
    /// The share of the looks at which it was idle; `None` without a region.
    pub idle: Option<f64>,
    /// The share of one host CPU that its thread had. Where that is not known and all threads of QEMU together had next to nothing: theirs.
    pub cpu_share: Option<f64>,
    /// Whether it heard interrupts at any look since its heartbeat last moved; `None` without registers.
    pub interrupts_on: Option<bool>,
    /// Whether it halted at the last look; `None` without registers.
    pub halted: Option<bool>,
}

/// How a guest is, and why that is concluded.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// How it is.
    pub state: State,
    /// The evidence, in a sentence.
    pub because: String,
    /// Its vCPUs.
    pub vcpus: Vec<VcpuSeen>,
}

/// Says how a guest is, from what was seen of it.
#[must_use]
pub fn judge(evidence: &Evidence) -> Verdict {
    let vcpus = vcpus(&evidence.looks);
    let (state, because) =
        ended(evidence).or_else(|| paused(evidence)).unwrap_or_else(|| running(evidence, &vcpus));
    Verdict { state, because, vcpus }
}

fn ended(evidence: &Evidence) -> Option<(State, String)> {
    let last = evidence.looks.last()?;
    let said = evidence.crash.as_ref().map(|message| format!("; its kernel left a crash record: {message}"));
    let pid = evidence.pid;
    let why = match (&last.status, last.process) {
        (_, Process::Gone) => format!("QEMU's process {pid} is gone"),
        (_, Process::Zombie) => format!("QEMU's process {pid} has ended, and its parent has not taken note"),
        (Some(status), _) if DEAD.contains(&status.state.as_str()) => format!("QEMU says {}", status.state),
        _ => {
            let message = evidence.crash.as_ref()?;
            return Some((State::Dead, format!("its kernel left a crash record: {message}")));
        }
    };
    Some((State::Dead, why + &said.unwrap_or_default()))
}

fn paused(evidence: &Evidence) -> Option<(State, String)> {
    let looks = &evidence.looks;
    if looks.iter().all(|look| look.process == Process::Stopped) && !beat(looks) {
        let pid = evidence.pid;
        return Some((State::Paused, format!("QEMU's process {pid} is stopped, by a signal or a debugger")));
    }
    let states = looks.iter().map(|look| look.status.as_ref().filter(|status| !status.running));
    let last = states.collect::<Option<Vec<_>>>()?.pop()?;
    Some((State::Paused, format!("QEMU says {}: it goes on when somebody says so", last.state)))
}

/// Whether any vCPU's heartbeat moved.
fn beat(looks: &[Look]) -> bool {
    vcpus(looks).iter().any(|vcpu| vcpu.beats == Some(true))
}

fn running(evidence: &Evidence, vcpus: &[VcpuSeen]) -> (State, String) {
    let looks = &evidence.looks;
    let window = looks.last().map_or(Duration::ZERO, |look| look.at);
    let wedged = wedged(looks, vcpus, window);
    if !wedged.is_empty() {
        let told = wedged.iter().map(told_wedged).collect::<Vec<_>>().join("; ");
        return (State::Wedged, told);
    }
    let starved: Vec<&VcpuSeen> = vcpus.iter().filter(|vcpu| is_starved(vcpu, window)).collect();
    if let Some(first) = starved.first() {
        let percent = first.cpu_share.unwrap_or_default() * 100.0;
        let numbers = numbers(&starved);
        let beats =
            if first.beats == Some(true) { "its heart beats, slowly" } else { "its heart did not beat" };
        return (
            State::Starved,
            format!(
                "{numbers} had something to do all the time, and had {percent:.1} % of a host CPU in {:.1} s; {beats}",
                window.as_secs_f64()
            ),
        );
    }
    (State::Alive, told_alive(evidence, vcpus, window))
}

/// vCPUs that will not come back.
fn wedged(looks: &[Look], vcpus: &[VcpuSeen], window: Duration) -> Vec<VcpuSeen> {
    if window < SHORTEST {
        return Vec::new();
    }
    let mut dog = Watchdog::new(window.mul_f64(SILENT));
    let mut silent = Vec::new();
    let mut before = Duration::ZERO;
    for look in looks {
        // Who does not say that it stands still runs: there is no monitor.
        let runs = look.status.as_ref().is_none_or(|status| status.running) && look.process == Process::Runs;
        silent = dog.look(look.at - before, runs, &look.seen);
        before = look.at;
    }
    let hung = |vcpu: &&VcpuSeen| {
        let deaf = vcpu.interrupts_on == Some(false);
        let halts = vcpu.halted == Some(true);
        let by_watchdog =
            silent.iter().any(|(number, silence)| *number == vcpu.vcpu && silence.is_hang(deaf, halts));
        // An idle loop that halts with its interrupts off never wakes, and a kernel without probes has only its registers to show.
        let sleeps_for_ever = deaf && halts && vcpu.beats != Some(true);
        let is_mute = vcpu.beats.is_none() && deaf && vcpu.cpu_share.is_some_and(|share| share >= STARVED);
        by_watchdog || sleeps_for_ever || is_mute
    };
    vcpus.iter().filter(hung).copied().collect()
}

fn is_starved(vcpu: &VcpuSeen, window: Duration) -> bool {
    let wanted = vcpu.idle.is_some_and(|idle| 1.0 - idle >= BUSY) && vcpu.halted != Some(true);
    window >= SHORTEST && wanted && vcpu.cpu_share.is_some_and(|share| share < STARVED)
}

fn told_wedged(vcpu: &VcpuSeen) -> String {
    let VcpuSeen { vcpu: number, cpu_share, halted, .. } = *vcpu;
    let interrupts = match vcpu.interrupts_on {
        Some(false) => "its interrupts were off at every look",
        Some(true) => "its interrupts are on and no tick comes",
        None => "its registers are not known",
    };
    let does = match (halted, cpu_share) {
        (Some(true), _) => "halts".to_owned(),
        (_, Some(share)) => format!("had {:.0} % of a host CPU", share * 100.0),
        _ => "runs".to_owned(),
    };
    let silence = match vcpu.beats {
        None => "shows no sign of life, since its kernel has no probes".to_owned(),
        Some(_) => format!("showed no sign of life for {:.1} s", vcpu.silent.as_secs_f64()),
    };
    format!("vCPU {number} {does} and {silence}; {interrupts}")
}

fn told_alive(evidence: &Evidence, vcpus: &[VcpuSeen], window: Duration) -> String {
    let monitor = match &evidence.no_monitor {
        Some(why) => format!("; QEMU could not be asked: {why}"),
        None => String::new(),
    };
    let beating: Vec<&VcpuSeen> = vcpus.iter().filter(|vcpu| vcpu.beats == Some(true)).collect();
    let all = vcpus.iter().filter(|vcpu| vcpu.beats.is_some()).count();
    let seconds = window.as_secs_f64();
    if all == 0 {
        return format!(
            "QEMU runs it; its kernel shows no observation region, so that is all that can be said{monitor}"
        );
    }
    if beating.is_empty() {
        return format!(
            "it idles or polls, and its interrupts are on; no heartbeat was due in {seconds:.1} s{monitor}"
        );
    }
    let idle = vcpus.iter().filter_map(|vcpu| vcpu.idle).sum::<f64>() / all as f64;
    let busy = (1.0 - idle) * 100.0;
    format!(
        "{} of {all} vCPUs showed signs of life within {seconds:.1} s; busy at {busy:.0} % of the looks{monitor}",
        beating.len()
    )
}

fn numbers(vcpus: &[&VcpuSeen]) -> String {
    let numbers: Vec<String> = vcpus.iter().map(|vcpu| vcpu.vcpu.to_string()).collect();
    format!("vCPU{} {}", if numbers.len() == 1 { "" } else { "s" }, numbers.join(", "))
}

fn vcpus(looks: &[Look]) -> Vec<VcpuSeen> {
    let known = looks.iter().map(|look| look.seen.len().max(look.cpus.len())).max().unwrap_or(0);
    (0..u32::try_from(known).unwrap_or(u32::MAX)).filter_map(|number| vcpu(looks, number)).collect()
}

/// `None` for one that has never come up.
fn vcpu(looks: &[Look], number: u32) -> Option<VcpuSeen> {
    let of = |look: &Look| look.seen.get(number as usize).copied();
    let seen: Vec<_> = looks.iter().filter_map(of).collect();
    if seen.last().is_some_and(|seen| seen.stats.online == 0) {
        return None;
    }
    let heart = |look: &Look| of(look).map(|seen| seen.stats.heartbeat);
    // The look at which its heartbeat was last new.
    let moved = looks.windows(2).rposition(|pair| heart(&pair[0]) != heart(&pair[1])).map(|index| index + 1);
    let since = looks.get(moved.unwrap_or(0)..).unwrap_or_default();
    let (first, last) = (looks.first()?, looks.last()?);
    let registers = |looks: &[Look]| {
        let of = |look: &Look| look.cpus.iter().find(|cpu| cpu.vcpu == number).cloned();
        looks.iter().filter_map(of).collect::<Vec<CpuState>>()
    };
    let hears: Vec<bool> = registers(since).iter().filter_map(CpuState::interrupts_on).collect();
    let idle = seen.iter().filter(|seen| seen.stats.idle_since != 0).count();
    let window = last.at.saturating_sub(first.at);
    let share = |time: fn(&Look, u32) -> Option<Duration>| {
        let (then, now) = (time(first, number)?, time(last, number)?);
        (!window.is_zero()).then(|| now.saturating_sub(then).as_secs_f64() / window.as_secs_f64())
    };
    let own = share(|look, number| look.seen.get(number as usize)?.cpu_time);
    let of_all = share(|look, _| look.used).filter(|share| *share < STARVED);
    Some(VcpuSeen {
        vcpu: number,
        beats: (!seen.is_empty()).then_some(moved.is_some()),
        silent: last.at.saturating_sub(since.first().map_or(last.at, |look| look.at)),
        idle: (!seen.is_empty()).then(|| idle as f64 / seen.len() as f64),
        cpu_share: own.or(of_all),
        // Two looks at least: any kernel switches them off for a moment.
        interrupts_on: (hears.len() >= 2).then(|| hears.contains(&true)),
        halted: registers(looks).last().and_then(|cpu| cpu.halted),
    })
}

#[cfg(test)]
mod tests {
    use uniprof_wire::tables::VcpuStats;

    use super::*;
    use crate::{capture::seen::Seen, cpu::StateSource, qmp::Status};

    /// Ten looks in 1.4 s; `at` changes the look of each number.
    fn evidence(at: impl Fn(u64, &mut Look)) -> Evidence {
        let looks = (0..10).map(|number| {
            let stats = VcpuStats { heartbeat: number, online: 1, ticks: 9, ..VcpuStats::default() };
            let seen = vec![Seen { stats, cpu_time: Some(Duration::from_millis(number * 150)) }];
            let mut cpu = CpuState::new(0, 0x1000, StateSource::Given);
            (cpu.rflags, cpu.halted) = (Some(0x202), Some(false));
            let status = Some(Status { running: true, state: "running".into() });
            let at_ = Duration::from_millis(number * 150);
            let used = Some(Duration::from_millis(number * 150));
            let mut look = Look { at: at_, process: Process::Runs, used, status, seen, cpus: vec![cpu] };
            at(number, &mut look);
            look
        });
        Evidence { pid: 7, looks: looks.collect(), crash: None, no_monitor: None, tsc_hz: 1 }
    }

    fn state(at: impl Fn(u64, &mut Look)) -> State {
        judge(&evidence(at)).state
    }

    #[test]
    fn five_states_are_told_apart() {
        assert_eq!(state(|_, _| ()), State::Alive);
        assert_eq!(state(|_, look| look.seen[0].stats.idle_since = 1), State::Alive);
        let stopped = |_, look: &mut Look| {
            (look.process, look.status, look.cpus) = (Process::Stopped, None, Vec::new());
            look.seen[0].stats.heartbeat = 1;
            look.seen[0].cpu_time = Some(Duration::ZERO);
        };
        assert_eq!(state(stopped), State::Paused);
        let qemu = |_, look: &mut Look| {
            look.status = Some(Status { running: false, state: "paused".into() });
            look.seen[0].stats.heartbeat = 1;
        };
        assert_eq!(state(qemu), State::Paused);
        let starved = |number: u64, look: &mut Look| {
            look.seen[0].stats.heartbeat = number / 5;
            look.seen[0].cpu_time = Some(Duration::from_millis(number));
        };
        let verdict = judge(&evidence(starved));
        assert_eq!(verdict.state, State::Starved);
        assert!(
            verdict.because.contains("vCPU 0") && verdict.because.contains("0.7 %"),
            "{}",
            verdict.because
        );
        let wedged = |_, look: &mut Look| {
            look.seen[0].stats.heartbeat = 1;
            look.cpus[0].rflags = Some(2);
        };
        let verdict = judge(&evidence(wedged));
        assert_eq!(verdict.state, State::Wedged);
        assert!(verdict.because.contains("interrupts were off"), "{}", verdict.because);
        assert_eq!(state(|_, look| look.process = Process::Gone), State::Dead);
        let panicked = |_, look: &mut Look| {
            look.status = Some(Status { running: false, state: "guest-panicked".into() });
        };
        assert_eq!(state(panicked), State::Dead);
        let crashed = Evidence { crash: Some("out of cheese".into()), ..evidence(|_, _| ()) };
        assert!(judge(&crashed).because.contains("out of cheese"));
    }

    #[test]
    fn what_looks_like_another_state_is_not_taken_for_it() {
        // Stopped at each look, and running between them.
        let flickering = |number: u64, look: &mut Look| {
            (look.process, look.status, look.cpus) = (Process::Stopped, None, Vec::new());
            // QEMU could not be asked for the threads of its vCPUs.
            (look.seen[0].cpu_time, look.used) = (None, Some(Duration::from_millis(number)));
        };
        assert_eq!(state(flickering), State::Starved);
        // An interrupt handler at one look.
        let handler = |number: u64, look: &mut Look| {
            look.cpus[0].rflags = Some(if number == 3 { 2 } else { 0x202 });
            look.seen[0].stats.heartbeat = 1;
            look.seen[0].stats.ticks = 0;
        };
        assert_eq!(state(handler), State::Alive);
        // An idle loop that will never wake.
        let asleep = |_, look: &mut Look| {
            (look.seen[0].stats.idle_since, look.seen[0].stats.heartbeat) = (1, 1);
            (look.cpus[0].rflags, look.cpus[0].halted) = (Some(2), Some(true));
        };
        assert_eq!(state(asleep), State::Wedged);
        // No region: all there is are registers.
        let mute = |_, look: &mut Look| look.seen.clear();
        assert_eq!(state(mute), State::Alive);
        // It hung while it was looked at: what was seen before says nothing.
        let late = |number: u64, look: &mut Look| {
            if number >= 2 {
                look.seen[0].stats.heartbeat = 2;
                look.cpus[0].rflags = Some(2);
            }
        };
        let verdict = judge(&evidence(late));
        assert_eq!(verdict.state, State::Wedged);
        assert!(verdict.because.contains("interrupts were off"), "{}", verdict.because);
        assert!(
            verdict.because.contains("1.1 s") || verdict.because.contains("1.0 s"),
            "{}",
            verdict.because
        );
    }
}
