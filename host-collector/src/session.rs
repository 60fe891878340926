//! Recording a guest, from its region to a finished file.
//!
//! ```text
//!   guest memory ──► drain thread ──► bounded channel ──► writer thread ──► recording
//!                                                              ▲
//!                                     console lines ───────────┘
//! ```
//!
//! When the writer is too slow the channel fills and the drain thread waits: the guest goes on, overwrites its oldest
//! records, and the account says how many. Nothing is dropped in between.

use std::{
    cell::Cell,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, never, select};
use serde_json::json;
use uniprof_wire::{record::Class, ring::Source};

use crate::{
    attach::{Attached, Observed},
    cancel::Cancel,
    console::Line,
    drain::{Begin, Drainer, Pace},
    ledger::Ledger,
    memory::{MemoryError, find_region},
    port::{Port, Troubles},
    qemu::GuestExit,
    recording::{Body, FileError, Message, RecordingFile},
};

/// Messages between the two threads: at most a few megabytes of blocks.
const CHANNEL: usize = 64;
/// How often the tables are copied.
const SNAPSHOT_EVERY: Duration = Duration::from_secs(1);
/// How often progress is told.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);
/// How often the guest and the token are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// How long a guest may take to close the account over its port.
const PORT_LIMIT: Duration = Duration::from_secs(3);
/// How long the console of a guest that has ended may take to be read to its end.
const CONSOLE_LIMIT: Duration = Duration::from_millis(500);

/// How to record.
#[derive(Default)]
pub struct RecordOptions {
    /// Whether to begin with what the guest has written before: yes for a guest that has just been started.
    pub from_boot: bool,
    /// Ends the recording.
    pub duration: Option<Duration>,
    /// Ends the recording, which is finished like any other.
    pub cancel: Cancel,
    /// Lines of the guest's console.
    pub console: Option<Receiver<Line>>,
    /// Whether the guest, if it is ours, may be paused at the end, so that the account is exact to the record.
    pub pause_at_end: bool,
}

/// Why a recording ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// The guest ended.
    GuestEnded,
    /// The time was over.
    Duration,
    /// The caller's token was set.
    Cancelled,
    /// The output failed.
    Output,
}

impl EndReason {
    /// A word for the file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::GuestEnded => "guest-ended",
            Self::Duration => "duration",
            Self::Cancelled => "cancelled",
            Self::Output => "output-failed",
        }
    }
}

/// How it goes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Progress {
    /// Since when.
    pub elapsed: Duration,
    /// Samples received.
    pub samples: u64,
    /// Samples per second, over the last moments.
    pub samples_per_second: f64,
    /// Records of all classes received.
    pub received: u64,
    /// Records of all classes lost so far, as far as is known yet.
    pub lost: u64,
    /// Bytes of the recording.
    pub bytes: u64,
}

/// What a recording came to.
#[derive(Debug)]
pub struct Summary {
    /// Why it ended.
    pub reason: EndReason,
    /// How the guest ended, if it has.
    pub exit: Option<GuestExit>,
    /// How long it took.
    pub elapsed: Duration,
    /// Bytes of the finished file.
    pub bytes: u64,
    /// What became of all records.
    pub ledger: Ledger,
    /// What was strange about the guest, in sentences.
    pub remarks: Vec<String>,
}

/// Why a recording failed.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The output.
    #[error(transparent)]
    File(#[from] FileError),
    /// The guest's memory.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// A thread could not be started, or panicked.
    #[error("the {0} thread failed; this is a bug in uniprof")]
    Thread(&'static str),
}

/// What is said of a guest whose memory only its process had.
const GONE: &str = "the guest's memory ended with its process: what it wrote in its last moments was not read, and is not in the account";

const GO: u8 = 0;
const FINISH_LIVE: u8 = 1;
const FINISH_STILL: u8 = 2;

/// What the threads share.
#[derive(Default)]
struct Shared {
    /// One of the three above.
    stop: AtomicU8,
    reason: Mutex<Option<(EndReason, Option<GuestExit>)>>,
    progress: Mutex<Progress>,
}

/// Records `guest` into `file` until it ends, the time is over, or the token is set.
pub fn record_session(
    guest: &mut Observed<'_>,
    attached: &Attached,
    file: RecordingFile,
    options: RecordOptions,
    mut progress: impl FnMut(&Progress),
) -> Result<Summary, SessionError> {
    let begin = if options.from_boot { Begin::Boot } else { Begin::Now };
    let source = match &attached.port {
        Some(port) => {
            port.record_areas();
            Reading::Port(port)
        }
        None => Reading::Memory(Box::new(Drainer::attach(attached.memory.clone(), attached.region, 0)?)),
    };
    let started = Instant::now();
    let shared = &Shared::default();
    let (to_writer, messages) = bounded(CHANNEL);
    let console = options.console.clone().unwrap_or_else(never);
    let (reason, drained, written) = thread::scope(|scope| {
        // Both ends of the channel move: a thread that ends, or never starts, ends the other one too.
        let drain = thread::Builder::new().name("drain".into()).spawn_scoped(scope, move || match source {
            Reading::Memory(drainer) => drain_loop(*drainer, begin, attached, &to_writer, shared),
            Reading::Port(port) => Ok(forward(port, &to_writer, shared)),
        });
        let write = thread::Builder::new()
            .name("writer".into())
            .spawn_scoped(scope, move || write_loop(file, &messages, &console, shared, started));
        let running = || {
            drain.as_ref().is_ok_and(|thread| !thread.is_finished())
                && write.as_ref().is_ok_and(|thread| !thread.is_finished())
        };
        let reason = watch(guest, &options, shared, started, running, attached.port.is_some(), &mut progress);
        (reason, join(drain, "drain"), join(write, "writer"))
    });
    // A full disk also ends the drain thread, so the writer's error is the cause.
    let (ledger, bytes) = written?;
    let mut remarks = drained?;
    let is_gone = remarks.iter().any(|remark| remark == GONE);
    remarks.extend(ledger.unsettled().filter(|_| !is_gone).map(|ring| {
        format!(
            "{ring} was being written to all the time: what it lost in its last moments is not in the account"
        )
    }));
    Ok(Summary { reason, exit: guest.exit(), elapsed: started.elapsed(), bytes, ledger, remarks })
}

fn join<T>(
    thread: std::io::Result<thread::ScopedJoinHandle<'_, Result<T, SessionError>>>,
    name: &'static str,
) -> Result<T, SessionError> {
    thread.map_err(|_| SessionError::Thread(name))?.join().unwrap_or(Err(SessionError::Thread(name)))
}

/// Watches the guest, the clock and the token, and says when it is over.
fn watch(
    guest: &mut Observed<'_>,
    options: &RecordOptions,
    shared: &Shared,
    started: Instant,
    running: impl Fn() -> bool,
    over_port: bool,
    progress: &mut impl FnMut(&Progress),
) -> EndReason {
    let mut told = Instant::now();
    let reason = loop {
        if guest.is_dead() {
            break EndReason::GuestEnded;
        }
        if options.cancel.is_cancelled() {
            break EndReason::Cancelled;
        }
        if options.duration.is_some_and(|duration| started.elapsed() >= duration) {
            break EndReason::Duration;
        }
        if !running() {
            break EndReason::Output;
        }
        if told.elapsed() >= PROGRESS_EVERY {
            told = Instant::now();
            progress(&shared.progress());
        }
        thread::sleep(LOOK_EVERY);
    };
    // Who reads a port needs a guest that runs: it counts for itself.
    let still = guest.is_dead() || (options.pause_at_end && !over_port && guest.pause());
    shared.end(reason, guest.exit(), still);
    reason
}

impl Shared {
    fn progress(&self) -> Progress {
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, reason: EndReason, exit: Option<GuestExit>, still: bool) {
        *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = Some((reason, exit));
        self.stop.store(if still { FINISH_STILL } else { FINISH_LIVE }, Ordering::Release);
    }

    fn reason(&self) -> (EndReason, Option<GuestExit>) {
        let reason = *self.reason.lock().unwrap_or_else(PoisonError::into_inner);
        reason.unwrap_or((EndReason::Output, None))
    }
}

/// What the first thread reads.
enum Reading<'a> {
    Memory(Box<Drainer>),
    Port(&'a Port),
}

/// Passes on what comes over the port, until it is told to finish and the guest has closed the account. Returns what was strange.
fn forward(port: &Port, to: &Sender<Message<'static>>, shared: &Shared) -> Vec<String> {
    let mut until = None;
    loop {
        match port.messages().recv_timeout(LOOK_EVERY) {
            Ok(message) => {
                if to.send(message).is_err() {
                    break;
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if until.is_none() && shared.stop.load(Ordering::Acquire) != GO {
            port.finish();
            until = Some(Instant::now() + PORT_LIMIT);
        }
        if until.is_some_and(|until| Instant::now() >= until) {
            break;
        }
    }
    let Troubles { garbage_bytes, asked_again, reconnected } = port.troubles();
    let told = [
        (garbage_bytes, "bytes on the serial port were no frames and were passed over"),
        (asked_again, "times a piece of a ring did not come over the serial port and was asked for again"),
        (reconnected, "times the serial port was connected anew"),
    ];
    let told = told.into_iter().filter(|(count, _)| *count > 0);
    told.map(|(count, what)| format!("{count} {what}")).collect()
}

/// Reads the guest's memory until it is told to finish, nobody takes what it reads, or the memory is gone. Returns what was strange.
fn drain_loop(
    drainer: Drainer,
    begin: Begin,
    attached: &Attached,
    to: &Sender<Message<'static>>,
    shared: &Shared,
) -> Result<Vec<String>, SessionError> {
    let mut remarks = Vec::new();
    match read_rings(drainer, begin, attached, to, shared, &mut remarks) {
        // What only the guest's process had is no failure to read.
        Err(SessionError::Memory(MemoryError::Ended)) => remarks.push(GONE.into()),
        other => other?,
    }
    Ok(remarks)
}

fn read_rings(
    mut drainer: Drainer,
    begin: Begin,
    attached: &Attached,
    to: &Sender<Message<'static>>,
    shared: &Shared,
    remarks: &mut Vec<String>,
) -> Result<(), SessionError> {
    let taken = Cell::new(true);
    let mut emit = |message: Message<'_>| taken.set(to.send(message.into_owned()).is_ok());
    let mut pace = Pace::default();
    let mut snapshot = Instant::now();
    drainer.begin(begin, &mut emit)?;
    if let Some((at, pair)) = attached.first_pair {
        emit(Message { at, session: drainer.session(), body: Body::Clock(pair) });
    }
    loop {
        let stop = shared.stop.load(Ordering::Acquire);
        if stop != GO {
            let source = if stop == FINISH_STILL { Source::Dead } else { Source::Live };
            drainer.finish(source, &mut emit)?;
            break;
        }
        let round = drainer.round(Source::Live, &mut emit);
        if round.rebooted {
            if let Some(next) = next_boot(&drainer, attached)? {
                remarks.extend(strange(&drainer));
                remarks.push("the guest set up its region anew: it was restarted".into());
                drainer = next;
                drainer.begin(Begin::Boot, &mut emit)?;
            }
        } else if snapshot.elapsed() >= SNAPSHOT_EVERY {
            snapshot = Instant::now();
            drainer.snapshot(&mut emit)?;
        }
        if !taken.get() {
            break;
        }
        drainer.pause(pace.after(&round), &mut emit);
    }
    remarks.extend(strange(&drainer));
    Ok(())
}

fn strange(drainer: &Drainer) -> Vec<String> {
    let told = |(ring, head)| {
        format!(
            "{ring} showed an impossible head ({head:#x}) and was not read any further: guest inconsistent"
        )
    };
    drainer.implausible().map(told).collect()
}

/// The region of the guest's next boot, once it is there.
fn next_boot(drainer: &Drainer, attached: &Attached) -> Result<Option<Drainer>, MemoryError> {
    match find_region(&attached.memory, Some(drainer.region().at))? {
        Ok(region) if region.header.boot_id != drainer.region().header.boot_id => {
            Drainer::attach(attached.memory.clone(), region, drainer.session() + 1).map(Some)
        }
        _ => Ok(None),
    }
}

/// Writes what it is given until nobody gives any more, then finishes the file.
fn write_loop(
    mut file: RecordingFile,
    messages: &Receiver<Message<'static>>,
    console: &Receiver<Line>,
    shared: &Shared,
    started: Instant,
) -> Result<(Ledger, u64), SessionError> {
    let mut ledger = Ledger::new();
    let mut meter = Meter { started, told: started, samples: 0 };
    let mut session = 0;
    let mut console = console.clone();
    let mut patience = CONSOLE_LIMIT;
    loop {
        select! {
            recv(messages) -> message => match message {
                Ok(message) => {
                    session = message.session;
                    ledger.feed(&message, |_, _| {});
                    file.write(&message)?;
                }
                Err(_) => break,
            },
            recv(console) -> line => match line {
                Ok(line) => file.write(&console_message(line, session))?,
                // The console has ended; the guest's memory has not.
                Err(_) => (console, patience) = (never(), Duration::ZERO),
            },
            default(SNAPSHOT_EVERY / 4) => {}
        }
        file.flush_if_due()?;
        meter.tell(&ledger, file.saved(), shared);
    }
    let (reason, exit) = shared.reason();
    if reason != EndReason::GuestEnded {
        patience = Duration::ZERO;
    }
    let until = Instant::now() + patience;
    while let Ok(line) = console.recv_deadline(until) {
        file.write(&console_message(line, session))?;
    }
    let end = end_message(reason, exit, &ledger, started.elapsed());
    file.write(&Message { at: crate::clock::HostTime::now(), session, body: Body::End(end.into()) })?;
    let bytes = file.finish()?;
    Ok((ledger, bytes))
}

fn console_message(line: Line, session: u32) -> Message<'static> {
    let body = Body::Console { continued: line.continued, bytes: line.bytes.into() };
    Message { at: line.at, session, body }
}

fn end_message(reason: EndReason, exit: Option<GuestExit>, ledger: &Ledger, elapsed: Duration) -> Vec<u8> {
    let total = ledger.total();
    let lost: serde_json::Map<_, _> =
        total.causes().into_iter().map(|(cause, count)| (cause.to_owned(), count.into())).collect();
    let end = json!({
        "reason": reason.name(),
        "exit": exit,
        "elapsed_ns": u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX),
        "samples": ledger.class(Class::Sample).received,
        "emitted": total.emitted(),
        "received": total.received,
        "lost_by": lost,
    });
    end.to_string().into_bytes()
}

/// Turns totals into rates, now and then.
struct Meter {
    started: Instant,
    told: Instant,
    samples: u64,
}

impl Meter {
    fn tell(&mut self, ledger: &Ledger, bytes: u64, shared: &Shared) {
        let since = self.told.elapsed();
        if since < PROGRESS_EVERY {
            return;
        }
        let samples = ledger.class(Class::Sample).received;
        let total = ledger.total();
        let progress = Progress {
            elapsed: self.started.elapsed(),
            samples,
            samples_per_second: samples.saturating_sub(self.samples) as f64 / since.as_secs_f64(),
            received: total.received,
            lost: total.lost(),
            bytes,
        };
        (self.samples, self.told) = (samples, Instant::now());
        *shared.progress.lock().unwrap_or_else(PoisonError::into_inner) = progress;
    }
}

#[cfg(test)]
mod tests;
