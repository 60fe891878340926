//! Ranges that may lie over each other, made into ranges that do not.
//!
//! Dumps describe the same memory more than once: an ELF core taken with `paging=true` has a segment for each virtual mapping of
//! a page, and a flattened file writes its header twice.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::Fault;

/// Physical addresses of x86-64 have at most 52 bits.
const MOST_MEMORY: u64 = 1 << 52;

/// Where the bytes of a range are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In the file, from this offset.
    Stored(u64),
    /// Nowhere: they are zeros.
    Zeros,
    /// Nowhere, and what they were is not known.
    Lost(&'static str),
}

impl Place {
    fn skip(self, bytes: u64) -> Self {
        match self {
            Self::Stored(offset) => Self::Stored(offset + bytes),
            other => other,
        }
    }
}

/// A range of addresses. Of those that overlap, the one with the higher rank counts, and of equals the earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layer {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) rank: u32,
    pub(super) place: Place,
}

/// A range of addresses that no other overlaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) place: Place,
}

impl Piece {
    /// Where the bytes from `at`, which lies inside, are.
    pub(super) fn place_of(&self, at: u64) -> Place {
        self.place.skip(at - self.start)
    }
}

#[derive(PartialEq, Eq)]
struct Ranked {
    rank: u32,
    index: usize,
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank.cmp(&other.rank).then(other.index.cmp(&self.index))
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// What is to be seen of layers from above, in rising order; neighbours that continue each other are joined. There are at most
/// twice as many pieces as layers.
pub(super) fn seen(mut layers: Vec<Layer>) -> Vec<Piece> {
    layers.retain(|layer| layer.start < layer.end);
    // A stable sort: the order in which equals came is kept.
    layers.sort_by_key(|layer| layer.start);
    let mut pieces: Vec<Piece> = Vec::new();
    let mut open: BinaryHeap<Ranked> = BinaryHeap::new();
    let (mut next, mut at) = (0, 0);
    loop {
        while let Some(layer) = layers.get(next).filter(|layer| layer.start <= at || open.is_empty()) {
            at = at.max(layer.start);
            open.push(Ranked { rank: layer.rank, index: next });
            next += 1;
        }
        let Some(top) = open.peek().map(|top| layers[top.index]) else { return pieces };
        if top.end <= at {
            open.pop();
            continue;
        }
        let end = layers.get(next).map_or(top.end, |layer| layer.start.min(top.end));
        add(&mut pieces, Piece { start: at, end, place: top.place.skip(at - top.start) });
        at = end;
    }
}

fn add(pieces: &mut Vec<Piece>, piece: Piece) {
    match pieces.last_mut() {
        Some(last) if last.end == piece.start && last.place_of(piece.start) == piece.place => {
            last.end = piece.end;
        }
        _ => pieces.push(piece),
    }
}

/// Refuses memory that can't be: beyond what page tables can address, or larger than the file that holds it, which would take
/// longer to scan than its size tells.
pub(super) fn check(pieces: &[Piece], size: u64) -> Result<(), Fault> {
    let Some(last) = pieces.last() else { return Err(Fault::Damaged("it describes no memory".into())) };
    if last.end > MOST_MEMORY {
        return Err(Fault::Damaged(format!(
            "it claims memory up to {:#x}, where there can be none",
            last.end
        )));
    }
    let stored = pieces
        .iter()
        .filter(|piece| matches!(piece.place, Place::Stored(_)))
        .map(|piece| u128::from(piece.end - piece.start))
        .sum::<u128>();
    if stored > u128::from(size) {
        return Err(Fault::Damaged(format!(
            "its segments claim {stored} bytes of memory, and it has {size}: they overlap in the file"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn layer(start: u64, end: u64, rank: u32, offset: u64) -> Layer {
        Layer { start, end, rank, place: Place::Stored(offset) }
    }

    fn piece(start: u64, end: u64, offset: u64) -> Piece {
        Piece { start, end, place: Place::Stored(offset) }
    }

    #[test]
    fn a_layer_of_higher_rank_covers_the_middle_of_a_lower_one() {
        let pieces = seen(vec![layer(0, 100, 0, 1000), layer(40, 60, 1, 5000)]);
        assert_eq!(pieces, [piece(0, 40, 1000), piece(40, 60, 5000), piece(60, 100, 1060)]);
    }

    #[test]
    fn of_equals_the_earlier_counts_and_neighbours_are_joined() {
        let pieces = seen(vec![layer(10, 20, 0, 100), layer(0, 30, 0, 90), layer(30, 40, 0, 120)]);
        assert_eq!(pieces, [piece(0, 40, 90)]);
        assert_eq!(seen(vec![layer(5, 5, 0, 0), layer(7, 6, 0, 0)]), []);
    }

    proptest! {
        #[test]
        fn every_address_shows_the_layer_on_top(
            layers in prop::collection::vec((0u64..60, 0u64..40, 0u32..3), 0..12)
        ) {
            let layers: Vec<_> = layers
                .iter()
                .enumerate()
                .map(|(index, &(start, len, rank))| layer(start, start + len, rank, 1000 * index as u64))
                .collect();
            let pieces = seen(layers.clone());
            let mut sorted = layers;
            sorted.sort_by_key(|layer| layer.start);
            for at in 0..110 {
                let top = sorted.iter().rev().filter(|layer| (layer.start..layer.end).contains(&at)).max_by_key(|layer| layer.rank);
                let shown = pieces.iter().find(|piece| (piece.start..piece.end).contains(&at));
                prop_assert_eq!(shown.map(|piece| piece.place_of(at)), top.map(|layer| layer.place.skip(at - layer.start)));
            }
            prop_assert!(pieces.windows(2).all(|pair| pair[0].end <= pair[1].start));
        }
    }
}
