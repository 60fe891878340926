//! Waiting for the end of a guest, whatever it is.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Cause, Watchdog,
    seen::{Seen, see, threads},
};
use crate::{
    cancel::Cancel,
    live::registers_over,
    memory::{FoundRegion, GuestMemory, find_region},
    qemu::{Guest, GuestExit},
    qmp::Event,
};

/// How long one wait for an event of QEMU takes.
const SLICE: Duration = Duration::from_millis(50);
/// Between two looks of the watchdog.
const STEP: Duration = Duration::from_millis(250);
/// A silent vCPU that has its interrupts off at so many looks in a row will not hear one any more.
const DEAF: u32 = 4;
/// A region that is not there is looked for again after so many times as long as the last search took.
const PATIENCE: u32 = 20;
/// How long QEMU may take for an answer to the watchdog.
const LIMIT: Duration = Duration::from_secs(2);
/// How long the process of a QEMU that hung up may take to end.
const END: Duration = Duration::from_secs(2);

/// How to watch.
pub struct WatchOptions<'a> {
    /// Silence of a vCPU after which the guest counts as hung.
    pub watchdog: Option<Duration>,
    /// Whether an end of QEMU is a crash of the guest.
    pub is_crash: &'a dyn Fn(GuestExit) -> bool,
    /// Ends the watch.
    pub cancel: Cancel,
}

/// What became of the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It crashed. If QEMU still runs, the guest stands still, but for one that the watchdog found.
    Crashed(Cause),
    /// It ended QEMU, well or as its caller calls well.
    Ended(GuestExit),
    /// It switched itself off. QEMU still runs.
    Off,
    /// Somebody ended it: `uniprof stop`, or a signal to QEMU.
    Told,
    /// The token was set. It runs on.
    Cancelled,
}

/// Waits for the end of a guest.
pub fn watch(guest: &mut Guest, options: &WatchOptions<'_>) -> Outcome {
    let mut watcher = options.watchdog.map(|limit| Watcher::new(guest, limit));
    loop {
        if options.cancel.is_cancelled() {
            return Outcome::Cancelled;
        }
        if guest.is_told_to_stop() {
            return Outcome::Told;
        }
        let event = guest.next_event(SLICE);
        match event {
            Ok(Some(event)) => {
                if let Some(outcome) = outcome(&event) {
                    return outcome;
                }
                continue;
            }
            Ok(None) => {}
            // It hung up: it ends, or has ended.
            Err(_) => {
                let _ = guest.wait(END, &options.cancel);
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        if let Some(exit) = guest.exit() {
            let told = guest.take_events().iter().find_map(outcome);
            return match told {
                Some(outcome) if outcome != Outcome::Off => outcome,
                _ if guest.is_told_to_stop() => Outcome::Told,
                _ if (options.is_crash)(exit) => Outcome::Crashed(Cause::Exit(exit)),
                _ => Outcome::Ended(exit),
            };
        }
        if let Some(cause) = watcher.as_mut().and_then(|watcher| watcher.look(guest)) {
            return Outcome::Crashed(cause);
        }
    }
}

/// What an event of QEMU means, if it means an end.
fn outcome(event: &Event) -> Option<Outcome> {
    match event.name.as_str() {
        "GUEST_PANICKED" => Some(Outcome::Crashed(Cause::Panic)),
        "SHUTDOWN" => Some(match event.data["reason"].as_str()? {
            "guest-panic" => Outcome::Crashed(Cause::Panic),
            "guest-reset" => Outcome::Crashed(Cause::Reset),
            "guest-shutdown" => Outcome::Off,
            // host-qmp-quit, host-signal, host-ui and their like.
            _ => Outcome::Told,
        }),
        _ => None,
    }
}

/// The watchdog with what it needs to see.
struct Watcher {
    dog: Watchdog,
    memory: Arc<dyn GuestMemory>,
    region: Option<FoundRegion>,
    /// The host's thread of each vCPU.
    threads: Option<Vec<u64>>,
    last: Instant,
    next_search: Instant,
    /// At how many looks in a row each vCPU had its interrupts off.
    deaf: Vec<u32>,
}

impl Watcher {
    fn new(guest: &Guest, limit: Duration) -> Self {
        let now = Instant::now();
        let dog = Watchdog::new(limit);
        Self {
            dog,
            memory: guest.memory(),
            region: None,
            threads: None,
            last: now,
            next_search: now,
            deaf: Vec::new(),
        }
    }

    fn look(&mut self, guest: &mut Guest) -> Option<Cause> {
        let step = self.last.elapsed();
        if step < STEP {
            return None;
        }
        let memory = Arc::clone(&self.memory);
        let region = self.find(&*memory)?;
        self.last = Instant::now();
        let running = guest.qmp().status(LIMIT).ok()?.running;
        let seen = self.see(guest, &*memory, &region)?;
        let silent = self.dog.look(step, running, &seen);
        if silent.is_empty() {
            return None;
        }
        let cpus = registers_over(guest.qmp(), "").unwrap_or_default();
        self.deaf.resize(seen.len(), 0);
        for (vcpu, deaf) in (0..).zip(&mut self.deaf) {
            let cpu = cpus.iter().find(|cpu| cpu.vcpu == vcpu);
            let is_deaf = cpu.is_some_and(|cpu| cpu.interrupts_on() == Some(false));
            *deaf = if is_deaf { *deaf + 1 } else { 0 };
        }
        let deaf = |vcpu: u32| self.deaf.get(vcpu as usize).is_some_and(|looks| *looks >= DEAF);
        let halts = |vcpu: u32| cpus.iter().any(|cpu| cpu.vcpu == vcpu && cpu.halted == Some(true));
        let hung = silent.into_iter().filter(|(vcpu, silence)| silence.is_hang(deaf(*vcpu), halts(*vcpu)));
        let hung: Vec<u32> = hung.map(|(vcpu, _)| vcpu).collect();
        (!hung.is_empty()).then(|| Cause::Watchdog(hung, self.dog.limit()))
    }

    fn find(&mut self, memory: &dyn GuestMemory) -> Option<FoundRegion> {
        if self.region.is_none() && Instant::now() >= self.next_search {
            let began = Instant::now();
            self.region = find_region(memory, None).ok().and_then(Result::ok);
            self.next_search = Instant::now() + (began.elapsed() * PATIENCE).max(STEP);
        }
        self.region
    }

    fn see(
        &mut self,
        guest: &mut Guest,
        memory: &dyn GuestMemory,
        region: &FoundRegion,
    ) -> Option<Vec<Seen>> {
        if self.threads.is_none() {
            self.threads = threads(guest.qmp(), LIMIT).ok();
        }
        see(memory, region, guest.entry().pid, self.threads.as_deref().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str, reason: &str) -> Event {
        Event { name: name.into(), data: serde_json::json!({ "reason": reason }), at_ns: 0 }
    }

    #[test]
    fn ends_are_told_apart_by_what_qemu_says() {
        let of = |name, reason| outcome(&event(name, reason));
        assert_eq!(of("GUEST_PANICKED", ""), Some(Outcome::Crashed(Cause::Panic)));
        assert_eq!(of("SHUTDOWN", "guest-reset"), Some(Outcome::Crashed(Cause::Reset)));
        assert_eq!(of("SHUTDOWN", "guest-shutdown"), Some(Outcome::Off));
        assert_eq!(of("SHUTDOWN", "host-qmp-quit"), Some(Outcome::Told));
        assert_eq!(of("SHUTDOWN", "host-signal"), Some(Outcome::Told));
        assert_eq!(of("STOP", ""), None);
    }
}
