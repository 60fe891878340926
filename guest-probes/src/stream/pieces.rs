//! What changes slowly and is large: sites, heap table, histograms, network table. A host that wants an area gets a round of pieces, those that have changed
//! since the round before; a sum of each piece tells. Records go first: a piece is little, and goes in between.

use uniprof_wire::layout::Geometry;
use uniprof_wire::ring::ReaderWords;
use uniprof_wire::stream::{Area, HEADER_WORDS, PIECE_HEAD, PIECE_WORDS, piece_head};

use crate::region::Region;
use crate::sites;

/// Pieces that are looked at in one step: as much as a sub-buffer of the largest kind.
const LOOKED_AT: usize = 64;
/// Frames with records, of which there are more, for one piece.
const SHARE: u32 = 8;

/// A round of each area, under way or not.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    rounds: [Round; Area::ALL.len()],
    /// Areas that this host has wanted: their last round goes before the last tables.
    wanted: u8,
    /// Frames with records since the last piece.
    since: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Round {
    active: bool,
    /// Brings all that is not zero.
    all: bool,
    /// Another one was wanted meanwhile; then whether it is to bring all.
    next: Option<bool>,
    /// The piece that is looked at next.
    piece: usize,
    sent: u32,
}

/// What there was to say.
pub(super) enum Found {
    /// A payload of so many words, behind the frame's header.
    Piece(usize),
    /// Nothing yet; there is more to look at.
    Looking,
    Nothing,
}

impl Pieces {
    /// A sum for each piece of each area.
    pub(super) fn sums(geometry: Geometry) -> usize {
        Area::ALL.iter().map(|area| words_of(*area, geometry).div_ceil(PIECE_WORDS)).sum()
    }

    /// A host has come.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Begins a round of these areas, or another one after that which is under way.
    pub(super) fn want(&mut self, areas: u8, all: bool) {
        for area in Area::ALL.into_iter().filter(|area| areas & area.bit() != 0) {
            self.wanted |= area.bit();
            let round = &mut self.rounds[area as usize];
            if round.active {
                round.next = Some(all || round.next == Some(true));
            } else {
                *round = Round { active: true, all, ..Round::default() };
            }
        }
    }

    /// The last words of all that was wanted.
    pub(super) fn want_again(&mut self) {
        self.want(self.wanted, false);
    }

    /// Whether it is a piece's turn, while there are records to send.
    pub(super) fn have_waited(&mut self) -> bool {
        self.since = self.since.saturating_add(1);
        self.since > SHARE
    }

    /// Puts the next piece behind the header of `frame`.
    pub(super) fn compose(&mut self, region: &Region, frame: &mut [u64], sums: &mut [u64]) -> Found {
        self.since = 0;
        let mut first_sum = 0;
        for area in Area::ALL {
            let total = words_of(area, region.geometry);
            let pieces = total.div_ceil(PIECE_WORDS);
            let sums = sums.get_mut(first_sum..first_sum + pieces).unwrap_or_default();
            first_sum += pieces;
            let round = &mut self.rounds[area as usize];
            if round.active {
                let found = round.step(region, (area, total), frame, sums);
                return found.map_or(Found::Looking, Found::Piece);
            }
        }
        Found::Nothing
    }
}

impl Round {
    fn step(
        &mut self,
        region: &Region,
        (area, total): (Area, usize),
        frame: &mut [u64],
        sums: &mut [u64],
    ) -> Option<usize> {
        let (head, words) = frame.get_mut(HEADER_WORDS..)?.split_at_mut_checked(PIECE_HEAD)?;
        for _ in 0..LOOKED_AT {
            let first = self.piece * PIECE_WORDS;
            let Some(known) = sums.get_mut(self.piece) else {
                head.copy_from_slice(&piece_head(area, self.all, self.sent, total as u64, total as u64));
                *self = Self { active: self.next.is_some(), all: self.next == Some(true), ..Self::default() };
                return Some(PIECE_HEAD);
            };
            let words = words.get_mut(..PIECE_WORDS.min(total - first))?;
            copy(region, area, first, words);
            let sum = sum_of(words);
            self.piece += 1;
            if (self.all && sum != 0) || *known != sum {
                *known = sum;
                head.copy_from_slice(&piece_head(area, self.all, self.sent, first as u64, total as u64));
                self.sent += 1;
                return Some(PIECE_HEAD + words.len());
            }
        }
        None
    }
}

fn words_of(area: Area, geometry: Geometry) -> usize {
    match area {
        Area::Sites => sites::section_words(),
        Area::Heap => geometry.heap_bytes() / 8,
        Area::Histograms => geometry.histogram_bytes() / 8,
        Area::Net => geometry.net_bytes() / 8,
    }
}

fn copy(region: &Region, area: Area, first: usize, out: &mut [u64]) {
    let start = match area {
        Area::Sites => return sites::copy_section(first, out),
        Area::Heap => region.geometry.heap_keys(),
        Area::Histograms => region.geometry.histogram_table(0),
        Area::Net => region.geometry.net_table(),
    };
    ReaderWords::copy(&region.words.at_byte(start), first, out);
}

/// FNV-1a, word by word; 0 for zeros, which nobody needs to be told of, and for nothing else.
fn sum_of(words: &[u64]) -> u64 {
    if words.iter().all(|word| *word == 0) {
        return 0;
    }
    words.iter().fold(0xcbf2_9ce4_8422_2325, |sum, word| (sum ^ word).wrapping_mul(0x100_0000_01b3)) | 1
}
