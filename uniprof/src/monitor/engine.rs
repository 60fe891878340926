//! What goes on while somebody looks: reads what is new, answers requests, makes pictures.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use uniprof_collector::cancel::Cancel;
use uniprof_collector::guests::GuestEntry;
use uniprof_collector::recording::SessionInfo;
use uniprof_tui::picture::{Can, Fate, Kind, Picture, Shown, Span, Subject, Switch};
use uniprof_tui::{Answer, Request};
use uniprof_wire::record::Class;

use super::cost::Cost;
use super::model::Model;
use super::picture::{self, Around, Wanted};
use super::pulse::Pulse;
use super::source::{self, Live, Replay};
use crate::config::Config;
use crate::input::Input;
use crate::options;
use crate::profile::{self, Head};
use crate::selection::Selection;

/// Samples per second and vCPU that are asked for where nobody says how many.
const RATE: u32 = 99;
/// Time between two pictures, at least; and how many times as long as making one took.
const PICTURE_EVERY: Duration = Duration::from_millis(300);
const PICTURE_TIMES: u32 = 12;
/// The longest time between two pictures of a guest that runs.
const PICTURE_LATEST: Duration = Duration::from_secs(2);

/// How to look.
pub(crate) struct Options {
    pub(crate) rate: Option<u32>,
    pub(crate) events: Option<Selection>,
    pub(crate) symbols: options::Symbols,
    pub(crate) cancel: Cancel,
}

/// Somebody looks at a guest.
pub(crate) struct Engine {
    model: Model,
    source: Source,
    subject: Arc<Subject>,
    wanted: Wanted,
    fate: Fate,
    pulse: Pulse,
    number: u64,
    cost: Cost,
    /// Which event sites are on, where memory tells.
    sites: Option<source::SiteStates>,
    notes: Vec<String>,
}

enum Source {
    Live(Box<Live>),
    Replay(Box<Replay>),
    /// It has ended, or was never more than a moment.
    Still,
}

impl Engine {
    /// Looks at what `input` means.
    pub(crate) fn open(input: &Input, options: &Options) -> anyhow::Result<Self> {
        match input {
            Input::Guest(name) => Self::of_guest(*profile::find_guest(name)?.entry()?, options),
            _ => Self::of_recording(&profile::recover(input)?, options),
        }
    }

    fn of_guest(entry: GuestEntry, options: &Options) -> anyhow::Result<Self> {
        let mut live = Live::attach(entry, options::BOOT_LIMIT.0, &options.cancel)?;
        let session = live.attached.session_info(&live.entry);
        let head = Head { session, ..Head::default() };
        let images = profile::find_images(&head, &options.symbols, &Config::load()?)?;
        let symbols = symbols(&images);
        let mut model = Model::new(head.session, images);
        live.begin(&mut model)?;
        let wanted = source::Wanted {
            rate: options.rate.unwrap_or(RATE),
            events: options.events.clone().unwrap_or_default(),
        };
        let asked = live.ask(wanted);
        let notes = asked.as_ref().err().map(|why| format!("{why}: it goes on recording what it did"));
        let core = match live.attached.port {
            Some(_) => Err("no memory is shared with the host, so there is nothing to take a core of".into()),
            None => Ok(()),
        };
        let session = &model.session;
        let subject = Subject {
            name: session.guest.clone(),
            kind: Kind::Live,
            pid: Some(live.entry.pid),
            kernel: live.entry.kernel.display().to_string(),
            build_id: session.build_id.clone(),
            transport: transport(&live).into(),
            accelerator: session.accelerator.as_ref().map(|accelerator| accelerator.name.to_uppercase()),
            symbols,
            memory_bytes: Some(session.memory_bytes).filter(|bytes| *bytes > 0),
            can: Can { control: asked, core },
        };
        let sites = source::SiteStates::of(&live.entry, live.attached.region.header.sites);
        let engine = Self::new(model, Source::Live(Box::new(live)), subject, notes.into_iter().collect());
        Ok(Self { sites, ..engine })
    }

    fn of_recording(input: &Input, options: &Options) -> anyhow::Result<Self> {
        let head = profile::head(input)?;
        let images = profile::find_images(&head, &options.symbols, &Config::load()?)?;
        let symbols = symbols(&images);
        let session: SessionInfo = head.session;
        let is_over = || "it is a recording: what was recorded can't be changed any more".to_owned();
        let subject = Subject {
            name: session.guest.clone(),
            kind: Kind::Recording,
            pid: None,
            kernel: session.kernel.clone(),
            build_id: session.build_id.clone(),
            transport: "file".into(),
            accelerator: session.accelerator.as_ref().map(|accelerator| accelerator.name.to_uppercase()),
            symbols,
            memory_bytes: Some(session.memory_bytes).filter(|bytes| *bytes > 0),
            can: Can { control: Err(is_over()), core: Err("a recording holds no memory".into()) },
        };
        let replay = Replay::open(input)?;
        Ok(Self::new(Model::new(session, images), Source::Replay(Box::new(replay)), subject, Vec::new()))
    }

    fn new(model: Model, source: Source, subject: Subject, notes: Vec<String>) -> Self {
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
            notes,
        }
    }

    /// Looks for a while, at a recording to its end.
    pub(crate) fn look(mut self, time: Duration, cancel: &Cancel) -> anyhow::Result<Picture> {
        if let Source::Replay(replay) = &mut self.source {
            replay.seek(None)?;
        }
        let began = Instant::now();
        loop {
            let pause = self.step()?;
            let is_done = match &self.source {
                Source::Live(_) => began.elapsed() >= time,
                Source::Replay(replay) => replay.is_at_end(),
                Source::Still => true,
            };
            if is_done || cancel.is_cancelled() {
                break;
            }
            std::thread::sleep(pause);
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
            // Who is slow to look gets fewer pictures, not old ones.
            if Instant::now() >= due && answers.is_empty() {
                let began = Instant::now();
                let picture = self.picture();
                due = Instant::now() + (began.elapsed() * PICTURE_TIMES).clamp(PICTURE_EVERY, PICTURE_LATEST);
                if answers.send(Answer::Picture(Arc::new(picture))).is_err() {
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
                let is_dead = live.is_dead();
                let pause = live.step(&mut self.model)?;
                if is_dead {
                    live.finish(&mut self.model)?;
                    self.fate = crashed(&self.model).unwrap_or(Fate::VmmGone(None));
                    self.source = Source::Still;
                } else {
                    let silence = self.pulse.look(self.model.seen.clock.life, &live.entry);
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
            Source::Still => Ok(PICTURE_EVERY),
        }
    }

    fn request(&mut self, request: Request) -> Option<Answer> {
        match request {
            Request::Span(span) => self.wanted.span = span,
            Request::Show(shown) => match self.show(shown) {
                Ok(()) => {}
                Err(error) => return Some(said(false, format!("{error:#}"))),
            },
            Request::Speed(speed) => {
                if let Source::Replay(replay) = &mut self.source {
                    replay.set_speed(speed);
                    // Who goes on at the end begins anew.
                    if speed > 0.0 && replay.is_at_end() {
                        let begin = replay.range().0;
                        return self
                            .show(Shown::At(begin))
                            .err()
                            .map(|error| said(false, format!("{error:#}")));
                    }
                }
            }
            Request::Filter(text) => self.model.events.set_filter(&text, &self.model.seen.guest),
            Request::Rate(rate) => return Some(self.ask(|wanted| Ok(source::Wanted { rate, ..wanted }))),
            Request::Record { what, on } => return Some(self.record(&what, on)),
            _ => return Some(said(false, "this is not there yet".into())),
        }
        None
    }

    /// Asks the guest for something else than before.
    fn ask(&mut self, change: impl FnOnce(source::Wanted) -> Result<source::Wanted, String>) -> Answer {
        if let Err(why) = &self.subject.can.control {
            return said(false, why.clone());
        }
        let Source::Live(live) = &mut self.source else {
            return said(false, "the guest has ended: nothing can be asked of it".into());
        };
        match change(live.wanted().clone()).and_then(|wanted| live.ask(wanted)) {
            Ok(()) => {
                self.sites.iter_mut().for_each(source::SiteStates::forget);
                let wanted = live.wanted();
                let events = [wanted.events.class_words(), wanted.events.patterns.clone()];
                let events: Vec<String> =
                    events.into_iter().filter(|words| !words.is_empty() && words != "none").collect();
                let events =
                    if events.is_empty() { String::new() } else { format!(" and {}", events.join(",")) };
                said(true, format!("asked for {} Hz{events}", wanted.rate))
            }
            Err(why) => said(false, why),
        }
    }

    /// Has a class or sites recorded, or no longer.
    fn record(&mut self, what: &str, on: bool) -> Answer {
        let sites = self.model.events.sites.clone();
        let answer = self.ask(|wanted| {
            let events = wanted.events.with(what, on)?;
            if on && !sites.is_empty() {
                events.check(&sites, "the guest")?;
            }
            Ok(source::Wanted { events, ..wanted })
        });
        let is_light =
            Class::ALL.into_iter().any(|class| class.name() == what && Class::LIGHT & class.bit() != 0);
        match answer {
            Answer::Said { done: true, .. } if !on && is_light => {
                said(true, format!("{what} is not asked for any more; a guest records it anyway"))
            }
            answer => answer,
        }
    }

    fn show(&mut self, shown: Shown) -> anyhow::Result<()> {
        let Source::Replay(replay) = &mut self.source else {
            self.wanted.shown = shown;
            return Ok(());
        };
        let at = match shown {
            Shown::Now => None,
            Shown::At(at) => Some(at),
        };
        if replay.seek(at)? {
            self.model.restart();
        }
        Ok(())
    }

    /// How the guest looks now.
    fn picture(&mut self) -> Picture {
        self.number += 1;
        let (runs, speed, range) = match &self.source {
            Source::Live(_) => (true, 1.0, None),
            Source::Replay(replay) => (
                replay.speed() > 0.0 && !replay.is_at_end(),
                replay.speed(),
                Some(replay.range()).filter(|range| *range != (0.0, 0.0)),
            ),
            Source::Still => (false, 0.0, None),
        };
        let around = Around {
            subject: Arc::clone(&self.subject),
            fate: self.fate.clone(),
            runs,
            speed,
            range,
            collector: self.cost.look(),
            switches: self.switches(),
            notes: self.notes(),
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
        let Self { sites, model, .. } = self;
        let known = sites.as_mut().map_or(&model.events.sites, |states| states.look());
        // Several sites may share a name: one that is on is to be seen.
        let mut names: BTreeMap<&str, bool> = BTreeMap::new();
        for site in known.iter() {
            *names.entry(&site.name).or_default() |= site.enabled;
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
        let inconsistent = self.model.ledger.total().inconsistent;
        if inconsistent > 0 {
            notes.push(format!(
                "guest inconsistent: counters and records contradict each other {inconsistent} times"
            ));
        }
        notes
    }
}

/// What a guest that has crashed said last.
fn crashed(model: &Model) -> Option<Fate> {
    let crash = model.seen.crash.as_ref()?;
    Some(Fate::Crashed(String::from_utf8_lossy(crash.message.bytes()).trim().to_owned()))
}

fn said(done: bool, text: String) -> Answer {
    Answer::Said { done, text }
}

/// How records come.
fn transport(live: &Live) -> &'static str {
    match (&live.attached.port, &live.entry.ram_in_process) {
        (Some(_), _) => "virtio-serial",
        (None, Some(_)) if live.entry.ram_file.is_none() => "process memory",
        _ => "shared memory",
    }
}

/// Which images name functions, or why none does.
fn symbols(images: &profile::images::Images) -> Result<String, String> {
    let names: Vec<&str> = images.symbolizers().map(|(name, _)| name).collect();
    if !names.is_empty() {
        return Ok(names.join(", "));
    }
    let looked = images
        .places()
        .iter()
        .filter_map(|looked| looked.result.as_ref().err().map(|why| format!("{}: {why}", looked.place)));
    let looked: Vec<String> = looked.collect();
    let places = if looked.is_empty() { String::new() } else { format!(" ({})", looked.join("; ")) };
    Err(format!("no image of the guest was found{places}; name it with --kernel ELF"))
}
