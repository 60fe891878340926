//! The loop: what comes in, what is drawn, what is asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, never, select, unbounded};
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};

use crate::error::TuiError;
use crate::options::Options;
use crate::picture::Picture;
use crate::state::State;
use crate::tables::{Prepared, Want, prepare};
use crate::talk::{Answer, Request};
use crate::terminal::{self, Screen};
use crate::update::{Effect, Input, update};
use crate::view::{self, Look};

/// Ten drawings a second are enough for eyes, and little for a machine.
const BETWEEN_DRAWINGS: Duration = Duration::from_millis(100);
/// What a key does is seen sooner than that: one waits for it.
const AFTER_A_KEY: Duration = Duration::from_millis(40);
/// How often the thread that waits for keys looks whether it is still wanted.
const KEY_WAIT: Duration = Duration::from_millis(50);

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The person wanted so.
    Quit,
    /// A signal, by its number.
    Signalled(i32),
}

/// Shows a guest until the person ends it, or a signal does. The terminal is given back as it was in any case.
///
/// # Errors
///
/// Where standard input or output is no terminal, or the terminal fails.
pub fn run(
    answers: Receiver<Answer>,
    requests: Sender<Request>,
    options: Options,
) -> Result<Outcome, TuiError> {
    let mut screen = Screen::take()?;
    let keys = Keys::start()?;
    let (signals, _signals) = signals()?;
    let worker = Worker::start()?;
    let mut session = Session {
        state: State::new(options.pane),
        look: Look::new(&options),
        answers,
        requests,
        draw_at: Some(Instant::now()),
        drawn: Instant::now(),
    };
    session.run(&mut screen, &keys.events, &signals, &worker)
}

struct Session {
    state: State,
    look: Look,
    answers: Receiver<Answer>,
    requests: Sender<Request>,
    /// When the screen is to be drawn anew, if it is.
    draw_at: Option<Instant>,
    drawn: Instant,
}

impl Session {
    fn run(
        &mut self,
        screen: &mut Screen,
        keys: &Receiver<std::io::Result<Event>>,
        signals: &Receiver<i32>,
        worker: &Worker,
    ) -> Result<Outcome, TuiError> {
        let mut busy = false;
        loop {
            if terminal::panicked() {
                return Ok(Outcome::Quit);
            }
            if !busy && let Some(job) = next_job(&mut self.state) {
                busy = worker.jobs.send(job).is_ok();
            }
            if self.draw_at.is_some_and(|at| at <= Instant::now()) {
                self.draw(screen)?;
            }
            let wait = self
                .draw_at
                .map_or(Duration::from_secs(1), |at| at.saturating_duration_since(Instant::now()));
            // A key goes before whatever else waits.
            let input = if let Ok(event) = keys.try_recv() {
                self.on_event(event)?
            } else {
                select! {
                    recv(keys) -> event => match event {
                        Ok(event) => self.on_event(event)?,
                        Err(_) => return Ok(Outcome::Quit),
                    },
                    recv(signals) -> signal => return Ok(Outcome::Signalled(signal.unwrap_or(SIGTERM))),
                    recv(worker.done) -> prepared => {
                        busy = false;
                        prepared.ok().map(Input::Prepared)
                    },
                    recv(self.answers) -> answer => Some(self.on_answer(answer.ok())),
                    default(wait) => None,
                }
            };
            let Some(input) = input else { continue };
            if let Some(outcome) = self.take(screen, input)? {
                return Ok(outcome);
            }
        }
    }

    fn draw(&mut self, screen: &mut Screen) -> Result<(), TuiError> {
        let (state, look) = (&self.state, self.look);
        let mut drawn = None;
        screen.draw(|buffer| drawn = Some(view::draw(state, look, buffer)))?;
        if let Some(drawn) = drawn {
            self.state.drawn(drawn);
        }
        self.drawn = Instant::now();
        self.draw_at = None;
        Ok(())
    }

    fn draw_after(&mut self, pause: Duration) {
        let at = (self.drawn + pause).max(Instant::now());
        self.draw_at = Some(self.draw_at.map_or(at, |planned| planned.min(at)));
    }

    /// `None` for what means nothing here, such as a mouse that is only moved.
    fn on_event(&mut self, event: std::io::Result<Event>) -> Result<Option<Input>, TuiError> {
        let input = match event.map_err(TuiError::terminal("read from"))? {
            Event::Key(key) if key.kind != KeyEventKind::Release => Input::Key(key),
            Event::Mouse(mouse)
                if !matches!(mouse.kind, event::MouseEventKind::Moved | event::MouseEventKind::Up(_)) =>
            {
                Input::Mouse(mouse)
            }
            Event::Paste(text) => Input::Paste(text),
            Event::Resize(..) => Input::Resize,
            _ => return Ok(None),
        };
        self.draw_after(AFTER_A_KEY);
        Ok(Some(input))
    }

    fn on_answer(&mut self, answer: Option<Answer>) -> Input {
        // A picture is drawn when its tables are ready.
        self.draw_after(BETWEEN_DRAWINGS);
        match answer {
            Some(answer) => Input::Answer(answer),
            None => {
                self.answers = never();
                Input::Unwatched
            }
        }
    }

    fn take(&mut self, screen: &mut Screen, input: Input) -> Result<Option<Outcome>, TuiError> {
        if matches!(input, Input::Prepared(_)) {
            self.draw_after(BETWEEN_DRAWINGS);
        }
        for effect in update(&mut self.state, input) {
            match effect {
                // Whoever has gone is told of in the banner.
                Effect::Ask(request) => drop(self.requests.send(request)),
                Effect::Quit => return Ok(Some(Outcome::Quit)),
                Effect::Suspend => {
                    screen.suspend()?;
                    self.draw_after(Duration::ZERO);
                }
            }
        }
        Ok(None)
    }
}

/// What the thread that adds up is to do.
type Job = (Arc<Picture>, Vec<Want>, Option<Arc<Prepared>>);

/// The newest picture that is to be shown, or the shown one if the pane needs what was not worked out of it.
fn next_job(state: &mut State) -> Option<Job> {
    let wants: Vec<Want> = state.want().into_iter().collect();
    let before = state.shown.clone();
    if let Some(next) = state.next.take() {
        return Some((next, wants, before));
    }
    state.is_working().then(|| before.clone().map(|shown| (Arc::clone(&shown.picture), wants, before)))?
}

/// A thread that works tables out of pictures, so that keys never wait for that.
struct Worker {
    jobs: Sender<Job>,
    done: Receiver<Arc<Prepared>>,
}

impl Worker {
    fn start() -> Result<Self, TuiError> {
        let (jobs, to_do) = bounded::<Job>(1);
        let (result, done) = bounded(1);
        let work = move || {
            for (picture, wants, before) in to_do {
                let prepared = prepare(picture, &wants, before.as_deref());
                if result.send(Arc::new(prepared)).is_err() {
                    return;
                }
            }
        };
        spawn("add up pictures", work)?;
        Ok(Self { jobs, done })
    }
}

/// A thread that waits for keys.
struct Keys {
    events: Receiver<std::io::Result<Event>>,
    wanted: Arc<AtomicBool>,
    /// Nothing comes from it; it is closed when the thread has ended.
    ended: Receiver<()>,
}

impl Keys {
    fn start() -> Result<Self, TuiError> {
        let (sender, events) = unbounded();
        let wanted = Arc::new(AtomicBool::new(true));
        let still = Arc::clone(&wanted);
        let (alive, ended) = bounded::<()>(0);
        let read = move || {
            let _alive = alive;
            while still.load(Ordering::Acquire) {
                let event = match event::poll(KEY_WAIT) {
                    Ok(false) => continue,
                    Ok(true) => event::read(),
                    Err(error) => Err(error),
                };
                let failed = event.is_err();
                if sender.send(event).is_err() || failed {
                    return;
                }
            }
        };
        spawn("read keys", read)?;
        Ok(Self { events, wanted, ended })
    }
}

impl Drop for Keys {
    /// What is typed afterwards is for whoever comes next. Of a terminal that was closed crossterm reads for ever: that thread ends with
    /// the process.
    fn drop(&mut self) {
        self.wanted.store(false, Ordering::Release);
        let _ = self.ended.recv_timeout(KEY_WAIT * 20);
    }
}

struct CloseSignals(Handle);

impl Drop for CloseSignals {
    fn drop(&mut self) {
        self.0.close();
    }
}

fn signals() -> Result<(Receiver<i32>, CloseSignals), TuiError> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])
        .map_err(|source| TuiError::Thread { what: "hear signals", source })?;
    let close = CloseSignals(signals.handle());
    let (sender, receiver) = unbounded();
    let hear = move || {
        for signal in signals.forever() {
            if sender.send(signal).is_err() {
                return;
            }
        }
    };
    spawn("hear signals", hear)?;
    Ok((receiver, close))
}

fn spawn(what: &'static str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, TuiError> {
    thread::Builder::new().name(what.into()).spawn(run).map_err(|source| TuiError::Thread { what, source })
}
