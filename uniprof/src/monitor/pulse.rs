//! Whether a guest that runs still does: its signs of life, and where those fail, what `uniprof ping` finds out.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, TryRecvError, bounded};
use uniprof_collector::guests::GuestEntry;
use uniprof_collector::ping::{self, State, Verdict};
use uniprof_tui::picture::Fate;

/// A guest shows a sign of life every 25 ms; one that is starved of the host's CPU may take longer.
const SILENT: Duration = Duration::from_secs(2);
/// How often is asked why it is silent.
const ASK_EVERY: Duration = Duration::from_secs(3);

/// The signs of life of a guest.
pub(super) struct Pulse {
    life: u64,
    since: Instant,
    asked: Option<(Instant, Option<Receiver<Verdict>>)>,
    fate: Fate,
}

impl Default for Pulse {
    fn default() -> Self {
        Self { life: 0, since: Instant::now(), asked: None, fate: Fate::Runs }
    }
}

impl Pulse {
    /// What becomes of a guest whose latest sign of life is `life`. Its monitor is only asked while it shows none.
    pub(super) fn look(&mut self, life: u64, entry: &GuestEntry) -> Fate {
        if life != self.life {
            *self = Self { life, ..Self::default() };
        }
        if self.since.elapsed() < SILENT {
            return Fate::Runs;
        }
        match &mut self.asked {
            Some((_, answer @ Some(_))) => match answer.as_ref().map(Receiver::try_recv) {
                Some(Ok(verdict)) => {
                    *answer = None;
                    self.fate = fate(verdict);
                }
                Some(Err(TryRecvError::Disconnected)) => *answer = None,
                _ => {}
            },
            Some((at, None)) if at.elapsed() < ASK_EVERY => {}
            _ => self.asked = Some((Instant::now(), ask(entry))),
        }
        self.fate.clone()
    }
}

/// Looking takes a second and a half, in which the rings are still to be read.
fn ask(entry: &GuestEntry) -> Option<Receiver<Verdict>> {
    let (sender, answer) = bounded(1);
    let entry = entry.clone();
    let look = move || {
        // Whoever asked may have gone.
        let _ = sender.send(ping::judge(&ping::look_at(&entry)));
    };
    std::thread::Builder::new().name("ping".into()).spawn(look).ok().map(|_| answer)
}

fn fate(verdict: Verdict) -> Fate {
    match verdict.state {
        State::Alive => Fate::Runs,
        State::Paused => Fate::Paused,
        State::Wedged | State::Starved => Fate::Wedged(verdict.because),
        // That its process is gone is noticed elsewhere, with what it left.
        State::Dead => Fate::Crashed(verdict.because),
    }
}
