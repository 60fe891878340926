//! Clients of a guest's HTTP server, for as long as it is looked at.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Context as _;
use uniprof_load::{Load, LoadError, Plan, Tally, get};

/// Most requests in a second: a server with something to do, on a machine that has other things to do, too.
const RATE: f64 = 5_000.0;
/// Enough for the server to find the next request when it has answered one: it then has less to do with waking and waiting.
const CONNECTIONS: usize = 16;
/// How long a guest that boots may take to answer before it is asked again.
const PATIENCE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(20);

/// Clients that come once the server answers, and go when they are told. Dropping them ends them.
#[derive(Debug)]
pub(crate) struct Visitors {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<Tally, LoadError>>>,
}

impl Visitors {
    /// Has a server visited that may not be there yet.
    pub(crate) fn of(address: SocketAddr) -> anyhow::Result<Self> {
        let over = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&over);
        let thread = thread::Builder::new().name("visitors".into()).spawn(move || visit(address, &told));
        Ok(Self { over, thread: Some(thread.context("cannot start a thread")?) })
    }

    /// Sends them away: what they have done.
    pub(crate) fn leave(mut self) -> anyhow::Result<Tally> {
        self.over.store(true, Ordering::Relaxed);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(tally)) => Ok(tally?),
            _ => Ok(Tally::default()),
        }
    }
}

impl Drop for Visitors {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn visit(address: SocketAddr, over: &AtomicBool) -> Result<Tally, LoadError> {
    let is_over = || over.load(Ordering::Relaxed);
    while !is_over() && !get(address, "/healthz", PATIENCE).is_ok_and(|answer| answer.status == 200) {
        thread::sleep(PAUSE);
    }
    if is_over() {
        return Ok(Tally::default());
    }
    let plan = Plan { connections: CONNECTIONS, rate: Some(RATE), patience: PATIENCE, ..Plan::new(address) };
    let load = Load::start(plan)?;
    while !is_over() {
        thread::sleep(PAUSE);
    }
    Ok(load.stop())
}
