//! `http`: a server of keys and values over HTTP/1.1, with handlers that misbehave in a known way: one sleeps, one waits for a lock, one leaks.
//! Some threads on each vCPU take what has come in on a connection, answer the requests in it, and hand the answer back to the network's thread.

mod client;
mod handler;
mod latency;
mod request;
mod response;
mod route;
mod server;
mod stats;
mod status;
mod store;

use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::num::NonZeroU64;

use self::server::Server;
use super::join_all;
use crate::command_line::Options;
use crate::console::print_line;
use crate::exit::{Exit, exit};
use crate::sched::Bell;
use crate::time::Deadline;
use crate::{net, sched};

/// A handler that waits keeps its thread.
const THREADS_PER_VCPU: u32 = 4;

/// Rung when as many requests are answered as there are to be.
static END: Bell = Bell::new();

/// Requests of its own client.
const OWN_REQUESTS: u64 = 10_000;

pub(super) fn run(options: &Options, vcpus: u32) {
    if options.own_client {
        net::start_with_cable(options.addresses);
    } else if !net::start(options.addresses) {
        print_line!(
            "http: the machine has no virtio network device; start it with one, as `uniprof run --publish 8080:80` does"
        );
        exit(Exit::Usage);
    }
    END.claim();
    let server = Arc::new(Server::new(options.requests.map_or(u64::MAX, NonZeroU64::get)));
    let mut threads = Vec::new();
    for vcpu in 0..vcpus {
        for number in 0..THREADS_PER_VCPU {
            let server = Arc::clone(&server);
            threads.push(sched::spawn(vcpu, format!("http-{vcpu}-{number}"), move || server.work()));
        }
    }
    if options.own_client {
        client::run(options.addresses, options.requests.map_or(OWN_REQUESTS, NonZeroU64::get));
    } else {
        print_line!("http: listening on {}, port {}", options.addresses, net::PORT);
        let end = Deadline::after(options.seconds);
        while !end.has_passed() && !server.is_done() {
            END.wait_until(end.tsc());
        }
    }
    net::finish();
    join_all(threads);
    server.stats().print_line();
}
