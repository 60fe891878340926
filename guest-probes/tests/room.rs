//! A region that has room for fewer histograms than the kernel has sites: the rest records nothing, and its sites say so.

use std::ops::Range;

use uniprof_probes as probe;
use uniprof_wire::layout::{Geometry, LayoutError};
use uniprof_wire::record::Class;
use uniprof_wire::site::{self, SiteKind};

const RING_BYTES: u32 = 64 << 10;
const ROOM: u32 = 1;

const fn bytes(geometry: Result<Geometry, LayoutError>) -> usize {
    match geometry {
        Ok(geometry) => match geometry.with_histograms(ROOM) {
            Ok(geometry) => geometry.region_bytes(),
            Err(_) => panic!(),
        },
        Err(_) => panic!(),
    }
}

probe::region!(bytes = bytes(Geometry::with_ring_bytes(1, RING_BYTES)));

struct Process;
// SAFETY: constants; one thread probes.
unsafe impl probe::Platform for Process {
    fn now() -> u64 {
        1
    }
    fn vcpu() -> u32 {
        0
    }
    fn pin() {}
    fn unpin() {}
    fn stack() -> Range<usize> {
        0..0
    }
    fn thread() -> probe::ThreadId {
        1
    }
}
probe::platform!(Process);

#[test]
fn histograms_without_room_are_known_and_harmless() {
    let config = probe::Config {
        tsc_hz: 1_000_000,
        ring_bytes: RING_BYTES,
        classes: Class::Counter.bit(),
        ..probe::Config::new(region_memory())
    };
    // SAFETY: the static region.
    assert_eq!(unsafe { probe::init(config) }, probe::Status::On);
    probe::histogram!("one", 1u64);
    probe::histogram!("two", 2u64);
    probe::histogram!("three", 3u64);

    // SAFETY: the static region, which nobody writes now.
    let words: &[u64] =
        unsafe { std::slice::from_raw_parts(region_memory().base.cast(), region_memory().bytes / 8) };
    let header = std::array::from_fn(|i| words[i]);
    let header = uniprof_wire::layout::RegionHeader::from_words(&header, region_memory().bytes as u64)
        .expect("a region");
    assert_eq!((header.geometry.ring_bytes(), header.geometry.histograms()), (RING_BYTES, ROOM));
    let (start, end) = header.sites;
    // SAFETY: the section of this process, which nobody writes now.
    let section = unsafe { std::slice::from_raw_parts(start.0 as *const u8, (end.0 - start.0) as usize) };
    let mut slots: Vec<_> = site::sites(section)
        .filter(|site| site.kind == SiteKind::Histogram)
        .inspect(|site| assert!(site.enabled))
        .map(|site| site.slot)
        .collect();
    slots.sort_unstable();
    assert_eq!(slots, [None, None, Some(0)]);
    // The count of the one that there is.
    assert_eq!(words[header.geometry.histogram_table(0) / 8 + 1], 1);
}
