//! The last messages as they came: a recording of what has just been seen.

use std::collections::VecDeque;
use std::path::Path;

use uniprof_collector::recording::{Body, FileError, Message, RecordingFile, SessionInfo};

/// Bytes of messages that are kept: four seconds of 50,000 events a second, minutes of a guest that does less.
const MOST: usize = 12 << 20;

/// The last messages of a guest that runs.
#[derive(Default)]
pub(super) struct Keep {
    messages: VecDeque<Message<'static>>,
    bytes: usize,
    /// The latest copy of the tables that is older than what is kept.
    region: Option<Message<'static>>,
    /// Whether something is missing before the first.
    has_dropped: bool,
}

impl Keep {
    /// Keeps a message.
    pub(super) fn take(&mut self, message: &Message<'_>) {
        let message = message.clone().into_owned();
        self.bytes += bytes(&message);
        self.messages.push_back(message);
        while self.bytes > MOST {
            let Some(first) = self.messages.pop_front() else { break };
            self.bytes -= bytes(&first);
            self.has_dropped = true;
            if matches!(first.body, Body::Region { .. }) {
                self.region = Some(first);
            }
        }
    }

    /// Writes what came from `from_ns` of the collector's clock on, with `symbols` as its images. Returns the file's size.
    pub(super) fn write(
        &self,
        path: &Path,
        session: &SessionInfo,
        from_ns: u64,
        symbols: &[(String, Vec<u8>)],
    ) -> Result<u64, FileError> {
        let mut file = RecordingFile::create(path, session)?;
        for (name, packed) in symbols {
            file.attach(name, crate::attachment::MEDIA_TYPE, packed, session.started_ns)?;
        }
        let is_in = |message: &&Message<'static>| message.at.monotonic_ns >= from_ns;
        let older = self.messages.iter().take_while(|message| !is_in(message));
        let older: Vec<&Message<'static>> = older.collect();
        let region = older.iter().rev().find(|message| matches!(message.body, Body::Region { .. }));
        if let Some(region) = region.copied().or(self.region.as_ref()) {
            file.write(region)?;
        }
        if self.has_dropped || !older.is_empty() {
            // Otherwise all that the guest wrote before would count as lost.
            file.skip()?;
        }
        for message in self.messages.iter().skip(older.len()) {
            file.write(message)?;
        }
        if let Some(last) = self.messages.back() {
            let body = Body::End(br#"{"reason":"saved"}"#[..].into());
            file.write(&Message { at: last.at, session: last.session, body })?;
        }
        file.finish()
    }
}

/// What a message takes, about.
fn bytes(message: &Message<'_>) -> usize {
    size_of_val(message)
        + match &message.body {
            Body::Region { bytes, .. } | Body::Console { bytes, .. } | Body::End(bytes) => bytes.len(),
            Body::Block { words, .. }
            | Body::Histograms(words)
            | Body::Heap(words)
            | Body::Network(words) => words.len() * 8,
            Body::Counters(counters) => counters.slots.len() * 8,
            Body::Clock(_) => 0,
        }
}
