//! Recordings: what was seen of a guest, in a file that opens elsewhere and after any accident.
//!
//! # The container
//!
//! A recording is an [MCAP](https://mcap.dev/spec) file: an open format with independent tools, append-only, chunked, with a
//! CRC for each chunk, attachments and metadata. The alternatives were a format of our own (no tools, the same work) and
//! SQLite (a write-ahead log to recover, slower by far). This is what we do with it:
//!
//! - **Chunks** of about 1 MiB, and at least one a second, each written with one `write` when it is complete. Killed at
//!   any moment, the file has everything but the last chunk.
//! - **No compression.** Blocks are written while the guest runs, often on the same cores; lz4 would take about a core at the
//!   rates that are wanted here, and change what is measured. Compress the finished file if you like.
//! - **No message index**: readers here go through a file once. Chunk indexes and statistics are there for other tools.
//! - Every message has a **sequence number**, without gaps over the whole file, so a reader knows how many it misses.
//!
//! # The name
//!
//! A recording is written as `NAME.partial` and renamed to `NAME` when it is finished, so that no half-written file ever has
//! the final name. After SIGKILL or a full disk the partial file stays and is a good recording of what came before:
//! [`open`] takes it where there is no finished one. What is not a regular file (`/dev/stdout`, a FIFO) is
//! written directly. A partial file that another process still writes is never touched (it is locked).
//!
//! # Contents, in this order
//!
//! | MCAP record | what | content |
//! |---|---|---|
//! | metadata `uniprof.session` | [`SessionInfo`] | one entry per field, each value JSON; `crc` is the CRC-32 of all the others |
//! | attachment `symbols/…` | the ELF's symbols | zstd, as the caller made it |
//! | message `region` | [`Body::Region`] | header page and tables of the region as they lay in memory, at the start, every second, and at the end |
//! | message `vcpuN/core`, `vcpuN/events` | [`Body::Block`], [`Body::Counters`] | raw records of a ring; its counters |
//! | message `clock` | [`Body::Clock`] | host clocks and guest TSC |
//! | message `console` | [`Body::Console`] | a line of the console |
//! | message `histograms` | [`Body::Histograms`] | histograms since the guest's boot, all vCPUs together, whenever they changed: at the start, every second, and at the end |
//! | message `heap` | [`Body::Heap`] | sampled blocks that were allocated at one moment: at the start where the guest was running already, and at the end |
//! | message `network` | [`Body::Network`] | interfaces and connections: at the start, every ten seconds those that live, and at the end |
//! | message `end` | [`Body::End`] | why it ended, JSON; missing in a recording that was cut off |
//!
//! A message's `log_time` is the host's wall clock and its `publish_time` the host's monotonic clock, both in nanoseconds.
//! Its data begins with one word that says all that a reader needs, so a lost channel record costs nothing. All numbers
//! are little-endian.
//!
//! ```text
//!  word 0    kind:8 │ ring:8 │ vCPU:16 │ session:32
//!
//!  1 region    guest-physical address │ bytes …
//!  2 block     position of the first word │ 1 if slot counters follow, else 0 │ [16 counters] │ record words …
//!  3 counters  head │ final:1 │ 16 refused counters │ slots × 16 committed counters …
//!  4 clock     guest TSC │ uncertainty in ns
//!  5 console   continued:1 │ bytes …
//!  6 end       JSON …
//!  7 histograms  each: site │ count │ sum │ maximum │ n │ n × (bucket │ its count)
//!  8 heap      torn │ each: address │ bytes │ weight │ TSC │ thread:32 n:32 │ n × return address
//!  9 network   opened │ ended │ no room │ of them ended │ torn │ n │ n × (number │ interface of 31 words) │ each: connection of 15 words
//! ```

mod file;
mod frame;
mod message;
mod reader;
mod session;
mod writer;

pub use file::{FileError, Opened, RecordingFile, open, partial_path};
pub use message::{Body, ClockPair, Message, RingCounters, RingId};
pub use reader::{Attachment, Damage, Item, Place, ReadError, Reader};
pub use session::{HostFacts, LoadedImage, SessionInfo};
pub use writer::{RecordError, Writer};

/// Largest record that a reader takes: an attachment of symbols may be this large.
pub const MAX_RECORD: u64 = 256 << 20;
/// Size from which on a chunk is closed.
const CHUNK_BYTES: u64 = 1 << 20;
/// Name of the metadata record.
const SESSION: &str = "uniprof.session";
/// MCAP profile and message encoding, with the wire version of the records in it.
const PROFILE: &str = "uniprof/4";
/// Earlier versions that are still read: what they have means the same.
const EARLIER: [&str; 1] = ["uniprof/3"];
const _: () = assert!(uniprof_wire::WIRE_VERSION == 4, "name the version in PROFILE");
const _: () = assert!(uniprof_wire::OLDEST_VERSION == 3, "name the versions in EARLIER");

#[cfg(test)]
mod tests;
