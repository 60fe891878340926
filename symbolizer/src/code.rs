//! Which addresses are code.

use std::ops::Range;

use uniprof_wire::address::LinkAddress;

/// Ranges of addresses, in order and without overlap.
#[derive(Debug, Clone)]
pub(crate) struct Code {
    pub(crate) ranges: Vec<Range<u64>>,
}

impl Code {
    pub(crate) fn new(mut ranges: Vec<Range<u64>>) -> Self {
        // A section at the very end of the address space has no room there, whatever its size.
        ranges.retain(|range| !range.is_empty());
        ranges.sort_by_key(|range| range.start);
        let mut apart: Vec<Range<u64>> = Vec::with_capacity(ranges.len());
        for range in ranges {
            match apart.last_mut() {
                Some(last) if range.start < last.end => last.end = last.end.max(range.end),
                _ => apart.push(range),
            }
        }
        Self { ranges: apart }
    }

    pub(crate) fn contains(&self, address: LinkAddress) -> bool {
        self.find(address).is_some()
    }

    pub(crate) fn find(&self, address: LinkAddress) -> Option<&Range<u64>> {
        let after = self.ranges.partition_point(|range| range.start <= address.0);
        self.ranges[..after].last().filter(|range| range.contains(&address.0))
    }
}
