//! The bundled kernel as an HTTP server, and clients that do what they like.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::program::Running;
use crate::scene::Scene;

/// How long a slow machine may take for anything that a test waits for.
const PATIENCE: Duration = Duration::from_secs(60);

/// A guest that serves, behind a port of this host.
#[derive(Debug)]
pub struct WebServer {
    guest: Running,
    /// Where clients of this host connect.
    pub address: SocketAddr,
}

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebAnswer {
    /// Its status code.
    pub status: u16,
    /// Its body.
    pub body: Vec<u8>,
    /// The server closes the connection.
    pub last: bool,
}

impl WebServer {
    /// Starts one that is recorded, and waits until it serves. `words` go to `uniprof record`, those after `--` to the kernel.
    #[must_use]
    pub fn record(scene: &Scene, words: &[&str]) -> Self {
        let (own, kernel) =
            words.split_at(words.iter().position(|word| *word == "--").unwrap_or(words.len()));
        let line = [&["record", "--publish", "0:80"], own, &["--", "bundled", "workload=http"]].concat();
        let guest = scene.start(&[&line[..], kernel.get(1..).unwrap_or_default()].concat());
        let said = until_said(&guest, " leads to port 80");
        let server = Self { guest, address: published(&said) };
        // QEMU takes clients before the guest does, and forgets them.
        let until = Instant::now() + PATIENCE;
        while server.ask_within("/healthz", Duration::from_millis(500)).is_none() {
            assert!(Instant::now() < until, "{}", server.guest.so_far());
        }
        server
    }

    /// Starts one, and waits until it serves. `words` go to `uniprof run`, those after `--` to the kernel.
    #[must_use]
    pub fn start(scene: &Scene, words: &[&str]) -> Self {
        let (own, kernel) =
            words.split_at(words.iter().position(|word| *word == "--").unwrap_or(words.len()));
        let line = [&["run", "bundled", "--name", "web", "--publish", "0:80"], own, &["--", "workload=http"]]
            .concat();
        let guest = scene.start(&[&line[..], kernel.get(1..).unwrap_or_default()].concat());
        let said = until_said(&guest, "http: listening on");
        Self { guest, address: published(&said) }
    }

    /// A connection, with patience for each answer.
    #[must_use]
    pub fn connect(&self) -> TcpStream {
        connect(self.address).unwrap_or_else(|error| panic!("{error}\n{}", self.guest.so_far()))
    }

    /// Asks on a connection of its own; tries again for as long as the server is busy with others.
    #[must_use]
    pub fn get(&self, target: &str) -> WebAnswer {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(answer) = self.ask(target) {
                return answer;
            }
            assert!(Instant::now() < until, "{target}: {}", self.guest.so_far());
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Asks once. `None`: no connection, or no answer.
    #[must_use]
    pub fn ask(&self, target: &str) -> Option<WebAnswer> {
        self.ask_within(target, PATIENCE)
    }

    fn ask_within(&self, target: &str, patience: Duration) -> Option<WebAnswer> {
        let mut stream = connect(self.address).ok()?;
        stream.set_read_timeout(Some(patience)).ok()?;
        write!(stream, "GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").ok()?;
        read_answer(&mut stream, &mut Vec::new()).ok()
    }

    /// What it has counted.
    #[must_use]
    pub fn stats(&self) -> Value {
        let answer = self.get("/stats");
        assert_eq!(answer.status, 200);
        serde_json::from_slice(&answer.body).expect("the statistics are JSON")
    }

    /// Waits until the statistics are as wanted.
    pub fn until(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let until = Instant::now() + PATIENCE;
        let ask = |stream: &mut TcpStream, pending: &mut Vec<u8>| {
            stream.write_all(b"GET /stats HTTP/1.1\r\nHost: x\r\n\r\n")?;
            read_answer(stream, pending)
        };
        // One connection for all, because those that are over keep their place for a second; another where the server had no room for it.
        let (mut stream, mut pending) = (self.connect(), Vec::new());
        loop {
            let answer = match ask(&mut stream, &mut pending) {
                Ok(answer) => answer,
                Err(error) => {
                    assert!(Instant::now() < until, "{what}: {error}\n{}", self.guest.so_far());
                    thread::sleep(Duration::from_millis(100));
                    (stream, pending) = (self.connect(), Vec::new());
                    continue;
                }
            };
            let stats = serde_json::from_slice(&answer.body).expect("the statistics are JSON");
            if wanted(&stats) {
                return stats;
            }
            assert!(Instant::now() < until, "{what}: {stats}\n{}", self.guest.so_far());
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// The guest, with what it has said.
    #[must_use]
    pub fn guest(&self) -> &Running {
        &self.guest
    }

    /// Waits for its own end, and gives what was said.
    #[must_use]
    pub fn end(self) -> String {
        let ended = self.guest.wait(PATIENCE).ok();
        ended.stdout + &ended.stderr
    }

    /// Ends it, and requires that it had not ended by itself.
    pub fn stop(mut self) {
        assert!(!self.guest.has_ended(), "{}", self.guest.so_far());
        self.guest.signal(rustix::process::Signal::INT);
        self.guest.wait(PATIENCE).ok();
    }
}

/// What a server's statistics say of one route, `GET` of `/kv` for example; `None`: nobody asked for it.
#[must_use]
pub fn route<'a>(stats: &'a Value, method: &str, route: &str) -> Option<&'a Value> {
    let mut routes = stats["routes"].as_array().expect("routes").iter();
    routes.find(|row| row["method"] == method && row["route"] == route)
}

/// Waits until a guest has said that.
pub fn until_said(guest: &Running, text: &str) -> String {
    let until = Instant::now() + PATIENCE;
    loop {
        let said = guest.so_far();
        if said.contains(text) {
            return said;
        }
        assert!(Instant::now() < until, "`{text}` was not said: {said}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// The address that `uniprof` has said it publishes.
fn published(said: &str) -> SocketAddr {
    let before = said.split_once(" leads to port 80").and_then(|(before, _)| before.rsplit_once(' '));
    before.and_then(|(_, address)| address.parse().ok()).unwrap_or_else(|| panic!("{said}"))
}

fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Reads one answer; `pending` has what came behind it.
pub fn read_answer(stream: &mut TcpStream, pending: &mut Vec<u8>) -> std::io::Result<WebAnswer> {
    let mut fill = |pending: &mut Vec<u8>| {
        let mut piece = [0; 16 << 10];
        match stream.read(&mut piece)? {
            0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
            count => {
                pending.extend_from_slice(&piece[..count]);
                Ok::<_, std::io::Error>(())
            }
        }
    };
    let head = loop {
        if let Some(at) = pending.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        fill(pending)?;
    };
    let text = String::from_utf8_lossy(&pending[..head]).to_ascii_lowercase();
    let status = text.get(9..12).and_then(|code| code.parse().ok()).ok_or(std::io::ErrorKind::InvalidData)?;
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.map_or(0, |digits| digits.trim().parse().expect("a length"));
    let last = text.contains("\r\nconnection: close\r\n");
    pending.drain(..head);
    while pending.len() < length {
        fill(pending)?;
    }
    Ok(WebAnswer { status, body: pending.drain(..length).collect(), last })
}
