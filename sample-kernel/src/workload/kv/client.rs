//! The other side of the connection: makes requests as text, the same ones in every run.

use alloc::string::String;
use core::fmt::Write;

use super::hash::hash;

/// Keys in use: enough for a tree of several levels in each shard.
const KEYS: u64 = 20_000;
const SCAN_LIMIT: u64 = 24;

pub(super) struct Client {
    random: u64,
    text: String,
    /// Of all answers, so that none is made in vain.
    checksum: u64,
}

impl Client {
    pub(super) fn new(vcpu: u32) -> Self {
        Self { random: 0x9e37_79b9_7f4a_7c15 ^ u64::from(vcpu + 1) << 20, text: String::new(), checksum: 0 }
    }

    /// Six in ten read, three write, the rest scan or delete. Low keys are asked for more often than high ones.
    #[inline(never)]
    pub(super) fn next_request(&mut self) -> &str {
        let key = self.below(KEYS).min(self.below(KEYS));
        let kind = self.below(100);
        let size = 8 + self.below(48) as usize;
        let limit = 1 + self.below(SCAN_LIMIT);
        self.text.clear();
        // Writing to a string does not fail.
        let _ = match kind {
            0..60 => write!(self.text, "get user:{key:06}"),
            60..90 => self.write_put(key, size),
            90..96 => write!(self.text, "scan user:{key:06} {limit}"),
            _ => write!(self.text, "delete user:{key:06}"),
        };
        &self.text
    }

    /// Length of the request that was made last.
    #[cfg(not(feature = "no-probes"))]
    pub(super) fn request_bytes(&self) -> usize {
        self.text.len()
    }

    fn write_put(&mut self, key: u64, size: usize) -> core::fmt::Result {
        write!(self.text, "put user:{key:06} ")?;
        let mut digits = self.next();
        for _ in 0..size {
            self.text.push(char::from(b'a' + (digits % 26) as u8));
            digits = digits.rotate_right(5);
        }
        Ok(())
    }

    /// Reads an answer.
    pub(super) fn take_answer(&mut self, answer: &str) {
        self.checksum ^= hash(answer.as_bytes());
    }

    /// xorshift64.
    fn next(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    #[inline(always)]
    fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 11) % bound
    }
}
