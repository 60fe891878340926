//! Finding the observation region.

use std::ops::Range;

use uniprof_wire::{
    address::GuestPhysical,
    layout::{HEADER_WORDS, LayoutError, MAGIC, PAGE, RegionHeader},
};

use super::{GuestMemory, Home, MemoryError};

/// How much is read at a time while scanning.
const SCAN_BYTES: usize = 1 << 20;

/// Refused pages that are told: a guest may write the magic into each of its pages.
const MOST_REFUSED: usize = 16;

/// A region that has been found and whose header has been validated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundRegion {
    /// Its first byte.
    pub at: GuestPhysical,
    /// Its header, as it was then.
    pub header: RegionHeader,
}

/// What a search came to.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Candidate {
    Region(RegionHeader),
    /// Has the magic word, and then something that must be told: another wire version, say.
    Refused(LayoutError),
    No,
}

/// Why no region was found, and what came nearest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Search {
    /// Pages whose first word was the magic but which were refused, with the reason; the first few.
    pub refused: Vec<(GuestPhysical, LayoutError)>,
    /// Bytes that were looked at.
    pub scanned: u64,
}

/// Looks for the region: at `hint` first (its ELF symbol's address, say), then wherever the memory can have it.
///
/// A header counts only where it says itself that it lies: a copy of one, in a page cache or a stack, is passed over.
/// The inner `Err` is not a failure: there is no region (yet), and this is what was seen.
pub fn find_region(
    memory: &(impl GuestMemory + ?Sized),
    hint: Option<GuestPhysical>,
) -> Result<Result<FoundRegion, Search>, MemoryError> {
    let mut search = Search::default();
    let resident = memory.resident()?;
    let ranges = if resident.is_empty() { Vec::new() } else { memory.ranges()? };
    if let Some(at) = hint {
        let followed = resident.iter().find(|range| range.contains(&at)).map(|range| range.end.0 - at.0);
        if followed.is_some_and(|bytes| bytes >= PAGE as u64)
            && let Some(found) = search.look_at(memory, &ranges, at)?
        {
            return Ok(Ok(found));
        }
    }
    for range in &resident {
        let found = match memory.home() {
            Home::Start => search.look_at(memory, &ranges, range.start)?,
            Home::AnyPage if memory.peek(range.start).is_some() => {
                search.scan_starts(memory, &ranges, range)?
            }
            Home::AnyPage => search.scan(memory, &ranges, range)?,
        };
        if let Some(found) = found {
            return Ok(Ok(found));
        }
    }
    Ok(Err(search))
}

impl Search {
    fn look_at(
        &mut self,
        memory: &(impl GuestMemory + ?Sized),
        ranges: &[Range<GuestPhysical>],
        at: GuestPhysical,
    ) -> Result<Option<FoundRegion>, MemoryError> {
        let mut bytes = [0; HEADER_WORDS * 8];
        read_what_is_there(memory, at, &mut bytes)?;
        self.scanned += bytes.len() as u64;
        Ok(self.judge(ranges, at, &bytes))
    }

    fn scan(
        &mut self,
        memory: &(impl GuestMemory + ?Sized),
        ranges: &[Range<GuestPhysical>],
        range: &Range<GuestPhysical>,
    ) -> Result<Option<FoundRegion>, MemoryError> {
        let page = PAGE as u64;
        let end = range.end.0 - range.end.0 % page;
        let Some(mut at) = range.start.0.checked_next_multiple_of(page) else { return Ok(None) };
        let mut buffer = vec![0; SCAN_BYTES];
        while at < end {
            let bytes = &mut buffer[..SCAN_BYTES.min((end - at) as usize)];
            read_what_is_there(memory, GuestPhysical(at), bytes)?;
            self.scanned += bytes.len() as u64;
            for (index, page_bytes) in bytes.chunks_exact(PAGE).enumerate() {
                if page_bytes.starts_with(&MAGIC.to_le_bytes()) {
                    let place = GuestPhysical(at + (index * PAGE) as u64);
                    if let Some(found) = self.judge(ranges, place, page_bytes) {
                        return Ok(Some(found));
                    }
                }
            }
            at += bytes.len() as u64;
        }
        Ok(None)
    }

    /// Looks at the first word of each page, and at the page where that is the magic.
    fn scan_starts(
        &mut self,
        memory: &(impl GuestMemory + ?Sized),
        ranges: &[Range<GuestPhysical>],
        range: &Range<GuestPhysical>,
    ) -> Result<Option<FoundRegion>, MemoryError> {
        let page = PAGE as u64;
        let Some(first) = range.start.0.checked_next_multiple_of(page) else { return Ok(None) };
        for at in (first..range.end.0 - range.end.0 % page).step_by(PAGE) {
            let word = match memory.peek(GuestPhysical(at)) {
                Some(Err(error)) if !is_lacking(&error) => return Err(error),
                Some(Ok(word)) => word,
                _ => continue,
            };
            self.scanned += 8;
            if word == MAGIC
                && let Some(found) = self.look_at(memory, ranges, GuestPhysical(at))?
            {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn judge(
        &mut self,
        ranges: &[Range<GuestPhysical>],
        at: GuestPhysical,
        page: &[u8],
    ) -> Option<FoundRegion> {
        let range = ranges.iter().find(|range| range.contains(&at));
        let available = range.map_or(0, |range| range.end.0 - at.0);
        match candidate(page, at, available) {
            Candidate::Region(header) => Some(FoundRegion { at, header }),
            Candidate::Refused(why) => {
                if self.refused.len() < MOST_REFUSED {
                    self.refused.push((at, why));
                }
                None
            }
            Candidate::No => None,
        }
    }
}

fn is_lacking(error: &MemoryError) -> bool {
    matches!(error, MemoryError::Missing { .. } | MemoryError::Damaged { .. })
}

/// Reads whole pages; those that a dump lacks, or that are damaged in it, become zeros: no region begins there.
fn read_what_is_there(
    memory: &(impl GuestMemory + ?Sized),
    at: GuestPhysical,
    into: &mut [u8],
) -> Result<(), MemoryError> {
    match memory.read(at, into) {
        Err(error) if is_lacking(&error) => {}
        other => return other,
    }
    for (index, page) in into.chunks_mut(PAGE).enumerate() {
        match memory.read(GuestPhysical(at.0 + (index * PAGE) as u64), page) {
            Err(error) if is_lacking(&error) => page.fill(0),
            other => other?,
        }
    }
    Ok(())
}

/// Words of the header page's copy.
pub(crate) fn header_words(page: &[u8]) -> Option<[u64; HEADER_WORDS]> {
    let bytes = page.get(..HEADER_WORDS * 8)?;
    let mut words = [0; HEADER_WORDS];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    Some(words)
}

fn candidate(page: &[u8], at: GuestPhysical, available: u64) -> Candidate {
    let Some(words) = header_words(page) else { return Candidate::No };
    match RegionHeader::from_words(&words, available) {
        Ok(header) if header.region_gpa == at => Candidate::Region(header),
        Ok(_) | Err(LayoutError::NotARegion) => Candidate::No,
        Err(why) => Candidate::Refused(why),
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write, os::unix::fs::FileExt};

    use uniprof_wire::{
        address::GuestVirtual,
        layout::{Architecture, Geometry},
        text::FixedText,
    };

    use super::{
        super::{IvshmemFile, RamExtent, RamFile, RamMap},
        *,
    };

    const MIB: u64 = 1 << 20;

    fn header(at: u64) -> RegionHeader {
        RegionHeader {
            architecture: Architecture::X86_64,
            boot_id: 5,
            region_gpa: GuestPhysical(at),
            region_gva: GuestVirtual(at),
            geometry: Geometry::with_ring_bytes(1, 64 << 10).unwrap(),
            tsc_hz: 1_000_000_000,
            boot_tsc: 0,
            boot_wall_ns: 0,
            sites: (GuestVirtual(0), GuestVirtual(0)),
            name: FixedText::new(b"test"),
        }
    }

    fn page_of(header: &RegionHeader) -> Vec<u8> {
        header.to_words().iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    fn ram(headers: &[(u64, Vec<u8>)]) -> (tempfile::NamedTempFile, RamFile) {
        let file = tempfile::Builder::new().tempfile_in("/dev/shm").unwrap();
        file.as_file().set_len(8 * MIB).unwrap();
        for (at, bytes) in headers {
            file.as_file().write_all_at(bytes, *at).unwrap();
        }
        let map = RamMap::new(vec![RamExtent { gpa: 0, len: 8 * MIB, offset: 0 }]);
        let ram = RamFile::open(file.path(), map).unwrap();
        (file, ram)
    }

    #[test]
    fn a_copy_that_lies_elsewhere_is_passed_over() {
        let copy = page_of(&header(4 * MIB));
        let (_file, ram) = ram(&[(2 * MIB, copy.clone()), (4 * MIB, copy)]);
        let found = find_region(&ram, None).unwrap().unwrap();
        assert_eq!(found, FoundRegion { at: GuestPhysical(4 * MIB), header: header(4 * MIB) });
    }

    #[test]
    fn only_resident_pages_are_read() {
        let (_file, ram) = ram(&[(4 * MIB, page_of(&header(4 * MIB - 4096)))]);
        let search = find_region(&ram, None).unwrap().unwrap_err();
        assert_eq!(search, Search { refused: vec![], scanned: 4096 });
    }

    #[test]
    fn a_hint_saves_the_scan_and_a_wrong_one_does_no_harm() {
        let (_file, ram) = ram(&[(4 * MIB, page_of(&header(4 * MIB)))]);
        for hint in [4 * MIB, 5 * MIB, 0, u64::MAX, 4 * MIB + 1] {
            assert!(find_region(&ram, Some(GuestPhysical(hint))).unwrap().is_ok(), "{hint:#x}");
        }
    }

    #[test]
    fn another_version_and_a_region_beyond_the_end_are_told() {
        let mut other = page_of(&header(MIB));
        other[8] ^= 0xff;
        let end = 8 * MIB - 4096;
        let (_file, ram) = ram(&[(MIB, other), (end, page_of(&header(end)))]);
        let search = find_region(&ram, None).unwrap().unwrap_err();
        assert!(matches!(search.refused[0], (GuestPhysical(MIB), LayoutError::Version { .. })));
        assert!(matches!(search.refused[1], (_, LayoutError::TooSmall { .. })));
    }

    #[test]
    fn an_ivshmem_file_is_placed_by_its_header() {
        let mut file = tempfile::Builder::new().tempfile_in("/dev/shm").unwrap();
        file.as_file().set_len(2 * MIB).unwrap();
        let memory = IvshmemFile::open(file.path()).unwrap();
        assert!(find_region(&memory, None).unwrap().is_err());
        assert!(memory.ranges().unwrap().is_empty());
        file.write_all(&page_of(&header(0xfe00_0000))).unwrap();
        let found = find_region(&memory, None).unwrap().unwrap();
        assert_eq!(found.at, GuestPhysical(0xfe00_0000));
        let window = memory.window(found.at, found.header.geometry.region_bytes() as u64).unwrap();
        assert_eq!(window.load(0), Some(MAGIC));
        assert!(memory.window(GuestPhysical(0xfe00_0000), 2 * MIB + 8).is_err());
        assert!(memory.read(GuestPhysical(0), &mut [0; 8]).is_err());
    }
}
