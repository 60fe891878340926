//! QMP, QEMU's JSON control protocol, over its unix socket: one command at a time, events kept aside.
//!
//! The protocol is asynchronous and the client is written so, on a current-thread tokio runtime that each client owns;
//! callers see blocking methods with time limits. See QEMU's `docs/interop/qmp-spec.txt`.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde_json::{Map, Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    runtime::Runtime,
};

/// One JSON document from QEMU may not be longer: `info mtree` of a large machine is about 100 KB.
const MAX_MESSAGE: usize = 8 << 20;
/// Events that nobody has asked for yet; older ones are dropped and counted.
const MAX_EVENTS: usize = 1024;

/// What QMP can answer instead of a result.
#[derive(Debug, thiserror::Error)]
pub enum QmpError {
    /// Nothing listens there, or it refuses us.
    #[error("no QEMU answers on {path}: {source}")]
    Connect {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// QEMU ended or closed the connection.
    #[error("QEMU closed its control socket while {during:?} was under way")]
    Closed {
        /// The command that was waiting.
        during: String,
    },
    /// No answer in time.
    #[error(
        "QEMU did not answer {during:?} within {limit:?}; it may be stopped or its control socket may be held by another program"
    )]
    Timeout {
        /// The command that was waiting.
        during: String,
        /// How long.
        limit: Duration,
    },
    /// QEMU knows the command and refuses.
    #[error("QEMU refused {command:?}: {class}: {description}")]
    Refused {
        /// The command.
        command: String,
        /// QEMU's error class, mostly `GenericError`.
        class: String,
        /// QEMU's own words.
        description: String,
    },
    /// What came is not QMP.
    #[error("what answers on {path} is not QMP: {what}")]
    Protocol {
        /// The socket.
        path: PathBuf,
        /// What was wrong.
        what: String,
    },
    /// The runtime could not be built.
    #[error("cannot start an event loop for QMP: {0}")]
    Runtime(std::io::Error),
}

/// Something that QEMU reports by itself, such as `SHUTDOWN`, `STOP`, `RESUME`, `GUEST_PANICKED`.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Its name.
    pub name: String,
    /// Its arguments.
    pub data: Value,
    /// QEMU's wall clock, in nanoseconds since 1970.
    pub at_ns: u64,
}

/// A vCPU's and the machine's state in QEMU's words: `running`, `paused`, `shutdown`, `prelaunch`, …
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Whether vCPUs run.
    pub running: bool,
    /// QEMU's run state.
    pub state: String,
}

/// A connection to one QEMU. QEMU serves one client per socket at a time, so drop it when done.
#[derive(Debug)]
pub struct Qmp {
    runtime: Runtime,
    connection: Connection,
    version: String,
}

#[derive(Debug)]
struct Connection {
    path: PathBuf,
    stream: UnixStream,
    /// Bytes read and not yet understood: kept here, so that a time limit can end a read at any byte.
    pending: Vec<u8>,
    events: VecDeque<Event>,
    dropped_events: u64,
    next_id: u64,
}

impl Qmp {
    /// Connects, reads the greeting and negotiates, all within `limit`.
    pub fn connect(path: &Path, limit: Duration) -> Result<Self, QmpError> {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(QmpError::Runtime)?;
        let (connection, version) = runtime.block_on(async {
            within(limit, "connect", async {
                let stream = UnixStream::connect(path)
                    .await
                    .map_err(|source| QmpError::Connect { path: path.into(), source })?;
                let mut connection = Connection {
                    path: path.into(),
                    stream,
                    pending: Vec::new(),
                    events: VecDeque::new(),
                    dropped_events: 0,
                    next_id: 1,
                };
                let version = connection.greeting().await?;
                connection.execute("qmp_capabilities", Value::Null).await?;
                Ok((connection, version))
            })
            .await
        })?;
        Ok(Self { runtime, connection, version })
    }

    /// QEMU's version, such as `7.2.22 (Debian 1:7.2+dfsg-7)`.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Runs one command and returns its result. `arguments` is an object, or null for none.
    pub fn execute(&mut self, command: &str, arguments: Value, limit: Duration) -> Result<Value, QmpError> {
        self.runtime.block_on(within(limit, command, self.connection.execute(command, arguments)))
    }

    /// Whether the guest runs.
    pub fn status(&mut self, limit: Duration) -> Result<Status, QmpError> {
        let answer = self.execute("query-status", Value::Null, limit)?;
        let running = answer.get("running").and_then(Value::as_bool);
        let state = answer.get("status").and_then(Value::as_str);
        match (running, state) {
            (Some(running), Some(state)) => Ok(Status { running, state: state.into() }),
            _ => Err(self.connection.protocol(format!("query-status said {answer}"))),
        }
    }

    /// Pauses the guest.
    pub fn stop(&mut self, limit: Duration) -> Result<(), QmpError> {
        self.execute("stop", Value::Null, limit).map(drop)
    }

    /// Lets the guest go on.
    pub fn cont(&mut self, limit: Duration) -> Result<(), QmpError> {
        self.execute("cont", Value::Null, limit).map(drop)
    }

    /// Ends QEMU. A connection that closes before the answer counts as done.
    pub fn quit(&mut self, limit: Duration) -> Result<(), QmpError> {
        match self.execute("quit", Value::Null, limit) {
            Ok(_) | Err(QmpError::Closed { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Runs a command of QEMU's human monitor, whose answer is text for people.
    pub fn human_monitor(&mut self, line: &str, limit: Duration) -> Result<String, QmpError> {
        let answer = self.execute("human-monitor-command", json!({ "command-line": line }), limit)?;
        match answer {
            Value::String(text) => Ok(text),
            other => Err(self.connection.protocol(format!("human-monitor-command said {other}"))),
        }
    }

    /// The next event, oldest first; `None` where none arrives in time.
    pub fn next_event(&mut self, limit: Duration) -> Result<Option<Event>, QmpError> {
        match self.runtime.block_on(within(limit, "events", self.connection.next_event())) {
            Ok(event) => Ok(Some(event)),
            Err(QmpError::Timeout { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// How many events were dropped because nobody asked for them.
    #[must_use]
    pub fn dropped_events(&self) -> u64 {
        self.connection.dropped_events
    }
}

async fn within<T>(
    limit: Duration,
    during: &str,
    work: impl Future<Output = Result<T, QmpError>>,
) -> Result<T, QmpError> {
    match tokio::time::timeout(limit, work).await {
        Ok(result) => result,
        Err(_) => Err(QmpError::Timeout { during: during.into(), limit }),
    }
}

impl Connection {
    fn protocol(&self, what: String) -> QmpError {
        QmpError::Protocol { path: self.path.clone(), what }
    }

    async fn greeting(&mut self) -> Result<String, QmpError> {
        let message = self.message("the greeting").await?;
        let Some(version) = message.pointer("/QMP/version") else {
            return Err(self.protocol(format!("it greeted with {message}")));
        };
        let part = |name| version.pointer(name).and_then(Value::as_u64).unwrap_or(0);
        let package = version.get("package").and_then(Value::as_str).unwrap_or("").trim();
        let number = format!("{}.{}.{}", part("/qemu/major"), part("/qemu/minor"), part("/qemu/micro"));
        Ok(if package.is_empty() { number } else { format!("{number} ({package})") })
    }

    async fn execute(&mut self, command: &str, arguments: Value) -> Result<Value, QmpError> {
        let id = self.next_id;
        self.next_id += 1;
        let mut request = json!({ "execute": command, "id": id });
        if !arguments.is_null() {
            request["arguments"] = arguments;
        }
        let mut bytes = request.to_string().into_bytes();
        bytes.push(b'\n');
        if self.stream.write_all(&bytes).await.is_err() {
            return Err(QmpError::Closed { during: command.into() });
        }
        loop {
            let mut message = self.message(command).await?;
            // An answer to an earlier command that ran out of time carries that command's id.
            if message.get("id") != Some(&json!(id)) {
                self.keep_event(&message);
            } else if let Some(error) = message.get("error") {
                let text = |key| error.get(key).and_then(Value::as_str).unwrap_or("unknown").to_owned();
                return Err(QmpError::Refused {
                    command: command.into(),
                    class: text("class"),
                    description: text("desc"),
                });
            } else if let Some(result) = message.get_mut("return") {
                return Ok(result.take());
            } else {
                return Err(self.protocol(format!("{command} was answered with {message}")));
            }
        }
    }

    async fn next_event(&mut self) -> Result<Event, QmpError> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(event);
            }
            let message = self.message("events").await?;
            self.keep_event(&message);
        }
    }

    fn keep_event(&mut self, message: &Value) {
        let Some(name) = message.get("event").and_then(Value::as_str) else { return };
        let part = |at| message.pointer(at).and_then(Value::as_u64).unwrap_or(0);
        let seconds = part("/timestamp/seconds").saturating_mul(1_000_000_000);
        if self.events.len() == MAX_EVENTS {
            self.events.pop_front();
            self.dropped_events += 1;
        }
        self.events.push_back(Event {
            name: name.into(),
            data: message.get("data").cloned().unwrap_or_else(|| Value::Object(Map::new())),
            at_ns: seconds.saturating_add(part("/timestamp/microseconds").saturating_mul(1000)),
        });
    }

    /// The next line of JSON. Cancel-safe: what has been read stays in `pending`.
    async fn message(&mut self, during: &str) -> Result<Value, QmpError> {
        let mut searched = 0;
        loop {
            if let Some(at) = self.pending[searched..].iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.pending.drain(..=searched + at).collect();
                searched = 0;
                if line.trim_ascii().is_empty() {
                    continue;
                }
                return serde_json::from_slice(&line).map_err(|error| {
                    let shown: String = String::from_utf8_lossy(&line).chars().take(80).collect();
                    self.protocol(format!("{error} in {shown:?}"))
                });
            }
            searched = self.pending.len();
            if searched > MAX_MESSAGE {
                return Err(self.protocol(format!("one message is longer than {MAX_MESSAGE} bytes")));
            }
            match self.stream.read_buf(&mut self.pending).await {
                Ok(n) if n > 0 => {}
                _ => return Err(QmpError::Closed { during: during.into() }),
            }
        }
    }
}

/// Connects to a socket that QEMU may not have opened yet, while `alive` says that it still may.
pub(crate) fn connect_when_ready(
    path: &Path,
    limit: Duration,
    mut alive: impl FnMut() -> bool,
) -> Result<Option<Qmp>, QmpError> {
    let until = Instant::now() + limit;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        match Qmp::connect(path, left.max(Duration::from_millis(1))) {
            Ok(qmp) => return Ok(Some(qmp)),
            // QEMU that refuses its command line closes the socket, so whether it lives says which it was.
            Err(QmpError::Connect { .. } | QmpError::Closed { .. }) if !left.is_zero() => {}
            Err(error) => return if alive() { Err(error) } else { Ok(None) },
        }
        if !alive() {
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[cfg(test)]
mod tests;
