//! A load under way: a thread for each connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::connection::Connection;
use crate::{ConnectionTally, Failure, Plan, Tally};

/// Before a server that failed is asked again.
const PAUSE: Duration = Duration::from_millis(20);
/// From one request of a connection to the next, however low the rate.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);
/// Failures in a row after which a connection gives up.
const MOST_FAILURES: u32 = 50;

/// Why a load can't be started.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A thread for a connection.
    #[error("cannot start a thread for a connection: {0}; ask for fewer connections")]
    Thread(#[source] std::io::Error),
}

#[derive(Debug)]
struct Shared {
    plan: Plan,
    stop: AtomicBool,
    answered: AtomicU64,
    /// Requests that may still be made.
    left: AtomicI64,
}

/// A load under way. Dropping it ends it.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    began: Instant,
    workers: Vec<JoinHandle<Tally>>,
}

impl Load {
    /// Starts it; connections are opened by its threads.
    ///
    /// # Errors
    /// [`LoadError::Thread`].
    pub fn start(plan: Plan) -> Result<Self, LoadError> {
        let left = plan.requests.map_or(i64::MAX, |requests| i64::try_from(requests).unwrap_or(i64::MAX));
        let connections = plan.connections;
        let shared = Arc::new(Shared {
            plan,
            stop: AtomicBool::new(false),
            answered: AtomicU64::new(0),
            left: AtomicI64::new(left),
        });
        let mut load = Self { shared, began: Instant::now(), workers: Vec::with_capacity(connections) };
        for index in 0..connections {
            let shared = Arc::clone(&load.shared);
            let worker = thread::Builder::new().name(format!("load-{index}")).stack_size(128 << 10);
            let worker = worker.spawn(move || Worker::new(&shared, index as u64).run());
            load.workers.push(worker.map_err(LoadError::Thread)?);
        }
        Ok(load)
    }

    /// Requests that have been answered so far.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.shared.answered.load(Ordering::Relaxed)
    }

    /// Ends it after the requests that are under way.
    #[must_use]
    pub fn stop(self) -> Tally {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.wait()
    }

    /// Waits until it has made all its requests, or given up on a server that fails.
    #[must_use]
    pub fn wait(mut self) -> Tally {
        let mut sum = Tally::default();
        for worker in self.workers.drain(..) {
            sum.add(worker.join().expect("a thread of the load does not panic"));
        }
        sum.elapsed = self.began.elapsed();
        sum
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
    }
}

/// What one thread has.
struct Worker<'a> {
    shared: &'a Shared,
    random: Rng,
    tally: Tally,
    /// When its next request is due.
    due: Instant,
}

impl<'a> Worker<'a> {
    fn new(shared: &'a Shared, index: u64) -> Self {
        let random = Rng::with_seed(shared.plan.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ index);
        Self { shared, random, tally: Tally::default(), due: Instant::now() }
    }

    fn run(mut self) -> Tally {
        let mut in_a_row = 0;
        while in_a_row < MOST_FAILURES && self.goes_on() {
            match self.one_connection() {
                Ok(()) => in_a_row = 0,
                Err(failure) => {
                    in_a_row += 1;
                    self.tally.fail(failure);
                    thread::sleep(PAUSE);
                }
            }
        }
        self.tally
    }

    fn goes_on(&self) -> bool {
        !self.shared.stop.load(Ordering::Relaxed) && self.shared.left.load(Ordering::Relaxed) > 0
    }

    /// Opens a connection, and asks on it until it is closed.
    fn one_connection(&mut self) -> Result<(), Failure> {
        let mut connection = Connection::open(self.shared.plan.address, self.shared.plan.patience)?;
        let local = connection.local();
        let mut answered = 0;
        let ended = self.ask(&mut connection, &mut answered);
        let (bytes_sent, bytes_received) = (connection.bytes_sent, connection.bytes_received);
        self.tally.connections.push(ConnectionTally { local, answered, bytes_sent, bytes_received });
        ended
    }

    fn ask(&mut self, connection: &mut Connection, answered: &mut u64) -> Result<(), Failure> {
        let most = self.shared.plan.requests_per_connection.unwrap_or(u64::MAX);
        while *answered < most && self.goes_on() && self.pace() {
            if self.shared.left.fetch_sub(1, Ordering::Relaxed) <= 0 {
                break;
            }
            let kind = self.shared.plan.mix.choose(&mut self.random);
            let request = kind.request(&mut self.random);
            let asked = Instant::now();
            let answer = connection.exchange(&request)?;
            self.tally.count(kind, answer.status, asked.elapsed());
            *answered += 1;
            self.shared.answered.fetch_add(1, Ordering::Relaxed);
            if answer.last {
                break;
            }
        }
        Ok(())
    }

    /// Waits until this thread's next request is due; whether it still shall be made. A server that fell behind is not
    /// made to catch up.
    fn pace(&mut self) -> bool {
        let Some(rate) = self.shared.plan.rate else { return true };
        let each = self.shared.plan.connections.max(1) as f64 / rate.max(f64::MIN_POSITIVE);
        while let Some(wait) = self.due.checked_duration_since(Instant::now()).filter(|wait| !wait.is_zero())
        {
            if self.shared.stop.load(Ordering::Relaxed) {
                return false;
            }
            thread::sleep(wait.min(PAUSE));
        }
        let each = Duration::try_from_secs_f64(each).unwrap_or(LONGEST_PAUSE).min(LONGEST_PAUSE);
        self.due = self.due.max(Instant::now()) + each;
        true
    }
}
