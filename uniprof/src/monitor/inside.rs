//! What a guest's memory tells besides its rings: what every thread that does not run waits for and where, the heap by stack, code. Looked at
//! in a thread of its own, because that takes longer than a picture may.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use uniprof_postmortem::disassembly::{self, Listing};
use uniprof_postmortem::stacks::{self, Owner};
use uniprof_postmortem::verdict::Verdict;
use uniprof_postmortem::{Region, Subject, heap, locks, verdict};
use uniprof_tui::picture::{Fate, HeapSite, Span};
use uniprof_wire::address::GuestVirtual;

use super::growth::Growth;
use super::heap_sites as sites;

/// How often is looked, and how many times as long as a look took is waited at least.
const EVERY: Duration = Duration::from_secs(1);
const TIMES: u32 = 30;
/// Stacks of the heap that are told apart.
pub(super) const MOST_SITES: usize = 200;
/// Instructions before and after one: more than a function has.
const ALL: (usize, usize) = (4096, 4096);

/// What was seen in memory at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// By thread.
    pub(super) threads: BTreeMap<u32, Doing>,
    pub(super) sites: Vec<HeapSite>,
    /// What killed it, or what it is at, in a sentence.
    pub(super) fate: Option<Fate>,
    /// The thread that it crashed on.
    pub(super) culprit: Option<u32>,
    pub(super) remarks: Vec<String>,
}

/// What a thread is at.
#[derive(Clone, Debug, Default)]
pub(super) struct Doing {
    pub(super) waits_for: Option<(String, Option<u32>)>,
    pub(super) function: Option<String>,
    pub(super) stack: Arc<[String]>,
}

/// The code of a function.
pub(super) struct Code {
    pub(super) function: String,
    pub(super) listing: Result<Listing, String>,
}

enum Ask {
    Code { function: String, at: Option<u64> },
}

enum Told {
    Seen(Seen, Instant),
    Code(Code),
}

/// Somebody who looks inside.
pub(super) struct Inside {
    asks: Sender<Ask>,
    told: Receiver<Told>,
    pub(super) seen: Seen,
    growth: Growth,
    codes: Vec<Code>,
}

impl Inside {
    /// Begins to look; `open` may take long.
    pub(super) fn start(
        open: impl FnOnce() -> anyhow::Result<Subject> + Send + 'static,
        goes_on: bool,
    ) -> std::io::Result<Self> {
        let (asks, asked) = unbounded();
        let (tell, told) = unbounded();
        let run = move || {
            // Why it can't be opened is told by whoever needs it more.
            if let Ok(subject) = open() {
                look(subject, goes_on, &asked, &tell);
            }
        };
        std::thread::Builder::new().name("inside".into()).spawn(run)?;
        Ok(Self { asks, told, seen: Seen::default(), growth: Growth::default(), codes: Vec::new() })
    }

    /// Takes in what was seen, as far as anything was. `span`: over which growth is told.
    pub(super) fn update(&mut self, span: Span) {
        while let Ok(told) = self.told.try_recv() {
            self.take(told);
        }
        self.growth.tell(span, &mut self.seen.sites);
    }

    fn take(&mut self, told: Told) {
        match told {
            Told::Seen(seen, at) => {
                self.growth.take(at, &seen.sites);
                self.seen = seen;
            }
            Told::Code(code) => self.codes.push(code),
        }
    }

    /// Waits for the first look.
    pub(super) fn wait(&mut self, limit: Duration) {
        if let Ok(told) = self.told.recv_timeout(limit) {
            self.take(told);
        }
    }

    /// Wants the code of a function; `at`: an address in it.
    pub(super) fn ask(&self, function: String, at: Option<u64>) -> bool {
        self.asks.send(Ask::Code { function, at }).is_ok()
    }

    /// Code that was wanted.
    pub(super) fn take_code(&mut self) -> Option<Code> {
        self.codes.pop()
    }
}

fn look(mut subject: Subject, goes_on: bool, asked: &Receiver<Ask>, tell: &Sender<Told>) {
    let mut due = Instant::now();
    loop {
        if Instant::now() >= due {
            let began = Instant::now();
            if goes_on {
                refresh(&mut subject);
            }
            let seen = see(&mut subject, goes_on);
            if tell.send(Told::Seen(seen, Instant::now())).is_err() {
                return;
            }
            due = if goes_on {
                Instant::now() + EVERY.max(began.elapsed() * TIMES)
            } else {
                // Once is enough.
                Instant::now() + Duration::from_secs(1 << 30)
            };
        }
        match asked.recv_timeout(due.saturating_duration_since(Instant::now())) {
            Ok(Ask::Code { function, at }) => {
                let code = code(&mut subject, function, at);
                if tell.send(Told::Code(code)).is_err() {
                    return;
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// The tables as they are now.
fn refresh(subject: &mut Subject) {
    let at = subject.region.as_ref().ok().map(|region| region.found.at);
    if let Ok(region) = Region::find(&*subject.memory, at) {
        subject.region = Ok(region);
    }
}

fn see(subject: &mut Subject, goes_on: bool) -> Seen {
    if subject.region.is_err() && subject.cpus.is_empty() {
        return Seen::default();
    }
    let stacks = stacks::of(subject);
    let locks = locks::of(subject, &stacks);
    let threads = stacks.iter().filter_map(|stack| {
        let Owner::Thread(id) = stack.owner else { return None };
        let wait = locks.waits.iter().find(|wait| wait.thread == id);
        let frame = verdict::doing(&stack.frames);
        let doing = Doing {
            waits_for: wait.map(|wait| (wait.what(), wait.holder)),
            function: frame.and_then(|frame| frame.function.as_deref()).map(str::to_owned),
            stack: stack.frames.iter().map(|frame| frame.name().to_owned()).collect(),
        };
        Some((id, doing))
    });
    let threads = threads.collect();
    let verdict = (!goes_on).then(|| verdict::of(subject, &stacks, &locks).verdict);
    let culprit = verdict.as_ref().and_then(|verdict| verdict.thread_id);
    let fate = verdict.map(fate);
    let how = heap::Options { most_sites: MOST_SITES, leaks: false, ..heap::Options::default() };
    let heap = heap::census(subject, &how);
    let sites = heap.map(|heap| sites::of(heap.sites.iter().map(site))).unwrap_or_default();
    Seen { threads, sites, fate, culprit, remarks: subject.remarks.clone() }
}

/// What became of a guest that is dead.
fn fate(verdict: Verdict) -> Fate {
    use verdict::Kind;
    match verdict.kind {
        Kind::Deadlock | Kind::Spin | Kind::LostTimer | Kind::LostWakeup | Kind::Hang => {
            Fate::Wedged(verdict.reason)
        }
        Kind::Exit | Kind::CleanHalt => Fate::Exited(None),
        Kind::Healthy | Kind::Unknown => Fate::Paused,
        _ => Fate::Crashed(verdict.reason),
    }
}

fn site(site: &heap::Site) -> HeapSite {
    let stack = site.frames.iter().map(|frame| frame.name().to_owned()).collect();
    sites::site(stack, site.estimated_blocks, site.estimated_bytes, 0.0)
}

fn code(subject: &mut Subject, function: String, at: Option<u64>) -> Code {
    let around = at.map(|at| disassembly::around(subject, GuestVirtual(at), None, ALL));
    let listing = match around {
        Some(Ok(listing)) => Ok(listing),
        _ => disassembly::function(subject, &function).map_err(|error| error.to_string()),
    };
    Code { function, listing }
}
