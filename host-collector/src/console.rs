//! The guest's console: its lines with the host's time, the last ones kept for error messages.
//!
//! QEMU writes the guest's serial port to a pipe that a thread here empties. It is emptied always, whoever listens: a
//! full pipe would stall the guest at its serial port. So a slow listener loses lines, and the loss is counted. The
//! exception is a copy whose output blocks, such as a terminal that is held: it holds the guest, as it would under QEMU alone.

use std::{
    collections::VecDeque,
    io::{Read, Write},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crossbeam_channel::Sender;

use crate::clock::HostTime;

/// A longer line is delivered in pieces of this many bytes, each but the last marked as continued.
pub const MAX_LINE: usize = 4096;

/// One line of the console, without its line end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When its first byte arrived.
    pub at: HostTime,
    /// What the guest wrote. Not necessarily UTF-8.
    pub bytes: Vec<u8>,
    /// The line goes on in the next piece: it was longer than [`MAX_LINE`].
    pub continued: bool,
}

impl Line {
    /// The line as text, what is not UTF-8 replaced, control characters (an escape sequence could rewrite the reader's
    /// terminal) made visible.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::with_capacity(self.bytes.len());
        for c in String::from_utf8_lossy(&self.bytes).chars() {
            if c.is_control() && c != '\t' { text.extend(c.escape_default()) } else { text.push(c) }
        }
        text
    }
}

/// Cuts a byte stream into [`Line`]s. Pure: time is handed in.
#[derive(Debug, Default)]
pub struct LineCutter {
    open: Option<Line>,
}

impl LineCutter {
    /// Takes bytes that arrived at `at`, and hands every finished line to `emit`.
    pub fn push(&mut self, bytes: &[u8], at: HostTime, mut emit: impl FnMut(Line)) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (mut text, ended) = match piece.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (piece, false),
            };
            loop {
                let line = self.open.get_or_insert_with(|| Line { at, bytes: Vec::new(), continued: false });
                let (head, rest) = text.split_at(text.len().min(MAX_LINE - line.bytes.len()));
                line.bytes.extend_from_slice(head);
                text = rest;
                if text.is_empty() {
                    break;
                }
                line.continued = true;
                self.finish(&mut emit);
            }
            if ended {
                self.finish(&mut emit);
            }
        }
    }

    /// Hands out the line that never ended, if there is one.
    pub fn finish(&mut self, mut emit: impl FnMut(Line)) {
        if let Some(mut line) = self.open.take() {
            if line.bytes.last() == Some(&b'\r') && !line.continued {
                line.bytes.pop();
            }
            emit(line);
        }
    }
}

/// What the capture does with each line.
#[derive(Default)]
pub struct Sinks {
    /// Gets every line, as long as it has room.
    pub lines: Option<Sender<Line>>,
    /// Gets every byte as it arrives; the capture goes on without it when it fails.
    pub copy: Option<Box<dyn Write + Send>>,
}

/// A thread that reads a console to its end.
#[derive(Debug)]
pub struct Console {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    last: Mutex<VecDeque<Line>>,
    keep: usize,
    dropped: AtomicU64,
    total: AtomicU64,
}

impl Console {
    /// Reads `from` on a thread of its own until its end, keeping the last `keep` lines.
    pub fn capture(from: impl Read + Send + 'static, keep: usize, sinks: Sinks) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            last: Mutex::new(VecDeque::with_capacity(keep)),
            keep,
            dropped: AtomicU64::new(0),
            total: AtomicU64::new(0),
        });
        let theirs = Arc::clone(&shared);
        let thread =
            std::thread::Builder::new().name("console".into()).spawn(move || theirs.run(from, sinks))?;
        Ok(Self { shared, thread })
    }

    /// The last lines, oldest first.
    #[must_use]
    pub fn last_lines(&self) -> Vec<Line> {
        self.shared.lock().iter().cloned().collect()
    }

    /// How many lines have been captured so far.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.shared.total.load(Ordering::Relaxed)
    }

    /// How many lines the listener's channel had no room for.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Waits for the end of the stream, for so long at most; whether it has come.
    pub fn wait_for_end(&self, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        while !self.thread.is_finished() {
            if Instant::now() >= until {
                return false;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        true
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Line>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, mut from: impl Read, mut sinks: Sinks) {
        let mut cutter = LineCutter::default();
        let mut buffer = [0; 4096];
        loop {
            let n = match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => n,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(_) => break,
            };
            let bytes = &buffer[..n];
            if let Some(copy) = &mut sinks.copy
                && copy.write_all(bytes).and_then(|()| copy.flush()).is_err()
            {
                sinks.copy = None;
            }
            cutter.push(bytes, HostTime::now(), |line| self.keep_line(line, &sinks.lines));
        }
        cutter.finish(|line| self.keep_line(line, &sinks.lines));
    }

    fn keep_line(&self, line: Line, listener: &Option<Sender<Line>>) {
        self.total.fetch_add(1, Ordering::Relaxed);
        {
            let mut last = self.lock();
            if last.len() == self.keep {
                last.pop_front();
            }
            if self.keep > 0 {
                last.push_back(line.clone());
            }
        }
        if let Some(listener) = listener
            && listener.try_send(line).is_err()
        {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(pieces: &[&[u8]]) -> Vec<(Vec<u8>, bool)> {
        let mut lines = Vec::new();
        let mut cutter = LineCutter::default();
        for piece in pieces {
            cutter.push(piece, HostTime::default(), |line| lines.push((line.bytes, line.continued)));
        }
        cutter.finish(|line| lines.push((line.bytes, line.continued)));
        lines
    }

    #[test]
    fn lines_are_cut_wherever_the_reads_fall() {
        let whole = cut(&[b"one\r\ntwo\n\nthree"]);
        assert_eq!(
            whole.iter().map(|(b, _)| &b[..]).collect::<Vec<_>>(),
            [&b"one"[..], b"two", b"", b"three"]
        );
        let bytes: Vec<[u8; 1]> = b"one\r\ntwo\n\nthree".iter().map(|b| [*b]).collect();
        assert_eq!(cut(&bytes.iter().map(|b| &b[..]).collect::<Vec<_>>()), whole);
    }

    #[test]
    fn a_line_without_end_is_delivered_in_bounded_pieces() {
        let lines = cut(&[&[b'x'; 2 * MAX_LINE + 5]]);
        let shape: Vec<_> = lines.iter().map(|(b, c)| (b.len(), *c)).collect();
        assert_eq!(shape, [(MAX_LINE, true), (MAX_LINE, true), (5, false)]);
        assert_eq!(cut(&[&[b'x'; MAX_LINE], b"\n"]), [(vec![b'x'; MAX_LINE], false)]);
    }

    #[test]
    fn bytes_that_are_not_text_are_shown_not_obeyed() {
        let line = Line { at: HostTime::default(), bytes: b"a\xff\x1b[2J\tb".to_vec(), continued: false };
        assert_eq!(line.text(), "a\u{fffd}\\u{1b}[2J\tb");
    }

    #[test]
    fn the_last_lines_stay_and_the_listener_gets_all_it_has_room_for() {
        let (tx, rx) = crossbeam_channel::bounded(2);
        let sinks = Sinks { lines: Some(tx), copy: None };
        let console = Console::capture(&b"1\n2\n3\n4"[..], 3, sinks).unwrap();
        assert!(console.wait_for_end(Duration::from_secs(20)));
        let last: Vec<_> = console.last_lines().iter().map(Line::text).collect();
        assert_eq!(last, ["2", "3", "4"]);
        assert_eq!(rx.iter().map(|line| line.text()).collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!((console.total(), console.dropped()), (4, 2));
    }
}
