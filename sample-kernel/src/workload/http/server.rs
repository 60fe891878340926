//! The server: takes what has come in on a connection, answers the requests in it, hands the answer back.

use alloc::vec::Vec;

use super::END;
use super::handler::handle;
use super::request::{Parsed, Request, parse};
use super::response::Response;
use super::route::{Call, Route};
use super::stats::Stats;
use super::status::Status;
use super::store::Store;
use crate::net::{self, Answer, Work};
use crate::{arch, probes, sched, time};

/// With so much to send, the rest of the requests in a row has to wait until it is sent.
const OUTPUT_BYTES: usize = 32 << 10;

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

pub(super) struct Server {
    store: Store,
    stats: &'static Stats,
    /// Requests to be answered.
    most: u64,
}

/// Large, and so not made on anybody's stack.
static STATS: Stats = Stats::new();

impl Server {
    pub(super) fn new(most: u64) -> Self {
        Self { store: Store::new(), stats: &STATS, most }
    }

    /// Whether as many are answered as there are to be.
    pub(super) fn is_done(&self) -> bool {
        self.stats.requests() >= self.most
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    pub(super) fn stats(&self) -> &Stats {
        self.stats
    }

    /// Serves until there is nothing more to do, ever.
    #[inline(never)]
    pub(super) fn work(&self) {
        while let Some(work) = net::next_work() {
            net::answer(self.serve(work));
        }
    }

    /// Answers all requests that are whole.
    #[inline(never)]
    fn serve(&self, work: Work) -> Answer {
        let Work { connection: number, told, mut input, ended } = work;
        told.served_by(sched::current_id());
        let connection = told.id();
        let mut output = Vec::new();
        let mut done = 0;
        let mut close = false;
        let mut wanted = 0;
        while !close && output.len() < OUTPUT_BYTES {
            let rest = &input[done..];
            if rest.is_empty() {
                wanted = 1;
                break;
            }
            match parse(rest) {
                Parsed::Request(request) => {
                    close = !self.answer(connection, &request, &mut output);
                    done += request.bytes;
                }
                Parsed::Part { .. } if ended => close = true,
                Parsed::Part { wanted: bytes, expects_continue } => {
                    if expects_continue {
                        output.extend_from_slice(CONTINUE);
                    }
                    wanted = bytes;
                    break;
                }
                Parsed::Refused { status, method } => {
                    self.refuse(connection, method, status, &mut output);
                    close = true;
                }
            }
        }
        input.drain(..done);
        if input.is_empty() {
            input = Vec::new();
        }
        Answer { connection: number, rest: input, wanted, output, close }
    }

    /// Answers one request; whether another may follow.
    #[inline(never)]
    fn answer(&self, connection: u64, request: &Request<'_>, output: &mut Vec<u8>) -> bool {
        let call = Call::of(request.method, request.target);
        let route = call.as_ref().map_or(Route::None, Call::route);
        let before = output.len();
        let begin = arch::now();
        let span = probes::span!(
            "http.request",
            connection = connection,
            method: str = request.method,
            route: str = route.path(),
            bytes = request.bytes
        );
        let response = match call {
            Ok(call) => handle(self, call, request.body),
            Err(refusal) => Response { allow: refusal.allow, ..Response::of(refusal.status) },
        };
        response.write(output, request.method != "HEAD", request.keeps_alive);
        probes::event!(
            "http.response",
            connection = connection,
            status: u16 = response.status.code(),
            bytes = output.len() - before
        );
        drop(span);
        self.count(route, response.status, arch::now() - begin);
        request.keeps_alive
    }

    /// Says why a request that is none is not served.
    #[cold]
    #[inline(never)]
    fn refuse(&self, connection: u64, method: &str, status: Status, output: &mut Vec<u8>) {
        let begin = arch::now();
        let before = output.len();
        let span = probes::span!(
            "http.request",
            connection = connection,
            method: str = method,
            route: str = "",
            bytes = 0_u32
        );
        Response::of(status).write(output, method != "HEAD", false);
        probes::event!(
            "http.response",
            connection = connection,
            status: u16 = status.code(),
            bytes = output.len() - before
        );
        drop(span);
        self.count(Route::None, status, arch::now() - begin);
    }

    fn count(&self, route: Route, status: Status, ticks: u64) {
        if self.stats.add(route, status, ticks) == self.most {
            END.ring();
        }
        probes::histogram!("http.latency_ns", time::nanoseconds(ticks));
        probes::counter!("http.requests", self.stats.requests());
    }
}
