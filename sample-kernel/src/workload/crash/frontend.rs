//! The thread that serves requests, each with the same calls, until one of them is fatal.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::ffi::c_void;
use core::hint::black_box;
use core::ptr;

use super::background;
use super::server::{self, Peer};
use crate::console::print_line;
use crate::{probes, sched};

const PAUSE_NS: u64 = 20_000_000;
/// Half a second of them go well.
const GOOD_REQUESTS: u64 = 25;
const LINES_EVERY: u64 = 5;

/// A request. Laid out as C would, because C passes it on.
#[repr(C)]
pub(super) struct Request {
    pub(super) id: u64,
    pub(super) session: u64,
    pub(super) attempt: u32,
    pub(super) peer: Peer,
    pub(super) path: String,
    pub(super) body: Vec<u8>,
}

/// What serves a request; the result only keeps calls from becoming jumps.
pub(super) type Handler = fn(&Request) -> u64;

/// What C hands to [`on_request`].
struct Context<'a> {
    request: &'a Request,
    handler: Handler,
}

#[repr(C)]
struct Listener {
    /// C's own: see `protocol.c`.
    opaque: [u8; 0],
}

unsafe extern "C" {
    static protocol_listener: Listener;
    /// Calls `handler` with `context`.
    fn protocol_dispatch(
        listener: *const Listener,
        handler: extern "C" fn(*const c_void) -> u64,
        context: *const c_void,
        id: u64,
    ) -> u64;
}

/// Serves good requests, then one with `fatal`; there is nothing after that.
pub(super) fn run(vcpus: u32, fatal: Handler) {
    background::start_busy(vcpus);
    let frontend = sched::spawn(super::unlucky_vcpu(vcpus), String::from("frontend"), move || {
        serve_connections(fatal);
    });
    frontend.join();
}

#[inline(never)]
fn serve_connections(fatal: Handler) {
    for id in 1..=GOOD_REQUESTS {
        serve_connection(id, reply);
        sched::sleep(PAUSE_NS);
    }
    serve_connection(GOOD_REQUESTS + 1, fatal);
    unreachable!("a fatal request was survived");
}

#[inline(never)]
fn serve_connection(id: u64, handler: Handler) -> u64 {
    let request = Request {
        id,
        session: 0x1000 + id,
        attempt: 1,
        peer: Peer { address: [10, 0, 2, id as u8], port: 40_000 + id as u16 },
        path: format!("/accounts/{}", id % 7),
        body: (0..24).map(|byte| byte ^ id as u8).collect(),
    };
    let _span = probes::span!("http.request", id = id);
    probes::event!("session.open", session = request.session, request = id);
    if id % LINES_EVERY == 1 {
        print_line!("frontend: request {id} from 10.0.2.{id} for {}", request.path);
    }
    server::count_request(id);
    let context = Context { request: &request, handler };
    // SAFETY: the listener is C's own static; the context lives until the call returns.
    let answer = unsafe {
        let context = ptr::from_ref(black_box(&context)).cast();
        protocol_dispatch(&raw const protocol_listener, on_request, context, id)
    };
    probes::event!("session.close", session = request.session, bytes = answer);
    answer
}

extern "C" fn on_request(context: *const c_void) -> u64 {
    // SAFETY: what `serve_connection` gave to C.
    let context = unsafe { &*context.cast::<Context<'_>>() };
    handle_request(context.request, context.handler)
}

#[inline(never)]
fn handle_request(request: &Request, handler: Handler) -> u64 {
    let budget = [request.id, request.session, 250];
    let answer = handler(black_box(request));
    black_box((&budget, request, handler));
    answer
}

/// Serves a good request.
#[inline(never)]
fn reply(request: &Request) -> u64 {
    request.body.iter().fold(request.id, |sum, &byte| black_box(sum.rotate_left(5) ^ u64::from(byte)))
}
