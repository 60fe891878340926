//! Places of a recording with all that had come by then: to go back costs no more than to read on from the nearest.
//!
//! ```text
//!   begin ──────┴──────┴──────┴──────┴── read up to here          when there are too many, every other one goes:
//!   begin ─────────────┴─────────────┴──────────────┴── read up to here
//! ```

use uniprof_collector::recording::Place;

use crate::monitor::model::{Model, State};

/// Bytes of the recording from one to the next, at least: they are read in a few hundredths of a second.
const SPAN: u64 = 4 << 20;
/// Bytes that all take together, at most: seven of a guest that fills everything, so that of a recording of 1 GB an eighth is read again. And how
/// many there are.
const MOST_BYTES: usize = 192 << 20;
const MOST: usize = 32;

/// The places.
pub(super) struct Checkpoints {
    kept: Vec<Checkpoint>,
    /// Bytes of the recording from one to the next.
    span: u64,
    most_bytes: usize,
}

/// One of them.
pub(super) struct Checkpoint {
    pub(super) place: Place,
    /// Up to where it had been read, by the collector's clock.
    pub(super) position: u64,
    pub(super) state: State,
}

impl Default for Checkpoints {
    fn default() -> Self {
        Self::every(SPAN, MOST_BYTES)
    }
}

impl Checkpoints {
    /// None yet; so many bytes of the recording apart, if they do not take more than `most_bytes` then.
    pub(super) fn every(span: u64, most_bytes: usize) -> Self {
        Self { kept: Vec::new(), span, most_bytes }
    }

    /// None ever: for who does not go back.
    pub(super) fn none() -> Self {
        Self::every(u64::MAX, 0)
    }

    /// Notes a place, where it is far enough from the last.
    pub(super) fn note(&mut self, place: Place, position: u64, model: &Model) {
        let last = self.kept.last().map_or(0, |last| last.place.offset());
        if place.offset().saturating_sub(last) < self.span {
            return;
        }
        self.kept.push(Checkpoint { place, position, state: model.state() });
        while !self.kept.is_empty() && (self.kept.len() > MOST || self.bytes() > self.most_bytes) {
            // The last of an even number stays: the next is that much farther away.
            let mut number = 0;
            self.kept.retain(|_| {
                number += 1;
                number % 2 == 0
            });
            self.span = self.span.saturating_mul(2);
        }
    }

    /// The last before a moment.
    pub(super) fn before(&self, target: f64) -> Option<&Checkpoint> {
        self.kept.iter().rev().find(|one| (one.position as f64) < target)
    }

    fn bytes(&self) -> usize {
        self.kept.iter().map(|one| one.state.bytes()).sum()
    }
}

#[cfg(test)]
impl Checkpoints {
    pub(super) fn count(&self) -> usize {
        self.kept.len()
    }

    pub(super) fn is_bounded(&self) -> bool {
        self.kept.len() <= MOST && self.bytes() <= self.most_bytes
    }
}
