//! One connection: its TCP socket, what has come in, and what goes out.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::net::{Ipv4Addr, SocketAddr};

use smoltcp::iface::{Interface, SocketHandle, SocketSet};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::time::{Duration, Instant};

use super::classify::Peer;
use super::limits::{self, INPUT_BYTES, RECEIVE_BYTES, SEND_BYTES};
use super::{Answer, PORT, Work};
use crate::probes::net::{self, ConnectionState, Protocol};

/// Until a client has acknowledged that it is connected.
const OPENING: Duration = Duration::from_secs(5);
/// Between requests.
const IDLE: Duration = Duration::from_secs(60);
/// From the first byte of a request to its last.
const REQUEST: Duration = Duration::from_secs(10);
/// Without taking any of an answer.
const ANSWER: Duration = Duration::from_secs(10);
/// From our end to the client's.
const CLOSING: Duration = Duration::from_secs(3);
/// After that, for what may still be under way: a machine's own network has no detours.
const OVER: Duration = Duration::from_secs(1);

const LATE: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// What the connection is about.
enum Phase {
    /// Waits for a request, since then.
    Reading,
    /// Somebody works on what has come in.
    Serving,
    /// So much of the output has gone.
    Writing(usize),
    /// No more is sent, and what comes is thrown away.
    Closing,
}

/// What a connection wants after it has been looked after.
pub(super) enum Want {
    Nothing,
    Service(Work),
    /// It is over.
    Removal(End),
}

/// How it ended.
pub(super) enum End {
    Closed,
    /// By the client.
    Reset,
    TimedOut,
}

pub(super) struct Connection {
    id: u32,
    local: Ipv4Addr,
    pub(super) peer: Peer,
    /// What is told of it, once there is something to tell.
    told: Option<Arc<net::Connection>>,
    /// With this connection's socket alone: so the stack need not look for it.
    pub(super) sockets: SocketSet<'static>,
    handle: SocketHandle,
    phase: Phase,
    input: Vec<u8>,
    /// How much input it takes until there is something to do.
    wanted: usize,
    output: Vec<u8>,
    close_after: bool,
    timed_out: bool,
    /// When its phase began, or something last came of it.
    since: Instant,
    /// When the first byte of the request came that is not yet whole.
    began: Instant,
    /// When it is to be looked after next, even if nothing happens.
    pub(super) due: Option<Instant>,
}

impl Connection {
    /// One that waits for a client's first segment; `None` if the stack can't have it.
    pub(super) fn new(id: u32, local: Ipv4Addr, peer: Peer, now: Instant) -> Option<Self> {
        let buffer = |bytes| SocketBuffer::new(vec![0; bytes]);
        let mut socket = Socket::new(buffer(RECEIVE_BYTES), buffer(SEND_BYTES));
        socket.set_nagle_enabled(false);
        socket.listen(PORT).ok()?;
        let mut sockets = SocketSet::new(Vec::with_capacity(1));
        let handle = sockets.add(socket);
        Some(Self {
            id,
            local,
            peer,
            told: None,
            sockets,
            handle,
            phase: Phase::Reading,
            input: Vec::new(),
            wanted: 1,
            output: Vec::new(),
            close_after: false,
            timed_out: false,
            since: now,
            began: now,
            due: None,
        })
    }

    fn socket(&mut self) -> &mut Socket<'static> {
        self.sockets.get_mut(self.handle)
    }

    pub(super) fn state(&self) -> State {
        self.sockets.get::<Socket<'_>>(self.handle).state()
    }

    /// Whether it is over, as far as this end is concerned: a newcomer may have its place.
    pub(super) fn may_be_replaced(&self) -> bool {
        matches!(self.state(), State::TimeWait | State::Closed)
    }

    fn held(&self) -> usize {
        self.input.capacity() + self.output.capacity()
    }

    /// Takes the bytes, sends the bytes, keeps the times. After anything that may have changed it.
    pub(super) fn look_after(&mut self, now: Instant) -> Want {
        let before = self.held();
        let want = if self.keep_times(now) { Want::Removal(self.end()) } else { self.advance(now) };
        limits::holds(before, self.held());
        self.tell();
        want
    }

    /// Tells what it is like now.
    fn tell(&mut self) {
        let waiting = self.output.len() - if let Phase::Writing(sent) = self.phase { sent } else { 0 };
        let socket = self.sockets.get::<Socket<'_>>(self.handle);
        let queues = (socket.recv_queue() + self.input.len(), socket.send_queue() + waiting);
        let state = told(socket.state());
        let told = self.told();
        told.state(state);
        told.queues(queues.0 as u32, queues.1 as u32);
    }

    fn told(&mut self) -> &Arc<net::Connection> {
        let (address, port) = self.peer;
        let ends = (SocketAddr::new(self.local.into(), PORT), SocketAddr::new(address.into(), port));
        let open = || net::Connection::open(Protocol::Tcp, ends.0, ends.1, ConnectionState::SynReceived);
        self.told.get_or_insert_with(|| Arc::new(open()))
    }

    fn advance(&mut self, now: Instant) -> Want {
        loop {
            if self.state() == State::Closed {
                return Want::Removal(self.end());
            }
            match self.phase {
                Phase::Reading => {
                    self.read(now);
                    let ended = !self.socket().may_recv() && self.state() != State::SynReceived;
                    if self.input.len() >= self.wanted || (ended && !self.input.is_empty()) {
                        self.phase = Phase::Serving;
                        let input = core::mem::take(&mut self.input);
                        let told = Arc::clone(self.told());
                        return Want::Service(Work { connection: self.id, told, input, ended });
                    }
                    if !ended {
                        return Want::Nothing;
                    }
                    self.close(now);
                }
                Phase::Serving => return Want::Nothing,
                Phase::Writing(_) => {
                    if !self.write(now) {
                        return Want::Nothing;
                    }
                    match self.close_after {
                        true => self.close(now),
                        false => self.phase = Phase::Reading,
                    }
                }
                Phase::Closing => {
                    // What comes is thrown away: a client that is still sending would otherwise get a reset before it has read its answer.
                    while let Ok(count @ 1..) = self.socket().recv(|bytes| (bytes.len(), bytes.len())) {
                        self.told().received(count as u64);
                    }
                    return Want::Nothing;
                }
            }
        }
    }

    /// How it ended.
    fn end(&self) -> End {
        match self.phase {
            _ if self.timed_out => End::TimedOut,
            Phase::Closing => End::Closed,
            _ => End::Reset,
        }
    }

    /// Takes what has come, unless much waits already: then it stays where it is, and the client hears that the window is full.
    fn read(&mut self, now: Instant) {
        while self.input.len() < INPUT_BYTES && (self.input.is_empty() || !limits::is_short()) {
            let socket = self.sockets.get_mut::<Socket<'_>>(self.handle);
            let input = &mut self.input;
            let first = input.is_empty();
            let taken = socket.recv(|bytes| {
                input.extend_from_slice(bytes);
                (bytes.len(), bytes.len())
            });
            let Ok(count @ 1..) = taken else { return };
            self.told().received(count as u64);
            if first {
                self.began = now;
            }
        }
    }

    /// Sends what there is room for; whether all has been taken.
    fn write(&mut self, now: Instant) -> bool {
        let Phase::Writing(sent) = self.phase else { return true };
        let socket = self.sockets.get_mut::<Socket<'_>>(self.handle);
        let count = socket.send_slice(&self.output[sent..]).unwrap_or(self.output.len() - sent);
        if count > 0 {
            self.since = now;
            self.told().sent(count as u64);
        }
        if sent + count < self.output.len() {
            self.phase = Phase::Writing(sent + count);
            return false;
        }
        self.output = Vec::new();
        true
    }

    fn close(&mut self, now: Instant) {
        self.socket().close();
        self.phase = Phase::Closing;
        self.since = now;
        self.input = Vec::new();
    }

    /// Its work is done.
    pub(super) fn answered(&mut self, answer: Answer, now: Instant) {
        let before = self.held();
        self.input = answer.rest;
        self.wanted = answer.wanted.min(INPUT_BYTES);
        self.output = answer.output;
        self.close_after = answer.close;
        self.phase = Phase::Writing(0);
        self.since = now;
        if self.input.is_empty() || !self.output.is_empty() {
            self.began = now;
        }
        limits::holds(before, self.held());
    }

    /// When its patience ends, in the phase that it is in.
    fn patience(&self) -> Option<Instant> {
        let patience = match self.phase {
            _ if self.state() == State::SynReceived => OPENING,
            _ if self.state() == State::TimeWait => OVER,
            Phase::Reading if self.input.is_empty() => IDLE,
            Phase::Reading => return Some(self.began + REQUEST),
            Phase::Serving => return None,
            Phase::Writing(_) => ANSWER,
            Phase::Closing => CLOSING,
        };
        Some(self.since + patience)
    }

    /// Ends what takes too long; whether nothing of it is left to be told to the client.
    fn keep_times(&mut self, now: Instant) -> bool {
        if self.state() == State::Closed || self.patience().is_none_or(|end| now < end) {
            return false;
        }
        match self.phase {
            Phase::Reading if self.state() != State::SynReceived => {
                if !self.input.is_empty() {
                    // All is in the buffer or nothing: there is nobody left to wait for.
                    let sent = self.socket().send_slice(LATE).unwrap_or(0);
                    self.told().sent(sent as u64);
                    self.timed_out = true;
                }
                self.close(now);
            }
            _ if self.state() == State::TimeWait => return true,
            _ => {
                self.timed_out = true;
                self.socket().abort();
            }
        }
        false
    }

    /// Whether it has something to send that the client has not acknowledged, or that is being made.
    pub(super) fn is_busy(&self) -> bool {
        let socket = self.sockets.get::<Socket<'_>>(self.handle);
        matches!(self.phase, Phase::Serving | Phase::Writing(_)) || socket.send_queue() > 0
    }

    /// Gives up without a word of explanation.
    pub(super) fn abort(&mut self) {
        self.socket().abort();
    }

    /// Finds out when it is to be looked after next.
    pub(super) fn plan(&mut self, interface: &mut Interface, now: Instant) {
        let stack = interface.poll_at(now, &self.sockets);
        self.due = stack.into_iter().chain(self.patience()).min();
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Whoever still serves it keeps its place in the table, but it is over.
        if let Some(told) = &self.told {
            told.state(ConnectionState::Closed);
        }
        limits::holds(self.held(), 0);
    }
}

fn told(state: State) -> ConnectionState {
    match state {
        State::Closed => ConnectionState::Closed,
        State::Listen => ConnectionState::Listen,
        State::SynSent => ConnectionState::SynSent,
        State::SynReceived => ConnectionState::SynReceived,
        State::Established => ConnectionState::Established,
        State::FinWait1 => ConnectionState::FinWait1,
        State::FinWait2 => ConnectionState::FinWait2,
        State::CloseWait => ConnectionState::CloseWait,
        State::Closing => ConnectionState::Closing,
        State::LastAck => ConnectionState::LastAck,
        State::TimeWait => ConnectionState::TimeWait,
    }
}
