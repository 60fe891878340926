//! A region that has room for fewer histograms than the kernel has sites: the rest records nothing, and its sites say so.

use uniprof_probes as probe;
use uniprof_wire::layout::{Geometry, LayoutError};
use uniprof_wire::record::Class;
use uniprof_wire::site::{self, SiteKind};

mod machine;

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

    let header = machine::header();
    assert_eq!((header.geometry.ring_bytes(), header.geometry.histograms()), (RING_BYTES, ROOM));
    let mut slots: Vec<_> = site::sites(machine::section())
        .filter(|site| site.kind == SiteKind::Histogram)
        .inspect(|site| assert!(site.enabled))
        .map(|site| site.slot)
        .collect();
    slots.sort_unstable();
    assert_eq!(slots, [None, None, Some(0)]);
    // The count of the one that there is.
    assert_eq!(machine::word(header.geometry.histogram_table(0) + 8), 1);
}
