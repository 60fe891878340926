//! Writing a recording to anything that takes bytes.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use mcap::{McapError, WriteOptions, records::MessageHeader, records::Metadata, write::NoSeek};

use super::{Body, CHUNK_BYTES, Message, PROFILE, RingId, SESSION, SessionInfo};

/// A chunk is written at least this often, whatever its size.
const FLUSH_EVERY: Duration = Duration::from_secs(1);

/// The output failed. What had been written stays readable.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The system refused to take more, for instance because the disk is full.
    #[error("writing stopped after {saved} bytes: {source}")]
    Io {
        /// Bytes that were written.
        saved: u64,
        /// What the system said.
        source: io::Error,
    },
    /// The container refused something; nothing that a guest or a user says leads here.
    #[error("the recording's container refused a record after {saved} bytes: {what}")]
    Container {
        /// Bytes that were written.
        saved: u64,
        /// What it said.
        what: String,
    },
}

/// Writes a recording. A writer that is dropped without [`Body::End`] leaves a recording that reads as cut off, which it is.
pub struct Writer<W: Write> {
    mcap: mcap::Writer<NoSeek<Counting<W>>>,
    saved: Arc<AtomicU64>,
    sequence: u32,
    channels: BTreeMap<(u8, Option<RingId>), u16>,
    buffer: Vec<u8>,
    /// When the first message of the open chunk came.
    open_since: Option<Instant>,
}

struct Counting<W> {
    inner: W,
    saved: Arc<AtomicU64>,
}

impl<W: Write> Write for Counting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.saved.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<W: Write> Writer<W> {
    /// Writes the head of a recording: who is recorded.
    pub fn new(output: W, session: &SessionInfo) -> Result<Self, RecordError> {
        let saved = Arc::new(AtomicU64::new(0));
        let counting = Counting { inner: output, saved: Arc::clone(&saved) };
        let options = WriteOptions::new()
            .profile(PROFILE)
            .library(concat!("uniprof-collector ", env!("CARGO_PKG_VERSION")))
            .compression(None)
            .chunk_size(Some(CHUNK_BYTES))
            // A chunk is collected in memory and written whole: a file that ends in half a chunk has lost only that.
            .disable_seeking(true)
            .emit_message_indexes(false);
        let mcap = options.create(NoSeek::new(counting)).map_err(|error| failed(error, &saved))?;
        let mut writer = Self {
            mcap,
            saved,
            sequence: 0,
            channels: BTreeMap::new(),
            buffer: Vec::new(),
            open_since: None,
        };
        let metadata = Metadata { name: SESSION.into(), metadata: session.to_metadata() };
        writer.mcap.write_metadata(&metadata).map_err(|error| failed(error, &writer.saved))?;
        Ok(writer)
    }

    /// Bytes that the output has taken.
    #[must_use]
    pub fn saved(&self) -> u64 {
        self.saved.load(Ordering::Relaxed)
    }

    /// Adds a file, such as the kernel's symbols. Its bytes are stored as they are.
    pub fn attach(
        &mut self,
        name: &str,
        media_type: &str,
        bytes: &[u8],
        at_ns: u64,
    ) -> Result<(), RecordError> {
        let attachment = mcap::Attachment {
            log_time: at_ns,
            create_time: at_ns,
            name: name.into(),
            media_type: media_type.into(),
            data: bytes.into(),
        };
        self.mcap.attach(&attachment).map_err(|error| failed(error, &self.saved))
    }

    /// Adds a message.
    pub fn write(&mut self, message: &Message<'_>) -> Result<(), RecordError> {
        let channel = self.channel(&message.body)?;
        message.encode(&mut self.buffer);
        let header = MessageHeader {
            channel_id: channel,
            sequence: self.sequence,
            log_time: message.at.realtime_ns,
            publish_time: message.at.monotonic_ns,
        };
        self.mcap
            .write_to_known_channel(&header, &self.buffer)
            .map_err(|error| failed(error, &self.saved))?;
        self.sequence = self.sequence.wrapping_add(1);
        self.open_since.get_or_insert_with(Instant::now);
        self.flush_if_due()
    }

    /// Closes the open chunk where it has been open for a second. Call it when there is nothing to write for a while.
    pub fn flush_if_due(&mut self) -> Result<(), RecordError> {
        match self.open_since {
            Some(since) if since.elapsed() >= FLUSH_EVERY => self.flush(),
            _ => Ok(()),
        }
    }

    /// Closes the open chunk, if there is one, and hands it to the output.
    pub fn flush(&mut self) -> Result<(), RecordError> {
        self.open_since = None;
        self.mcap.flush().map_err(|error| failed(error, &self.saved))
    }

    /// Writes the tail, and hands the output back.
    pub fn finish(mut self) -> Result<W, RecordError> {
        self.mcap.finish().map_err(|error| failed(error, &self.saved))?;
        Ok(self.mcap.into_inner().into_inner().inner)
    }

    fn channel(&mut self, body: &Body<'_>) -> Result<u16, RecordError> {
        let key = match body.ring() {
            Some(ring) => (0, Some(ring)),
            None => (body.kind(), None),
        };
        if let Some(channel) = self.channels.get(&key) {
            return Ok(*channel);
        }
        let channel = self
            .mcap
            .add_channel(0, &body.topic(), PROFILE, &BTreeMap::new())
            .map_err(|error| failed(error, &self.saved))?;
        self.channels.insert(key, channel);
        Ok(channel)
    }
}

fn failed(error: McapError, saved: &AtomicU64) -> RecordError {
    let saved = saved.load(Ordering::Relaxed);
    match error {
        McapError::Io(source) => RecordError::Io { saved, source },
        other => RecordError::Container { saved, what: other.to_string() },
    }
}
