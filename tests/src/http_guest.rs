//! A guest that serves HTTP on a port of this machine.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use uniprof_load::get;

use crate::program::Running;
use crate::scene::Scene;

/// How long one answer may take on a machine that does other things.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a guest may take until it serves.
const START: Duration = Duration::from_secs(90);
const STOP: Duration = Duration::from_secs(30);

/// The program that runs it, and where it listens.
#[derive(Debug)]
pub struct HttpGuest {
    /// Where it listens, on this machine.
    pub address: SocketAddr,
    running: Running,
}

impl HttpGuest {
    /// Starts `uniprof FIRST… --publish PORT:80 REST…`, and waits until the guest answers.
    #[must_use]
    pub fn start(scene: &Scene, first: &[&str], rest: &[&str]) -> Self {
        let address = free_address();
        let publish = format!("{address}:80");
        let running = scene.start(&[first, &["--publish", &publish], rest].concat());
        let mut guest = Self { address, running };
        guest.wait_until_it_serves();
        guest
    }

    fn wait_until_it_serves(&mut self) {
        let until = Instant::now() + START;
        while !get(self.address, "/healthz", Duration::from_secs(2)).is_ok_and(|answer| answer.status == 200)
        {
            let ended = self.running.has_ended();
            assert!(!ended && Instant::now() < until, "it does not serve: {}", self.running.so_far());
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// The process id of `uniprof`.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.running.pid()
    }

    /// What the server itself says of what it did.
    #[must_use]
    pub fn stats(&self) -> Value {
        let answer = get(self.address, "/stats", PATIENCE).unwrap_or_else(|failure| {
            panic!("no statistics: {failure}\n{}", self.running.so_far());
        });
        serde_json::from_slice(&answer.body).expect("statistics in JSON")
    }

    /// What those statistics say of one route, `GET` of `/kv` for example; `None`: nobody asked for it.
    #[must_use]
    pub fn route<'a>(stats: &'a Value, method: &str, route: &str) -> Option<&'a Value> {
        let mut routes = stats["routes"].as_array().expect("routes").iter();
        routes.find(|row| row["method"] == method && row["route"] == route)
    }

    /// Ends it as Ctrl-C does.
    pub fn stop(self) {
        self.running.signal(rustix::process::Signal::INT);
        self.running.wait(STOP).ok();
    }

    /// Waits for its own end.
    pub fn wait(self, limit: Duration) {
        self.running.wait(limit).ok();
    }
}

/// An address that nobody listens at. Somebody else could take it meanwhile, and the guest would then say so.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("its address")
}
