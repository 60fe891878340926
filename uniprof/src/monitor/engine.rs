//! What goes on while somebody looks: reads what is new, answers requests, makes pictures.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use uniprof_collector::cancel::Cancel;
use uniprof_collector::guests::Witness;
use uniprof_tui::picture::{Can, Fate, Kind, Listing, Picture, Shown, Span, Subject, Switch};
use uniprof_tui::{Answer, Request};
use uniprof_wire::record::Class;

use super::cost::{Cost, thread_time};
use super::ending;
use super::inside::{Code, Inside};
use super::model::Model;
use super::picture::{self, Around, Wanted};
use super::pulse::Pulse;
use super::source::{self, Live, Replay};
use crate::options;
use crate::selection::Selection;
use crate::values::PathMap;

/// Samples per second and vCPU that are asked for where nobody says how many.
pub(super) const RATE: u32 = 99;
/// Time between two pictures, at least; and how many times the CPU time that making one took, so that pictures take a twentieth of a CPU
/// at the most. (Not the time that passed: others who use the CPU would make it worse than it is.)
const PICTURE_EVERY: Duration = Duration::from_millis(100);
const PICTURE_TIMES: u32 = 20;
/// The first pictures, which name most of the functions, say nothing of what the next take.
const FIRST_PICTURES: u64 = 3;
/// The longest time between two pictures of a guest that runs.
const PICTURE_LATEST: Duration = Duration::from_secs(2);

/// How often is asked how a VMM ended.
const DEAD_PAUSE: Duration = Duration::from_millis(20);

/// How long is waited for the first look into memory.
pub(super) const INSIDE_LIMIT: Duration = Duration::from_secs(20);

/// How to look.
pub(crate) struct Options {
    pub(crate) rate: Option<u32>,
    pub(crate) events: Option<Selection>,
    pub(crate) symbols: options::Symbols,
    pub(crate) path_map: Vec<PathMap>,
    pub(crate) cancel: Cancel,
}

/// Somebody looks at a guest.
pub(crate) struct Engine {
    pub(super) model: Model,
    pub(super) source: Source,
    pub(super) subject: Arc<Subject>,
    pub(super) wanted: Wanted,
    pub(super) fate: Fate,
    pub(super) pulse: Pulse,
    pub(super) number: u64,
    pub(super) cost: Cost,
    /// Which event sites are on, where memory tells.
    pub(super) sites: Option<source::SiteStates>,
    pub(super) notes: Vec<String>,
    pub(super) inside: Option<Inside>,
    /// The function whose lines are wanted, its code once that is there, and the listing as it was told last.
    pub(super) listed: Option<Listed>,
    pub(super) path_map: Vec<PathMap>,
    pub(super) symbols: options::Symbols,
    /// What is being done aside, and will be told.
    pub(super) aside: (Sender<Answer>, Receiver<Answer>),
}

/// A function whose lines are wanted.
pub(super) struct Listed {
    pub(super) function: String,
    pub(super) code: Option<Code>,
    pub(super) told: Option<Listing>,
}

/// Where messages come from.
pub(super) enum Source {
    Live(Box<Live>),
    Replay(Box<Replay>),
    /// Its VMM has ended, and how is not known yet.
    Dead(Box<Dead>),
    /// It has ended, or was never more than a moment.
    Still,
}

/// A guest without a VMM.
pub(super) struct Dead {
    pid: u32,
    witness: Witness,
}

impl Engine {
    pub(super) fn new(model: Model, source: Source, subject: Subject, options: &Options) -> Self {
        Self {
            model,
            source,
            subject: Arc::new(subject),
            wanted: Wanted { span: Span::All, shown: Shown::Now },
            fate: Fate::Runs,
            pulse: Pulse::default(),
            number: 0,
            cost: Cost::default(),
            sites: None,
            notes: Vec::new(),
            inside: None,
            listed: None,
            path_map: options.path_map.clone(),
            symbols: options.symbols.clone(),
            aside: unbounded(),
        }
    }

    /// Looks for a while, at a recording to its end.
    pub(crate) fn look(mut self, time: Duration, cancel: &Cancel) -> anyhow::Result<Picture> {
        if let Source::Replay(replay) = &mut self.source {
            replay.only_to_the_end();
        }
        let began = Instant::now();
        loop {
            let pause = self.step()?;
            let is_done = match &self.source {
                Source::Live(_) => began.elapsed() >= time,
                Source::Dead(_) => false,
                Source::Replay(replay) => replay.is_at_end(),
                Source::Still => true,
            };
            if is_done || cancel.is_cancelled() {
                break;
            }
            std::thread::sleep(pause);
        }
        if matches!(self.source, Source::Live(_))
            && let Some(inside) = &mut self.inside
        {
            inside.wait(INSIDE_LIMIT);
        }
        Ok(self.picture())
    }

    /// Answers requests until nobody is there any more.
    pub(crate) fn serve(
        mut self,
        requests: &Receiver<Request>,
        answers: &Sender<Answer>,
    ) -> anyhow::Result<()> {
        let mut due = Instant::now();
        let mut pause = Duration::ZERO;
        loop {
            let wait = pause.min(due.saturating_duration_since(Instant::now()));
            match requests.recv_timeout(wait) {
                Ok(Request::Quit) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(request) => {
                    if let Some(answer) = self.request(request)
                        && answers.send(answer).is_err()
                    {
                        break;
                    }
                    due = Instant::now();
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            pause = self.step()?;
            for answer in self.aside.1.try_iter() {
                if answers.send(answer).is_err() {
                    return Ok(());
                }
            }
            // Who is slow to look gets fewer pictures, not old ones.
            if Instant::now() >= due && answers.is_empty() {
                let began = thread_time();
                let picture = self.picture();
                let took = if self.number > FIRST_PICTURES { thread_time() - began } else { Duration::ZERO };
                due = Instant::now() + pause_after(took);
                let listing = self.listing();
                let answer = Answer::Picture(Arc::new(picture));
                if [Some(answer), listing].into_iter().flatten().any(|answer| answers.send(answer).is_err()) {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Reads what is new, and says for how long nothing more is to be done.
    fn step(&mut self) -> anyhow::Result<Duration> {
        match &mut self.source {
            Source::Live(live) => {
                // Asked before the round: what a guest wrote before it died is seen by it.
                let is_gone = live.is_gone();
                let pause = match live.step(&mut self.model) {
                    // Memory that is its process's alone goes with it, also in the middle of a round.
                    Err(error) if !is_gone && !live.is_gone() => return Err(error),
                    Err(_) => Duration::ZERO,
                    Ok(pause) => pause,
                };
                if is_gone {
                    self.notes.extend(
                        live.finish(&mut self.model)
                            .err()
                            .map(|why| format!("what it did last can't be read: {why:#}")),
                    );
                    self.bury();
                } else {
                    let silence = self.pulse.look(self.model.life(), &live.entry);
                    self.fate = crashed(&self.model).unwrap_or(silence);
                }
                Ok(pause)
            }
            Source::Replay(replay) => {
                let pause = replay.step(&mut self.model)?;
                self.fate = if replay.is_at_end() {
                    Fate::EndOfRecording("the recording ends here".into())
                } else {
                    Fate::Runs
                };
                Ok(pause)
            }
            Source::Dead(dead) => {
                if let Some(ending) = dead.witness.look() {
                    self.fate = crashed(&self.model).unwrap_or(ending::fate(&ending, dead.pid));
                    self.source = Source::Still;
                }
                Ok(DEAD_PAUSE)
            }
            Source::Still => Ok(PICTURE_EVERY),
        }
    }

    /// All that its VMM has left has been read, and its memory is no more.
    fn bury(&mut self) {
        self.fate = crashed(&self.model).unwrap_or(Fate::VmmGone(None));
        let Source::Live(live) = std::mem::replace(&mut self.source, Source::Still) else { return };
        self.source = Source::Dead(Box::new(Dead { pid: live.entry.pid, witness: live.witness }));
        let mut subject = (*self.subject).clone();
        let gone = || "its VMM is gone, and its memory with it".to_owned();
        subject.can =
            Can { control: subject.can.control.and(Err(gone())), core: subject.can.core.and(Err(gone())) };
        self.subject = Arc::new(subject);
    }

    /// How the guest looks now.
    pub(super) fn picture(&mut self) -> Picture {
        self.number += 1;
        self.inside.iter_mut().for_each(|inside| inside.update(self.wanted.span));
        let (runs, speed, range) = match &self.source {
            Source::Live(_) => (true, 1.0, None),
            Source::Replay(replay) => (
                replay.speed() > 0.0 && !replay.is_at_end(),
                replay.speed(),
                Some(replay.range()).filter(|range| *range != (0.0, 0.0)),
            ),
            Source::Dead(_) | Source::Still => (false, 0.0, None),
        };
        let (switches, notes) = (self.switches(), self.notes());
        let around = Around {
            subject: Arc::clone(&self.subject),
            fate: self.fate.clone(),
            runs,
            speed,
            range,
            collector: self.cost.look(),
            switches,
            notes,
            inside: self.inside.as_ref().map(|inside| &inside.seen),
        };
        picture::picture(&mut self.model, self.wanted, around, self.number)
    }

    fn switches(&mut self) -> Arc<[Switch]> {
        let on = self
            .model
            .ledger
            .tables()
            .map_or(0, |tables| tables.vcpus.iter().fold(0, |on, vcpu| on | vcpu.classes));
        let classes = Class::ALL.into_iter().filter(|class| class.bit() & Class::RECORDED != 0);
        let classes = classes.map(|class| Switch {
            name: class.name().into(),
            is_class: true,
            on: on & class.bit() != 0,
        });
        let mut all: Vec<Switch> = classes.collect();
        let Self { sites, model, source, .. } = self;
        let seen = sites.as_mut().map(source::SiteStates::look);
        // Where memory is not seen: what the guest's image says, and what is asked for.
        let asked = match source {
            Source::Live(live) if seen.is_none() => Some(&live.wanted().events),
            _ => None,
        };
        // Several sites may share a name: one that is on is to be seen.
        let mut names: BTreeMap<&str, bool> = BTreeMap::new();
        for site in seen.unwrap_or(&model.events.sites).iter() {
            let is_asked_for = asked.is_some_and(|events| events.has(&site.name));
            *names.entry(&site.name).or_default() |= site.enabled || is_asked_for;
        }
        all.extend(names.into_iter().map(|(name, on)| Switch { name: name.into(), is_class: false, on }));
        all.into()
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = self.notes.clone();
        let restarts = self.model.ledger.restarts();
        if restarts > 0 {
            notes.push(format!(
                "the guest was restarted ({restarts}): what is shown begins with its last boot"
            ));
        }
        if self.subject.kind == Kind::Core
            && let Some(inside) = &self.inside
        {
            notes.extend(inside.seen.remarks.iter().cloned());
        }
        let inconsistent = self.model.ledger.total().inconsistent;
        if inconsistent > 0 {
            notes.push(format!(
                "guest inconsistent: counters and records contradict each other {inconsistent} times"
            ));
        }
        notes
    }
}

/// How long nothing is drawn after a picture that took so long.
pub(super) fn pause_after(picture: Duration) -> Duration {
    (picture * PICTURE_TIMES).clamp(PICTURE_EVERY, PICTURE_LATEST)
}

/// What a guest that has crashed said last.
fn crashed(model: &Model) -> Option<Fate> {
    let crash = model.seen.crash.as_ref()?;
    Some(Fate::Crashed(String::from_utf8_lossy(crash.message.bytes()).trim().to_owned()))
}
