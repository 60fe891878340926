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

mod areas;
mod beside;
mod conversation;
mod holder;
mod hub;

use std::{
    collections::VecDeque,
    io::{ErrorKind, Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use uniprof_wire::{
    layout::LayoutError,
    stream::{Area, Begin, Frame},
    tables::ControlRequest,
};

pub use self::beside::Beside;
pub use self::conversation::Troubles;
pub use self::holder::Holder;
use self::{conversation::Conversation, holder::Lock, hub::Hub};
use crate::{
    cancel::Cancel,
    clock::HostTime,
    control::{LEASE, signed},
    memory::FoundRegion,
    recording::Message,
    tables::Tables,
};

/// Messages that may wait to be taken: some megabytes, because a recording looks at the kernel's symbols before it takes the first.
const CHANNEL: usize = 1024;
/// Bytes that are read at once.
const READ: usize = 256 << 10;
/// Between two looks for an answer, and after how long it is asked for again: the guest answers within a hundredth of a second.
const SOON: Duration = Duration::from_millis(1);
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// How long the last withdrawal is waited for.
const FAREWELL: Duration = Duration::from_millis(300);
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
    discards: AtomicBool,
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
            discards: AtomicBool::new(false),
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

    /// Asks the guest for what `wanted` says; owner, renewals, lease and time are this function's to fill in.
    #[must_use]
    pub fn request(&self, wanted: ControlRequest) -> PortRequest {
        let request = signed(wanted, LEASE);
        self.shared.conversation().request(request);
        PortRequest { shared: Arc::clone(&self.shared), owner: request.owner }
    }

    /// Asks for what nobody renews, for `lease`.
    pub fn leave(&self, wanted: ControlRequest, lease: Duration) {
        self.shared.conversation().leave(signed(wanted, lease));
    }

    /// Nobody takes the messages: it is only asked and told.
    pub fn discard_messages(&self) {
        self.shared.discards.store(true, Ordering::Relaxed);
    }

    /// The heap and the histograms shall be among the messages.
    pub fn record_areas(&self) {
        self.shared.conversation().record_areas();
    }

    /// Header page, control page and tables, as they came last.
    #[must_use]
    pub fn latest(&self) -> Option<Arc<[u8]>> {
        self.shared.conversation().seen(0)
    }

    /// The same as they are after all that was asked for so far; `None`: the guest has not answered within `limit`, or the token is set.
    #[must_use]
    pub fn look(&self, limit: Duration, cancel: &Cancel) -> Option<Arc<[u8]>> {
        let until = Instant::now() + limit;
        let first = self.shared.conversation().look(HostTime::now());
        let mut asked = Instant::now();
        while Instant::now() < until {
            if let Some(seen) = self.shared.conversation().seen(first) {
                return Some(seen);
            }
            if asked.elapsed() >= ASK_AGAIN {
                asked = Instant::now();
                self.shared.conversation().look(HostTime::now());
            }
            if !cancel.sleep(SOON) {
                return None;
            }
        }
        None
    }

    /// The bytes of an area as it is now; `None` as for [`Port::look`].
    #[must_use]
    pub fn area(&self, area: Area, limit: Duration, cancel: &Cancel) -> Option<Vec<u8>> {
        let until = Instant::now() + limit;
        self.shared.conversation().want(area);
        while Instant::now() < until {
            if let Some(words) = self.shared.conversation().area(area) {
                return Some(words.iter().flat_map(|word| word.to_le_bytes()).collect());
            }
            if !cancel.sleep(SOON) {
                return None;
            }
        }
        None
    }

    /// Another process that has the port, and passes on what is said over it, or should.
    #[must_use]
    pub fn holder(&self) -> Option<Holder> {
        Lock::holder(&self.shared.path).filter(|holder| holder.pid != std::process::id())
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
    /// The line is that of another collector, which has the port.
    is_passed_on: bool,
    /// Others who want something of the guest; they leave before the lock is let go of.
    hub: Option<Hub>,
    lock: Option<Lock>,
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
            is_passed_on: false,
            hub: None,
            lock: None,
            tried: now.checked_sub(CONNECT_EVERY).unwrap_or(now),
            broken: now,
            waiting: VecDeque::new(),
            bytes: vec![0; READ],
        }
    }

    fn run(mut self) {
        while !self.shared.stop.is_cancelled() {
            if self.to.is_some() && self.is_over() {
                // The messages end here. What is asked of the guest is withdrawn when its owner lets go of it, and others go on.
                self.to = None;
            }
            self.connect();
            self.tick();
            self.serve();
            self.write();
            if !self.hand_over() {
                self.to = None;
            }
            if !self.waiting.is_empty() {
                std::thread::sleep(LOOK_EVERY);
            } else if self.wait() {
                self.read();
            }
        }
        self.take_leave();
    }

    /// What is withdrawn ends by itself with its lease. That is worth a moment's wait: a line that is closed may take its last bytes along.
    fn take_leave(&mut self) {
        let until = Instant::now() + FAREWELL;
        self.to = None;
        let look = match &mut *self.shared.conversation() {
            conversation if conversation.has_withdrawn() => conversation.look(HostTime::now()),
            _ => return,
        };
        while self.line.is_some() && Instant::now() < until {
            self.serve();
            self.write();
            if self.shared.conversation().seen(look).is_some() {
                return;
            }
            self.waiting.clear();
            if self.wait() {
                self.read();
            }
        }
    }

    fn is_over(&self) -> bool {
        let finished =
            self.shared.conversation().is_done(self.line.is_some(), self.broken.elapsed() >= PATIENCE);
        finished && self.waiting.is_empty()
    }

    /// Connects to the port, or to whoever has it.
    fn connect(&mut self) {
        if self.line.is_some() || self.tried.elapsed() < CONNECT_EVERY {
            return;
        }
        self.tried = Instant::now();
        let path = &self.shared.path;
        let mut is_taken = false;
        if self.lock.is_none() {
            match Lock::take(path) {
                Ok(Some(lock)) => {
                    self.lock = Some(lock);
                    self.hub = Hub::listen(path);
                }
                Ok(None) => is_taken = true,
                // Somebody else's directory: who is first gets the port.
                Err(_) => {}
            }
        }
        let line = if is_taken { UnixStream::connect(Hub::path(path)) } else { UnixStream::connect(path) };
        if let Ok(line) = line.and_then(|line| line.set_nonblocking(true).map(|()| line)) {
            let mut conversation = self.shared.conversation();
            if self.is_passed_on {
                conversation.handed_over();
            }
            conversation.connected(HostTime::now());
            (self.line, self.is_passed_on) = (Some(line), is_taken);
        }
    }

    fn serve(&mut self) {
        if let Some(hub) = &mut self.hub {
            hub.serve(&mut self.shared.conversation(), HostTime::now());
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
        let mut lines = vec![PollFd::new(line, PollFlags::IN)];
        lines.extend(self.hub.iter().flat_map(Hub::poll_fds));
        poll(&mut lines, Some(&look)).is_ok_and(|ready| ready > 0) && !lines[0].revents().is_empty()
    }

    fn read(&mut self) {
        let Some(line) = &mut self.line else { return };
        match line.read(&mut self.bytes) {
            Ok(count) if count > 0 => {
                let waiting = &mut self.waiting;
                let mut emit = |message| waiting.push_back(message);
                let hub = &mut self.hub;
                let mut pass = |frame: &Frame<'_>| hub.iter_mut().for_each(|hub| hub.pass_on(frame));
                let bytes = &self.bytes[..count];
                self.shared.conversation().hear(bytes, HostTime::now(), &mut emit, &mut pass);
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            _ => (self.line, self.broken) = (None, Instant::now()),
        }
    }

    /// Hands messages to whoever takes them; false when nobody does any more.
    fn hand_over(&mut self) -> bool {
        if self.to.is_none() || self.shared.discards.load(Ordering::Relaxed) {
            self.waiting.clear();
        }
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
