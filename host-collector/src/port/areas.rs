//! What changes slowly in the guest, put together from the pieces that come over the line.

use uniprof_wire::{
    layout::Geometry,
    site::MAX_SECTION_BYTES,
    stream::{Area, Words},
};

use crate::{histograms::Histograms, live_blocks::LiveBlocks, network::Network};

/// A piece, as it came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece<'a> {
    pub(super) area: Area,
    pub(super) all: bool,
    pub(super) number: u32,
    pub(super) first: u64,
    pub(super) total: u64,
    pub(super) words: Words<'a>,
}

/// Copies of all areas.
#[derive(Debug, Default)]
pub(super) struct Areas([Copy; Area::ALL.len()]);

#[derive(Debug, Default)]
struct Copy {
    words: Vec<u64>,
    /// Pieces of the round that is under way; `None`: one is missing, or its beginning was not heard.
    heard: Option<u32>,
    /// Nothing is missing of what the guest has sent.
    is_whole: bool,
}

impl Areas {
    /// Takes in a piece of a guest with this geometry. Whether it ends a round after which the area is whole.
    pub(super) fn take(&mut self, piece: Piece<'_>, geometry: Geometry) -> bool {
        let total = match piece.area {
            Area::Sites => usize::try_from(piece.total).unwrap_or(usize::MAX),
            Area::Heap => geometry.heap_bytes() / 8,
            Area::Histograms => geometry.histogram_bytes() / 8,
            Area::Net => geometry.net_bytes() / 8,
        };
        if piece.total != total as u64 || total > most_words(geometry) {
            return false;
        }
        self.0[piece.area as usize].take(piece, total)
    }

    /// Its words, if nothing of it is missing.
    pub(super) fn get(&self, area: Area) -> Option<&[u64]> {
        let copy = &self.0[area as usize];
        copy.is_whole.then_some(&copy.words)
    }

    /// It is to come anew: what there is of it is old.
    pub(super) fn forget(&mut self, area: Area) {
        self.0[area as usize] = Copy::default();
    }

    /// The line is another one: pieces may have been lost between the two.
    pub(super) fn disconnected(&mut self) {
        for copy in &mut self.0 {
            (copy.heard, copy.is_whole) = (None, false);
        }
    }

    /// The sum of all vCPUs' histograms, if they are whole.
    pub(super) fn histograms(&self, geometry: Geometry) -> Option<Histograms> {
        self.get(Area::Histograms).map(|table| Histograms::of_table(table, geometry))
    }

    /// The sampled blocks of the heap, if they are whole.
    pub(super) fn live_blocks(&self, geometry: Geometry) -> Option<LiveBlocks> {
        LiveBlocks::of_table(self.get(Area::Heap)?, geometry)
    }

    /// Interfaces and connections, if they are whole.
    pub(super) fn network(&self, geometry: Geometry) -> Option<Network> {
        Network::of_table(self.get(Area::Net)?, geometry)
    }
}

impl Copy {
    fn take(&mut self, piece: Piece<'_>, total: usize) -> bool {
        if piece.number == 0 {
            self.heard = Some(0);
        }
        if self.heard != Some(piece.number) {
            (self.heard, self.is_whole) = (None, false);
            return false;
        }
        if piece.words.is_empty() {
            self.heard = None;
            self.words.resize(total, 0);
            self.is_whole |= piece.all;
            return self.is_whole;
        }
        if piece.all && piece.number == 0 && !self.is_whole {
            self.words.clear();
        }
        self.words.resize(total, 0);
        let first = usize::try_from(piece.first).unwrap_or(usize::MAX);
        let Some(to) = self.words.get_mut(first..).and_then(|rest| rest.get_mut(..piece.words.len())) else {
            return false;
        };
        to.iter_mut().zip(piece.words.iter()).for_each(|(to, word)| *to = word);
        self.heard = Some(piece.number.saturating_add(1));
        false
    }
}

/// More than any area of such a guest has.
fn most_words(geometry: Geometry) -> usize {
    (MAX_SECTION_BYTES / 8).max(geometry.region_bytes() / 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn geometry() -> Geometry {
        Geometry::with_ring_bytes(1, 16 << 10).unwrap()
    }

    fn piece(number: u32, first: u64, words: &[u64], all: bool) -> Piece<'_> {
        Piece { area: Area::Sites, all, number, first, total: 8, words: Words::Native(words) }
    }

    #[test]
    fn an_area_is_whole_once_a_round_with_all_of_it_has_come() {
        let (mut areas, geometry) = (Areas::default(), geometry());
        // The end of a round whose beginning was said to somebody else.
        assert!(!areas.take(piece(3, 0, &[9], false), geometry));
        assert!(!areas.take(piece(4, 8, &[], false), geometry));
        // A round of changes is not all of it.
        assert!(!areas.take(piece(0, 1, &[9], false), geometry));
        assert!(!areas.take(piece(1, 8, &[], false), geometry));
        assert_eq!(areas.get(Area::Sites), None);
        assert!(!areas.take(piece(0, 2, &[1, 2], true), geometry));
        assert!(areas.take(piece(1, 8, &[], true), geometry));
        assert_eq!(
            areas.get(Area::Sites),
            Some(&[0, 0, 1, 2, 0, 0, 0, 0][..]),
            "what was there before is gone"
        );
        assert!(!areas.take(piece(0, 7, &[5], false), geometry));
        assert!(areas.take(piece(1, 8, &[], false), geometry));
        assert_eq!(areas.get(Area::Sites), Some(&[0, 0, 1, 2, 0, 0, 0, 5][..]));
        // One that is lost.
        assert!(!areas.take(piece(0, 0, &[5], false), geometry));
        assert!(!areas.take(piece(2, 8, &[], false), geometry));
        assert_eq!(areas.get(Area::Sites), None);
    }

    #[test]
    fn a_guest_that_lies_of_sizes_fills_no_memory() {
        let (mut areas, geometry) = (Areas::default(), geometry());
        let huge = Piece { total: 1 << 60, ..piece(0, 1 << 59, &[1], true) };
        assert!(!areas.take(huge, geometry));
        let other = Piece { area: Area::Histograms, total: 8, ..piece(0, 0, &[1], true) };
        assert!(!areas.take(other, geometry), "this guest has no histograms");
        assert!(!areas.take(Piece { first: 8, ..piece(0, 0, &[1], true) }, geometry));
    }
}
