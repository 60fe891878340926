//! Reading a recording: all that is whole, and a statement about the rest.

use std::{
    collections::BTreeMap,
    io::{self, Read, Seek},
    ops::Range,
    path::{Path, PathBuf},
};

use super::{
    EARLIER, Message, PROFILE, SESSION, SessionInfo,
    frame::{CHUNK_HEAD, FRAME_HEAD, Frames, Next, chunk_is_whole, chunk_records, le32, le64, op},
    message::Head,
};
use crate::clock::HostTime;

/// First bytes of an MCAP file, and its last.
const MAGIC: &[u8; 8] = b"\x89MCAP0\r\n";
/// Message fields before its data: channel (2), sequence (4), two times (8 each).
const MESSAGE_HEAD: usize = 22;

/// Why a file can't be read as a recording at all.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It can't be opened.
    #[error("cannot open the recording {path}: {source}")]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It can't be read.
    #[error("cannot read the recording {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is nothing in it.
    #[error("{path} is empty: nothing was recorded")]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// It is something else.
    #[error("{path} is not a uniprof recording: {what}")]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it is instead, as far as is known.
        what: String,
    },
}

/// Something that was lost, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Position in the file.
    pub at: u64,
    /// Bytes that could not be used; 0 where they are simply not there.
    pub bytes: u64,
    /// What was lost.
    pub what: String,
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.bytes {
            0 => write!(f, "at byte {}: {}", self.at, self.what),
            bytes => write!(f, "at byte {}: {} ({bytes} bytes)", self.at, self.what),
        }
    }
}

/// An attached file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment<'a> {
    /// Its name.
    pub name: String,
    /// What kind of file it is.
    pub media_type: String,
    /// Its bytes, as they were handed to the writer.
    pub bytes: &'a [u8],
}

/// What a recording consists of.
#[derive(Clone, Debug, PartialEq)]
pub enum Item<'a> {
    /// Who was recorded.
    Session(Box<SessionInfo>),
    /// An attached file.
    Attachment(Attachment<'a>),
    /// Something that happened.
    Message(Message<'a>),
    /// Messages are missing here: for [`crate::ledger::Ledger::gap`].
    Gap,
}

/// Places of damage that are listed one by one: a file of nothing but damage must not fill the memory.
const MOST_DAMAGE: usize = 1000;

/// Reads a recording from front to back, once. Memory: the largest record that is really there, and some megabytes.
pub struct Reader<R> {
    frames: Frames<R>,
    path: PathBuf,
    current: Option<Current>,
    words: Vec<u64>,
    damage: Vec<Damage>,
    next_sequence: u32,
    /// Whether the recording said itself that it ends.
    ended: bool,
    done: bool,
}

/// The frame that is being read: it stays in the buffer until the next call.
#[derive(Clone, Copy)]
pub(super) struct Current {
    /// Length of its body.
    pub(super) len: usize,
    /// Where the next record of a chunk begins in the body.
    pub(super) next: usize,
}

/// A place in a recording, between two items, to [go back](Reader::go_to) to.
#[derive(Clone, Copy)]
pub struct Place {
    position: u64,
    pub(super) current: Option<Current>,
    next_sequence: u32,
    damage: usize,
    ended: bool,
    done: bool,
}

impl Place {
    /// Bytes of the recording that come before it.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.position + self.current.map_or(0, |current| (FRAME_HEAD + current.next) as u64)
    }
}

/// What [`Reader::next`] has found; it borrows nothing.
enum Step {
    Session(Box<SessionInfo>),
    Attachment { name: String, media_type: String, len: usize, bytes: Range<usize> },
    Message { at: HostTime, head: Head, len: usize, data: Range<usize> },
    Gap,
    End,
}

impl<R: Read> Reader<R> {
    /// Starts reading. The stream is at the recording's first byte.
    pub fn new(source: R) -> Result<Self, ReadError> {
        Self::named(source, Path::new("the recording"))
    }

    pub(super) fn named(source: R, path: &Path) -> Result<Self, ReadError> {
        let mut frames = Frames::new(source);
        let foreign = |what: &str| ReadError::Foreign { path: path.into(), what: what.into() };
        let failed = |source| ReadError::Io { path: path.into(), source };
        match frames.take(MAGIC.len()).map_err(failed)?.map(|bytes| bytes == MAGIC) {
            Some(true) => {}
            None if frames.peek().map_err(failed)? == Next::End => {
                return Err(ReadError::Empty { path: path.into() });
            }
            _ => return Err(foreign("it does not begin like one")),
        }
        let mut reader = Self {
            frames,
            path: path.into(),
            current: None,
            words: Vec::new(),
            damage: Vec::new(),
            next_sequence: 0,
            ended: false,
            done: false,
        };
        match reader.frames.peek().map_err(failed)? {
            Next::Frame(op::HEADER, len) => match string(reader.frames.body(len)) {
                Some((profile, rest))
                    if is_read(profile) && string(rest).is_some_and(|(_, rest)| rest.is_empty()) =>
                {
                    reader.frames.skip(len);
                }
                Some((profile, _)) if !is_read(profile) && profile.chars().all(|c| c.is_ascii_graphic()) => {
                    return Err(foreign(&match profile.split_once('/').map_or(profile, |(name, _)| name) {
                        "uniprof" => format!(
                            "it was written by another version ({profile}; this one reads {PROFILE}): read it with that \
                             version, or record again"
                        ),
                        _ => format!("it is an MCAP file with the profile {profile:?}"),
                    }));
                }
                _ => reader.resynchronise("the file's header is damaged").map_err(failed)?,
            },
            _ => reader.resynchronise("the file's header is damaged").map_err(failed)?,
        }
        Ok(reader)
    }

    /// What could not be read so far; from the thousandth place on, the last entry stands for all that follow. Complete once [`Reader::next`] has returned `None`.
    #[must_use]
    pub fn damage(&self) -> &[Damage] {
        &self.damage
    }

    /// The next item, or `None` at the end. Damage is no error: it is passed over and listed.
    #[expect(clippy::should_implement_trait, reason = "what it returns borrows from the reader")]
    pub fn next(&mut self) -> Result<Option<Item<'_>>, ReadError> {
        let step = self.step().map_err(|source| ReadError::Io { path: self.path.clone(), source })?;
        Ok(Some(match step {
            Step::End => return Ok(None),
            Step::Gap => Item::Gap,
            Step::Session(session) => Item::Session(session),
            Step::Attachment { name, media_type, len, bytes } => {
                Item::Attachment(Attachment { name, media_type, bytes: &self.frames.body(len)[bytes] })
            }
            Step::Message { at, head, len, data } => {
                Item::Message(head.with(at, &self.frames.body(len)[data], &mut self.words))
            }
        }))
    }

    /// The place of what [`Reader::next`] returns next.
    #[must_use]
    pub fn place(&self) -> Place {
        Place {
            position: self.frames.position(),
            current: self.current,
            next_sequence: self.next_sequence,
            damage: self.damage.len(),
            ended: self.ended,
            done: self.done,
        }
    }

    /// Reads to the end and returns all damage.
    pub fn verify(mut self) -> Result<Vec<Damage>, ReadError> {
        while self.next()?.is_some() {}
        Ok(self.damage)
    }

    fn step(&mut self) -> io::Result<Step> {
        loop {
            if let Some(current) = self.current {
                if let Some(step) = self.next_in_chunk(current) {
                    return Ok(step);
                }
                self.frames.skip(current.len);
                self.current = None;
            }
            if self.done {
                return Ok(Step::End);
            }
            match self.frames.peek()? {
                Next::Frame(opcode, len) => {
                    if let Some(step) = self.frame(opcode, len)? {
                        return Ok(step);
                    }
                }
                Next::End => self.finish(),
                Next::Broken => self.resynchronise("a record that is not whole")?,
            }
        }
    }

    /// Takes one top-level frame. Chunks and attachments become `current`, everything else is passed here.
    fn frame(&mut self, opcode: u8, len: usize) -> io::Result<Option<Step>> {
        let body = self.frames.body(len);
        match opcode {
            op::CHUNK
                if body.get(..CHUNK_HEAD).and_then(|head| chunk_records(head, len as u64)).is_none() =>
            {
                return self.resynchronise("a chunk whose numbers disagree").map(|()| None);
            }
            op::CHUNK if !chunk_is_whole(body) => self.pass_damaged(len, "a chunk with a wrong CRC"),
            op::CHUNK => self.current = Some(Current { len, next: CHUNK_HEAD }),
            op::METADATA => match metadata(body) {
                Some((name, map)) if name == SESSION => {
                    if let Some(session) = SessionInfo::from_metadata(map) {
                        self.frames.skip(len);
                        return Ok(Some(Step::Session(Box::new(session))));
                    }
                    self.pass_damaged(len, "the description of the session");
                }
                Some(_) => self.frames.skip(len),
                None => return self.resynchronise("a damaged metadata record").map(|()| None),
            },
            op::ATTACHMENT => match attachment(body) {
                Some((name, media_type, bytes)) => {
                    self.current = Some(Current { len, next: len });
                    return Ok(Some(Step::Attachment { name, media_type, len, bytes }));
                }
                None => return self.resynchronise("a damaged attachment").map(|()| None),
            },
            // No CRC protects these, so a length that is wrong would pass over whole chunks.
            op::SCHEMA | op::CHANNEL | op::MESSAGE_INDEX if fills_its_length(opcode, body) => {
                self.frames.skip(len)
            }
            op::DATA_END if len == 4 => self.finish(),
            _ => return self.resynchronise("an unknown record").map(|()| None),
        }
        Ok(None)
    }

    /// The next message of the chunk. `None`: the chunk is done.
    fn next_in_chunk(&mut self, current: Current) -> Option<Step> {
        let Current { len, mut next } = current;
        while next < len {
            let Some((opcode, record)) = record_at(self.frames.body(len), next) else {
                // The CRC held, or there was none: written by something else.
                self.lose(next, len - next, "the rest of a chunk that is not made of records");
                return None;
            };
            next = record.end;
            if opcode != op::MESSAGE || record.len() < MESSAGE_HEAD {
                continue;
            }
            let fields = &self.frames.body(len)[record.start..];
            let data = record.start + MESSAGE_HEAD..record.end;
            let at = HostTime { realtime_ns: le64(&fields[6..]), monotonic_ns: le64(&fields[14..]) };
            let sequence = le32(&fields[2..]);
            let head = Head::parse(&self.frames.body(len)[data.clone()]);
            if sequence != self.next_sequence {
                self.miss(sequence);
                return Some(Step::Gap);
            }
            self.next_sequence = sequence.wrapping_add(1);
            if let Some(head) = head {
                self.ended |= head.is_end();
                self.current = Some(Current { len, next });
                return Some(Step::Message { at, head, len, data });
            }
            self.lose(record.start, record.len(), "a message of unknown shape");
            self.current = Some(Current { len, next });
            return Some(Step::Gap);
        }
        None
    }

    /// Notes messages that are missing before the one with this number, which is read next.
    fn miss(&mut self, sequence: u32) {
        let what = match sequence.wrapping_sub(self.next_sequence) {
            missing if missing <= u32::MAX / 2 => format!("{missing} messages before this are missing"),
            _ => "messages are not in their order".to_owned(),
        };
        self.note(self.frames.position(), 0, &what);
        self.next_sequence = sequence;
    }

    fn note(&mut self, at: u64, bytes: u64, what: &str) {
        if self.damage.len() < MOST_DAMAGE {
            self.damage.push(Damage { at, bytes, what: what.into() });
        } else if let Some(last) = self.damage.last_mut() {
            last.bytes = last.bytes.saturating_add(bytes);
            last.what = "here and in many places after this".into();
        }
    }

    fn lose(&mut self, offset: usize, bytes: usize, what: &str) {
        let at = self.frames.position() + (FRAME_HEAD + offset) as u64;
        self.note(at, bytes as u64, what);
    }

    /// Passes a frame whose length can be trusted and whose content can't.
    fn pass_damaged(&mut self, len: usize, what: &str) {
        let at = self.frames.position();
        self.note(at, (FRAME_HEAD + len) as u64, what);
        self.frames.skip(len);
    }

    /// Passes what can't be read, up to the next chunk that can.
    fn resynchronise(&mut self, what: &str) -> io::Result<()> {
        let at = self.frames.position();
        let bytes = self.frames.resynchronise()?;
        self.note(at, bytes, what);
        Ok(())
    }

    fn finish(&mut self) {
        if !self.ended {
            let what = "the recording was cut off here: its writer did not come to its end";
            self.note(self.frames.position(), 0, what);
        }
        self.done = true;
    }
}

impl<R: Read + Seek> Reader<R> {
    /// Goes on at a place where this recording has been read before.
    pub fn go_to(&mut self, place: &Place) -> Result<(), ReadError> {
        let failed = |path: &Path, source| ReadError::Io { path: path.into(), source };
        self.frames.seek(place.position).map_err(|source| failed(&self.path, source))?;
        self.current = None;
        if let Some(current) = place.current {
            match self.frames.peek().map_err(|source| failed(&self.path, source))? {
                Next::Frame(_, len) if len == current.len => self.current = Some(current),
                _ => return Err(failed(&self.path, io::Error::other("it was changed while it was read"))),
            }
        }
        self.damage.truncate(place.damage);
        (self.next_sequence, self.ended, self.done) = (place.next_sequence, place.ended, place.done);
        Ok(())
    }
}

/// Opcode and body of the record that begins at `at` in a chunk's body.
fn record_at(body: &[u8], at: usize) -> Option<(u8, Range<usize>)> {
    let record = &body[at..];
    let begin = at + FRAME_HEAD;
    let len = if record.len() < FRAME_HEAD { return None } else { le64(&record[1..]) };
    (len <= (body.len() - begin) as u64).then(|| (record[0], begin..begin + len as usize))
}

/// Whether the fields of a schema, channel or message index are as long as the record.
fn fills_its_length(opcode: u8, body: &[u8]) -> bool {
    let strings = match opcode {
        op::SCHEMA => body.get(2..),
        op::CHANNEL => body.get(4..),
        _ => None,
    };
    let last = match opcode {
        op::MESSAGE_INDEX => body.get(2..),
        _ => strings.and_then(string).and_then(|(_, rest)| string(rest)).map(|(_, rest)| rest),
    };
    let counted = last.and_then(|last| last.split_first_chunk());
    counted.is_some_and(|(len, rest)| u32::from_le_bytes(*len) as usize == rest.len())
}

/// A string with its length before it, and what follows.
fn string(data: &[u8]) -> Option<(&str, &[u8])> {
    let (len, rest) = data.split_first_chunk()?;
    let (text, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
    Some((std::str::from_utf8(text).ok()?, rest))
}

/// Name and entries of a metadata record.
fn metadata(body: &[u8]) -> Option<(&str, BTreeMap<String, String>)> {
    let (name, rest) = string(body)?;
    let (len, mut rest) = rest.split_first_chunk()?;
    if u32::from_le_bytes(*len) as usize != rest.len() {
        return None;
    }
    let mut map = BTreeMap::new();
    while !rest.is_empty() {
        let (key, after) = string(rest)?;
        let (value, after) = string(after)?;
        map.insert(key.to_owned(), value.to_owned());
        rest = after;
    }
    Some((name, map))
}

/// Name, media type and place of the bytes of an attachment whose CRC holds.
fn attachment(body: &[u8]) -> Option<(String, String, Range<usize>)> {
    let (fields, crc) = body.split_at_checked(body.len().checked_sub(4)?)?;
    let (name, rest) = string(fields.get(16..)?)?;
    let (media_type, rest) = string(rest)?;
    let (len, bytes) = rest.split_first_chunk()?;
    let whole =
        u64::from_le_bytes(*len) == bytes.len() as u64 && [0, crc32fast::hash(fields)].contains(&le32(crc));
    let begin = fields.len() - bytes.len();
    whole.then(|| (name.to_owned(), media_type.to_owned(), begin..fields.len()))
}

/// Whether recordings with that profile are read.
fn is_read(profile: &str) -> bool {
    profile == PROFILE || EARLIER.contains(&profile)
}
