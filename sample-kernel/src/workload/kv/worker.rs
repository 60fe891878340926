//! A worker: serves one request after the other.

use alloc::string::String;
use alloc::sync::Arc;
use core::fmt::Write;

use super::client::Client;
use super::request::{Request, RequestError};
use super::store::Store;
use crate::console::print_line;
use crate::time::Deadline;
use crate::{arch, probes, sched};

/// Requests between two looks at the clock; one span each.
const BATCH: u64 = 64;

pub(super) struct Worker {
    vcpu: u32,
    store: Arc<Store>,
    client: Client,
    served: u64,
    misses: u64,
    answer: String,
}

impl Worker {
    pub(super) fn new(vcpu: u32, store: Arc<Store>) -> Self {
        Self { vcpu, store, client: Client::new(vcpu), served: 0, misses: 0, answer: String::new() }
    }

    /// Serves `requests`, or what it can until the end. The worker of vCPU 0 reports its own loop.
    #[inline(never)]
    pub(super) fn run(mut self, requests: u64, end: Deadline) {
        let start = arch::now();
        while self.served < requests && !end.has_passed() {
            self.serve_batch(BATCH.min(requests - self.served));
            // As a server does that has emptied its queue.
            sched::yield_now();
        }
        let ticks = arch::now() - start;
        if self.vcpu == 0 {
            print_line!("kv: requests={} tsc={ticks}", self.served);
        }
    }

    #[inline(never)]
    fn serve_batch(&mut self, requests: u64) {
        let _span = probes::span!("kv.batch", requests = requests);
        for _ in 0..requests {
            self.serve_next();
        }
        self.served += requests;
        probes::counter!("kv.served", self.served);
        probes::counter!("kv.misses", self.misses);
        probes::gauge!("kv.depth", self.store.depth());
    }

    #[inline(never)]
    fn serve_next(&mut self) {
        self.answer.clear();
        match Request::parse(self.client.next_request()) {
            Ok(request) => {
                if !execute(&self.store, &request, &mut self.answer) {
                    self.misses += 1;
                    // From where it is kept anyway: a length that had to survive the request for this would cost its saving while the
                    // event is off, too.
                    probes::event!("kv.miss", vcpu = self.vcpu, bytes = self.client.request_bytes());
                }
            }
            Err(error) => refuse(&error, &mut self.answer),
        }
        probes::histogram!("kv.answer_bytes", self.answer.len());
        self.client.take_answer(&self.answer);
    }
}

/// Runs a request against the store and writes the answer; false when the key is not there.
#[inline(never)]
fn execute(store: &Store, request: &Request<'_>, answer: &mut String) -> bool {
    let found = match *request {
        Request::Get { key } => store.get(key, |value| answer.push_str(value)),
        Request::Put { key, value } => {
            store.put(key, value);
            answer.push_str("stored");
            true
        }
        Request::Delete { key } => store.delete(key),
        Request::Scan { from, limit } => {
            store.scan(from, limit, |key, value| append_pair(answer, key, value));
            true
        }
    };
    answer.push('\n');
    found
}

#[inline(never)]
fn append_pair(answer: &mut String, key: &str, value: &str) {
    answer.push_str(key);
    answer.push('=');
    answer.push_str(value);
    answer.push('\n');
}

#[cold]
fn refuse(error: &RequestError, answer: &mut String) {
    // Writing to a string does not fail.
    let _ = write!(answer, "error: {error}");
}
