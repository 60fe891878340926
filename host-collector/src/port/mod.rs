//! Reading a guest over its serial port, where its memory can't be seen.
//!
//! ```text
//!   guest ── virtio-serial ── QEMU ── unix socket ──► port thread ──► channel ──► session
//!                                                     (conversation)
//! ```
//!
//! What comes out are the same [`Message`]s that [`crate::drain`] makes from shared memory. QEMU serves one client per socket, so everything that is
//! asked of the guest goes over the same line: [`Port::request`].
//!
//! The thread waits for nobody: while the channel is full it reads no more, QEMU then takes no more from the guest, and the guest overwrites its oldest
//! records, as it does for a slow reader of its memory. A line that breaks is connected anew, for as long as somebody wants it.

mod conversation;

use std::{
    collections::VecDeque,
    io::{ErrorKind, Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use uniprof_wire::{layout::LayoutError, stream::Begin, tables::ControlRequest};

use self::conversation::Conversation;
pub use self::conversation::Troubles;
use crate::{cancel::Cancel, clock::HostTime, memory::FoundRegion, recording::Message, tables::Tables};

/// Messages that may wait to be taken: some megabytes, because a recording looks at the kernel's symbols before it takes the first.
const CHANNEL: usize = 1024;
/// Bytes that are read at once.
const READ: usize = 256 << 10;
/// How long a request lives without renewal.
const LEASE_MS: u32 = 2000;
const LOOK_EVERY: Duration = Duration::from_millis(5);
const CONNECT_EVERY: Duration = Duration::from_millis(50);
/// How long a line that has broken may stay so while everybody only waits for the end.
const PATIENCE: Duration = Duration::from_millis(500);

/// A guest's serial port, read by a thread until it is dropped.
#[derive(Debug)]
pub struct Port {
    shared: Arc<Shared>,
    messages: Receiver<Message<'static>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    stop: Cancel,
    conversation: Mutex<Conversation>,
}

impl Shared {
    fn conversation(&self) -> MutexGuard<'_, Conversation> {
        self.conversation.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that a guest serves; withdrawn when dropped.
#[derive(Debug)]
pub struct PortRequest {
    shared: Arc<Shared>,
    owner: u64,
}

impl Drop for PortRequest {
    fn drop(&mut self) {
        self.shared.conversation().withdraw(self.owner);
    }
}

impl Port {
    /// Begins to read; the socket may come into being later.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn open(path: &Path, begin: Begin) -> std::io::Result<Self> {
        let now = HostTime::now();
        let seed = std::process::id().rotate_left(16) ^ now.realtime_ns as u32;
        let shared = Arc::new(Shared {
            path: path.into(),
            stop: Cancel::new(),
            conversation: Mutex::new(Conversation::new(begin, seed)),
        });
        let (sender, messages) = bounded(CHANNEL);
        let thread = {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new().name("port".into()).spawn(move || Pump::new(&shared, sender).run())?
        };
        Ok(Self { shared, messages, thread: Some(thread) })
    }

    /// The guest's region, once it has told of it, or why it can't be read.
    #[must_use]
    pub fn found(&self) -> Option<Result<(FoundRegion, Tables), LayoutError>> {
        self.shared.conversation().found()
    }

    /// What the guest sends, in order. It ends when the account has been closed, or the guest is gone.
    #[must_use]
    pub const fn messages(&self) -> &Receiver<Message<'static>> {
        &self.messages
    }

    /// Wants the account of each ring closed; then the messages end.
    pub fn finish(&self) {
        self.shared.conversation().finish();
    }

    /// Asks the guest for what `wanted` says; owner, renewals and lease are this function's to fill in.
    #[must_use]
    pub fn request(&self, wanted: ControlRequest) -> PortRequest {
        let owner = u64::from(std::process::id()) << 32 | u64::from(HostTime::now().realtime_ns as u32 | 1);
        let request = ControlRequest { owner, renewals: 1, lease_ms: LEASE_MS, ..wanted };
        self.shared.conversation().request(request);
        PortRequest { shared: Arc::clone(&self.shared), owner }
    }

    /// How the line behaved so far.
    #[must_use]
    pub fn troubles(&self) -> Troubles {
        self.shared.conversation().troubles
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.shared.stop.cancel();
        if let Some(thread) = self.thread.take() {
            // It reports nothing: what it had to say is in the channel.
            let _ = thread.join();
        }
    }
}

/// The thread.
struct Pump<'a> {
    shared: &'a Shared,
    /// `None`: everything has been handed over.
    to: Option<Sender<Message<'static>>>,
    line: Option<UnixStream>,
    tried: Instant,
    broken: Instant,
    waiting: VecDeque<Message<'static>>,
    bytes: Vec<u8>,
}

impl<'a> Pump<'a> {
    fn new(shared: &'a Shared, to: Sender<Message<'static>>) -> Self {
        let now = Instant::now();
        Self {
            shared,
            to: Some(to),
            line: None,
            tried: now.checked_sub(CONNECT_EVERY).unwrap_or(now),
            broken: now,
            waiting: VecDeque::new(),
            bytes: vec![0; READ],
        }
    }

    fn run(mut self) {
        while !self.shared.stop.is_cancelled() && !self.is_over() {
            self.connect();
            self.tick();
            self.write();
            if !self.hand_over() {
                return;
            }
            if !self.waiting.is_empty() {
                std::thread::sleep(LOOK_EVERY);
            } else if self.wait() {
                self.read();
            }
        }
        // The messages end here; what is asked of the guest is withdrawn when its owner lets go of it.
        self.to = None;
        while self.shared.stop.sleep(LOOK_EVERY) {
            self.write();
        }
        self.write();
    }

    fn is_over(&self) -> bool {
        let finished =
            self.shared.conversation().is_done(self.line.is_some(), self.broken.elapsed() >= PATIENCE);
        finished && self.waiting.is_empty()
    }

    fn connect(&mut self) {
        if self.line.is_some() || self.tried.elapsed() < CONNECT_EVERY {
            return;
        }
        self.tried = Instant::now();
        let line = UnixStream::connect(&self.shared.path);
        if let Ok(line) = line.and_then(|line| line.set_nonblocking(true).map(|()| line)) {
            self.line = Some(line);
            self.shared.conversation().connected(HostTime::now());
        }
    }

    fn tick(&mut self) {
        if self.line.is_some() {
            let listens = self.waiting.is_empty();
            self.shared.conversation().tick(HostTime::now(), listens);
        }
    }

    fn write(&mut self) {
        let Some(line) = &mut self.line else { return };
        let mut conversation = self.shared.conversation();
        let out = conversation.out();
        while !out.is_empty() {
            match line.write(out) {
                Ok(0) => break,
                Ok(written) => drop(out.drain(..written)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // A line that is broken shows when it is read.
                Err(_) => break,
            }
        }
    }

    /// Waits a moment for something to read.
    fn wait(&self) -> bool {
        let Some(line) = &self.line else {
            std::thread::sleep(LOOK_EVERY);
            return false;
        };
        let look = Timespec { tv_sec: 0, tv_nsec: LOOK_EVERY.as_nanos() as _ };
        poll(&mut [PollFd::new(line, PollFlags::IN)], Some(&look)).is_ok_and(|ready| ready > 0)
    }

    fn read(&mut self) {
        let Some(line) = &mut self.line else { return };
        match line.read(&mut self.bytes) {
            Ok(count) if count > 0 => {
                let waiting = &mut self.waiting;
                let mut emit = |message| waiting.push_back(message);
                self.shared.conversation().hear(&self.bytes[..count], HostTime::now(), &mut emit);
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            _ => (self.line, self.broken) = (None, Instant::now()),
        }
    }

    /// Hands messages to whoever takes them; false when nobody does any more.
    fn hand_over(&mut self) -> bool {
        while let Some(message) = self.waiting.pop_front() {
            let Some(to) = &self.to else { return false };
            match to.try_send(message) {
                Ok(()) => {}
                Err(TrySendError::Full(message)) => {
                    self.waiting.push_front(message);
                    return true;
                }
                Err(TrySendError::Disconnected(_)) => return false,
            }
        }
        true
    }
}

#[cfg(test)]
mod tests;
