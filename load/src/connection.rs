//! One connection to the server, kept open from request to request.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longest head of an answer that is read.
const MOST_HEAD: usize = 16 << 10;
/// Longest body that is read.
const MOST_BODY: usize = 16 << 20;
const MOST_HEADERS: usize = 32;

/// Why a request got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Failure {
    /// Nobody listens, or the server has no room.
    #[error("the connection was refused")]
    Refused,
    /// The server gave up the connection in the middle.
    #[error("the connection was reset")]
    Reset,
    /// The server closed the connection before it had answered.
    #[error("the connection was closed before the answer was whole")]
    Closed,
    /// No answer within the plan's patience.
    #[error("no answer came in time")]
    TimedOut,
    /// What came was no answer of HTTP/1.1 with a stated length.
    #[error("the answer is not HTTP/1.1 with a stated length")]
    Malformed,
    /// The operating system gave another reason.
    #[error("the operating system refused")]
    System,
}

impl Failure {
    fn of(error: &std::io::Error) -> Self {
        match error.kind() {
            ErrorKind::ConnectionRefused => Self::Refused,
            ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => Self::Reset,
            ErrorKind::UnexpectedEof => Self::Closed,
            ErrorKind::TimedOut | ErrorKind::WouldBlock => Self::TimedOut,
            _ => Self::System,
        }
    }
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP's status code.
    pub status: u16,
    /// The server will close the connection.
    pub last: bool,
    /// The body.
    pub body: Vec<u8>,
}

/// Asks for one target on a connection of its own: `/healthz`, `/stats`.
///
/// # Errors
/// Any [`Failure`], the first that happens.
pub fn get(address: SocketAddr, target: &str, patience: Duration) -> Result<Answer, Failure> {
    let request = format!("GET {target} HTTP/1.1\r\nHost: guest\r\nConnection: close\r\n\r\n");
    Connection::open(address, patience)?.exchange(request.as_bytes())
}

/// The line, and what has come over it and belongs to no answer yet.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    pending: Vec<u8>,
    pub(crate) bytes_sent: u64,
    pub(crate) bytes_received: u64,
}

impl Connection {
    pub(crate) fn open(address: SocketAddr, patience: Duration) -> Result<Self, Failure> {
        let stream = TcpStream::connect_timeout(&address, patience).map_err(|error| Failure::of(&error))?;
        let prepared = stream.set_nodelay(true).and_then(|()| stream.set_read_timeout(Some(patience)));
        prepared.and_then(|()| stream.set_write_timeout(Some(patience))).map_err(|_| Failure::System)?;
        Ok(Self { stream, pending: Vec::new(), bytes_sent: 0, bytes_received: 0 })
    }

    pub(crate) fn local(&self) -> Option<SocketAddr> {
        self.stream.local_addr().ok()
    }

    /// Sends one request and waits for its answer.
    pub(crate) fn exchange(&mut self, request: &[u8]) -> Result<Answer, Failure> {
        self.stream.write_all(request).map_err(|error| Failure::of(&error))?;
        self.bytes_sent += request.len() as u64;
        let (head, body, mut answer) = self.head()?;
        let whole = head + body;
        while self.pending.len() < whole {
            self.fill()?;
        }
        answer.body.extend_from_slice(&self.pending[head..whole]);
        self.pending.drain(..whole);
        Ok(answer)
    }

    /// Reads until the head is whole: its length, that of the body behind it, and what it says.
    fn head(&mut self) -> Result<(usize, usize, Answer), Failure> {
        loop {
            let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
            let mut response = httparse::Response::new(&mut headers);
            match response.parse(&self.pending) {
                Ok(httparse::Status::Complete(length)) => {
                    let status = response.code.ok_or(Failure::Malformed)?;
                    let header = |name: &str| {
                        let found = response.headers.iter().find(|h| h.name.eq_ignore_ascii_case(name));
                        found.and_then(|h| std::str::from_utf8(h.value).ok()).map(str::trim)
                    };
                    let last = header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
                    let body = match header("content-length") {
                        Some(text) => text.parse().map_err(|_| Failure::Malformed)?,
                        None if matches!(status, 204 | 304) => 0,
                        None => return Err(Failure::Malformed),
                    };
                    if body > MOST_BODY {
                        return Err(Failure::Malformed);
                    }
                    return Ok((length, body, Answer { status, last, body: Vec::new() }));
                }
                Ok(httparse::Status::Partial) if self.pending.len() < MOST_HEAD => self.fill()?,
                Ok(httparse::Status::Partial) | Err(_) => return Err(Failure::Malformed),
            }
        }
    }

    fn fill(&mut self) -> Result<(), Failure> {
        let mut piece = [0; 4096];
        let count = self.stream.read(&mut piece).map_err(|error| Failure::of(&error))?;
        if count == 0 {
            return Err(Failure::Closed);
        }
        self.bytes_received += count as u64;
        self.pending.extend_from_slice(&piece[..count]);
        Ok(())
    }
}
