//! Memory as bytes: pieces of it, and where a value occurs.

use std::ops::Range;

use uniprof_collector::memory::MemoryError;
use uniprof_collector::paging::Mapping;
use uniprof_wire::address::{GuestPhysical, GuestVirtual};

use crate::owner::{self, Owner};
use crate::subject::Subject;

/// Bytes of a [`Row`].
pub const ROW_BYTES: u64 = 16;
/// How much is read at a time while searching.
const BLOCK: u64 = 1 << 20;
/// Page table entries that are looked at to learn under which addresses physical memory is seen.
const MOST_ENTRIES: usize = 1 << 20;

/// Sixteen bytes of memory, or as many of them as were asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The address of the first.
    pub at: u64,
    /// The bytes, or why they can't be read.
    pub bytes: Result<Vec<u8>, String>,
    /// What their words point to, by the word's index.
    pub points_to: Vec<(usize, Owner)>,
}

/// `len` bytes of guest-virtual memory.
#[must_use]
pub fn rows(subject: &Subject, at: GuestVirtual, len: u64) -> Vec<Row> {
    let starts = (0..len).step_by(ROW_BYTES as usize);
    starts
        .map_while(|start| Some((at.0.checked_add(start)?, (len - start).min(ROW_BYTES))))
        .map(|(at, len)| {
            let mut bytes = vec![0; len as usize];
            let read = subject.space.read(GuestVirtual(at), &mut bytes);
            row(subject, at, read.map(|()| bytes).map_err(|error| error.to_string()))
        })
        .collect()
}

/// `len` bytes of guest-physical memory.
#[must_use]
pub fn physical_rows(subject: &Subject, at: GuestPhysical, len: u64) -> Vec<Row> {
    let starts = (0..len).step_by(ROW_BYTES as usize);
    starts
        .map_while(|start| Some((at.0.checked_add(start)?, (len - start).min(ROW_BYTES))))
        .map(|(at, len)| {
            let mut bytes = vec![0; len as usize];
            let read = subject.memory.read(GuestPhysical(at), &mut bytes);
            row(subject, at, read.map(|()| bytes).map_err(|error| error.to_string()))
        })
        .collect()
}

fn row(subject: &Subject, at: u64, bytes: Result<Vec<u8>, String>) -> Row {
    let words = bytes.as_ref().map_or(&[][..], |bytes| bytes.as_chunks::<8>().0);
    let words = words.iter().map(|word| GuestVirtual(u64::from_le_bytes(*word))).enumerate();
    let points_to = words.filter_map(|(index, word)| Some((index, owner::of(subject, word)?))).collect();
    Row { at, bytes, points_to }
}

/// A place where a value was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// In physical memory.
    pub physical: GuestPhysical,
    /// As the guest's code sees it; `None` where no page table leads there.
    pub seen_at: Option<GuestVirtual>,
    /// What it belongs to.
    pub owner: Option<Owner>,
}

/// What a search came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hits {
    /// The first places, in the order of physical memory.
    pub hits: Vec<Hit>,
    /// How many there are in all.
    pub total: u64,
    /// Bytes that were searched.
    pub searched: u64,
    /// Memory that could not be read.
    pub unreadable: u64,
}

/// Looks for `needle` in all memory, at addresses that are multiples of `align`. The first `most` places are told.
pub fn find(subject: &Subject, needle: &[u8], align: usize, most: usize) -> Result<Hits, MemoryError> {
    let mut found = Hits::default();
    let align = align.max(1);
    let mut places = Vec::new();
    if needle.is_empty() {
        return Ok(found);
    }
    for range in subject.memory.resident()? {
        let mut at = range.start.0;
        while at < range.end.0 {
            // What begins in a block may end in the next.
            let end = range.end.0.min(at.saturating_add(BLOCK));
            let beyond = range.end.0.min(end.saturating_add(needle.len() as u64 - 1));
            let mut bytes = vec![0; (beyond - at) as usize];
            if subject.memory.read(GuestPhysical(at), &mut bytes).is_err() {
                found.unreadable += end - at;
            } else {
                found.searched += end - at;
                for offset in offsets(&bytes, needle, align, at) {
                    found.total += 1;
                    if places.len() < most {
                        places.push(GuestPhysical(at + offset as u64));
                    }
                }
            }
            at = end;
        }
    }
    let mappings = Mappings::of(subject);
    found.hits = places.into_iter().map(|physical| hit(subject, &mappings, physical)).collect();
    Ok(found)
}

fn offsets<'a>(bytes: &'a [u8], needle: &'a [u8], align: usize, at: u64) -> impl Iterator<Item = usize> + 'a {
    let first = (at.wrapping_neg() % align as u64) as usize;
    let starts = (first..bytes.len().saturating_sub(needle.len() - 1)).step_by(align);
    starts.filter(move |start| bytes[*start] == needle[0] && bytes[*start..].starts_with(needle))
}

fn hit(subject: &Subject, mappings: &Mappings, physical: GuestPhysical) -> Hit {
    let seen_at = mappings.seen_at(physical);
    let owner = seen_at.and_then(|at| owner::of(subject, at));
    Hit { physical, seen_at, owner }
}

/// Under which guest-virtual addresses physical memory is seen.
struct Mappings(Option<Vec<Mapping>>);

impl Mappings {
    fn of(subject: &Subject) -> Self {
        Self(subject.space.mappings(MOST_ENTRIES).map(|(mappings, _)| mappings))
    }

    fn seen_at(&self, physical: GuestPhysical) -> Option<GuestVirtual> {
        let Some(mappings) = &self.0 else { return Some(GuestVirtual(physical.0)) };
        mappings.iter().find_map(|mapping| {
            let start = mapping.to.physical.0;
            let within: Range<u64> = start..start.saturating_add(mapping.len);
            within
                .contains(&physical.0)
                .then(|| GuestVirtual(mapping.start.0.wrapping_add(physical.0 - start)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_needle_is_found_at_aligned_addresses_only() {
        let bytes = *b"..needle..needle";
        let all: Vec<usize> = offsets(&bytes, b"needle", 1, 0).collect();
        assert_eq!(all, [2, 10]);
        let aligned: Vec<usize> = offsets(&bytes, b"needle", 8, 6).collect();
        assert_eq!(aligned, [2, 10]);
        assert_eq!(offsets(&bytes, b"needle", 8, 0).count(), 0);
        assert_eq!(offsets(b"need", b"needle", 1, 0).count(), 0);
    }
}
