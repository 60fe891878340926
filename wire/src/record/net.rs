//! Packets, and how connections change.

use super::{BadRecord, Text, high, low, pair};
use crate::net::{ConnectionState, Direction, Endpoints, Protocol, Verdict};
use crate::text;

/// Most bytes that are kept of one packet.
pub const MAX_PACKET_BYTES: usize = 2048;
/// Bytes that are kept of each packet where nobody says how many.
pub const DEFAULT_PACKET_BYTES: u32 = 128;
/// Payload words of a packet before its bytes.
pub const PACKET_HEAD: usize = 3;

/// A packet came in or went out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketRecord<'a> {
    /// When.
    pub tsc: u64,
    /// On which thread; 0 outside threads.
    pub thread: u32,
    /// Through which interface: its slot in the network table.
    pub interface: u8,
    /// Which way.
    pub direction: Direction,
    /// What became of it.
    pub verdict: Verdict,
    /// How long it was.
    pub original: u32,
    /// Its first bytes.
    pub bytes: Text<'a>,
}

/// A connection went from one state to another. That of its end says all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionRecord {
    /// When.
    pub tsc: u64,
    /// On which thread; 0 outside threads.
    pub thread: u32,
    /// Its number.
    pub id: u64,
    /// What it speaks.
    pub protocol: Protocol,
    /// The state that it was in; [`ConnectionState::Closed`] when it is opened.
    pub old: ConnectionState,
    /// The state that it is in.
    pub new: ConnectionState,
    /// From where to where.
    pub ends: Endpoints,
    /// The thread that serves it; 0 none, or unknown.
    pub served_by: u32,
    /// Bytes that it has brought so far.
    pub bytes_in: u64,
    /// Bytes that it has taken away so far.
    pub bytes_out: u64,
    /// When it was opened, TSC.
    pub opened: u64,
}

impl<'a> PacketRecord<'a> {
    pub(super) const fn head(&self) -> [u64; 2] {
        let shape = self.interface as u32 | (self.direction as u32) << 8 | (self.verdict as u32) << 16;
        [pair(self.thread, shape), pair(self.original, self.bytes.len() as u32)]
    }

    pub(super) fn decode(tsc: u64, shape: u64, rest: &'a [u64]) -> Result<Self, BadRecord> {
        let [lengths, words @ ..] = rest else { return Err(BadRecord::Length) };
        let kept = high(*lengths) as usize;
        if kept > MAX_PACKET_BYTES || words.len() != text::words_for(kept) {
            return Err(BadRecord::Length);
        }
        let [interface, direction, verdict, none] = high(shape).to_le_bytes();
        let direction = *Direction::ALL.get(usize::from(direction)).ok_or(BadRecord::Payload)?;
        let verdict = Verdict::from_number(verdict).ok_or(BadRecord::Payload)?;
        let original = low(*lengths);
        if none != 0 || kept > original as usize {
            return Err(BadRecord::Payload);
        }
        let bytes = Text::Words(words, kept);
        Ok(Self { tsc, thread: low(shape), interface, direction, verdict, original, bytes })
    }
}

impl ConnectionRecord {
    pub(super) const fn head(&self) -> [u64; 10] {
        let families = self.ends.families();
        let shape = u32::from_le_bytes([self.old as u8, self.new as u8, self.protocol as u8, families]);
        let [ports, local_low, local_high, remote_low, remote_high] = self.ends.to_words();
        [
            pair(self.thread, shape),
            self.id,
            ports | (self.served_by as u64) << 32,
            local_low,
            local_high,
            remote_low,
            remote_high,
            self.bytes_in,
            self.bytes_out,
            self.opened,
        ]
    }

    pub(super) fn decode(tsc: u64, shape: u64, rest: &[u64]) -> Result<Self, BadRecord> {
        let &[id, ports, l0, l1, r0, r1, bytes_in, bytes_out, opened] = rest else {
            return Err(BadRecord::Length);
        };
        let [old, new, protocol, families] = high(shape).to_le_bytes();
        let state = |number| ConnectionState::from_number(number).ok_or(BadRecord::Payload);
        let ends = Endpoints::from_words(families, [ports, l0, l1, r0, r1]).ok_or(BadRecord::Payload)?;
        Ok(Self {
            tsc,
            thread: low(shape),
            id,
            protocol: Protocol::from_number(protocol),
            old: state(old)?,
            new: state(new)?,
            ends,
            served_by: high(ports),
            bytes_in,
            bytes_out,
            opened,
        })
    }
}
