//! Which guest-physical addresses lie where in the file behind guest RAM.
//!
//! QEMU splits RAM around the hole below 4 GiB, and where depends on the machine, the size and the version: seen on 7.2, a
//! `q35` with 4 GiB keeps 2 GiB below it, a `microvm` with 5 GiB keeps 3, and `max-ram-below-4g` changes both. The low megabyte
//! has ROMs laid over it. So nothing is computed here: QEMU is asked, with `info mtree -f`, and each line of the flat view
//! names the backend and the offset in it.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use uniprof_wire::address::GuestPhysical;

use super::MemoryError;

/// A run of guest-physical memory that is contiguous in the file too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RamExtent {
    /// The first guest-physical address.
    pub gpa: u64,
    /// How many bytes.
    pub len: u64,
    /// Where the first byte lies in the file.
    pub offset: u64,
}

/// All of a guest's RAM, in rising order of guest-physical addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RamMap {
    extents: Vec<RamExtent>,
}

impl RamMap {
    /// A map of these extents; they may not overlap in guest-physical addresses.
    #[must_use]
    pub fn new(mut extents: Vec<RamExtent>) -> Self {
        extents.sort_by_key(|extent| extent.gpa);
        Self { extents }
    }

    /// Reads the answer of QEMU's `info mtree -f`: the RAM in the `memory` address space that comes from `backend`.
    pub fn from_mtree(text: &str, backend: &str) -> Result<Self, MemoryError> {
        let mut extents = Vec::new();
        let mut in_system_memory = false;
        for line in text.lines().map(str::trim) {
            if line.starts_with("FlatView") {
                in_system_memory = false;
            } else if line.starts_with("AS \"memory\"") {
                in_system_memory = true;
            } else if in_system_memory && let Some(extent) = flat_range(line, backend) {
                extents.push(extent);
            }
        }
        if extents.is_empty() {
            return Err(MemoryError::NoRam { backend: backend.into() });
        }
        Ok(Self::new(extents))
    }

    /// The runs.
    #[must_use]
    pub fn extents(&self) -> &[RamExtent] {
        &self.extents
    }

    /// Where `at` lies in the file, and how many bytes follow it there without a break.
    #[must_use]
    pub fn file_offset(&self, at: GuestPhysical) -> Option<(u64, u64)> {
        let next = self.extents.partition_point(|extent| extent.gpa <= at.0);
        let extent = self.extents.get(next.checked_sub(1)?)?;
        let inside = at.0 - extent.gpa;
        (inside < extent.len).then(|| (extent.offset.saturating_add(inside), extent.len - inside))
    }

    /// The guest-physical addresses behind a range of the file. The same bytes may show at two addresses.
    pub(super) fn addresses_of(&self, file: Range<u64>) -> impl Iterator<Item = Range<GuestPhysical>> + '_ {
        self.extents.iter().filter_map(move |extent| {
            let begin = file.start.max(extent.offset);
            let end = file.end.min(extent.offset.saturating_add(extent.len));
            (begin < end).then(|| {
                let first = extent.gpa + (begin - extent.offset);
                GuestPhysical(first)..GuestPhysical(first + (end - begin))
            })
        })
    }
}

/// One line of a flat view: `0000000100000000-000000017fffffff (prio 0, ram): ram @0000000080000000 KVM`.
fn flat_range(line: &str, backend: &str) -> Option<RamExtent> {
    let (range, rest) = line.split_once(" (prio ")?;
    let (kind, named) = rest.split_once("): ")?;
    if !kind.ends_with(", ram") {
        return None;
    }
    let mut words = named.split_whitespace();
    if words.next()? != backend {
        return None;
    }
    let hex = |text: &str| u64::from_str_radix(text, 16).ok();
    let offset = match words.next().and_then(|word| word.strip_prefix('@')) {
        Some(offset) => hex(offset)?,
        None => 0,
    };
    let (first, last) = range.split_once('-')?;
    let (gpa, last) = (hex(first)?, hex(last)?);
    let len = last.checked_sub(gpa)?.checked_add(1)?;
    offset.checked_add(len)?;
    Some(RamExtent { gpa, len, offset })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As QEMU 7.2.22 printed it for `-M q35 -m 4G`, less the other address spaces' devices.
    const Q35_4G: &str = "\
FlatView #0
 AS \"cpu-smm-0\", root: memory
 Root memory region: memory
  0000000000000000-00000000000fffff (prio 0, ram): ram

FlatView #2
 AS \"memory\", root: system
 AS \"cpu-memory-0\", root: system
 Root memory region: system
  0000000000000000-00000000000bffff (prio 0, ram): ram
  00000000000c0000-00000000000dffff (prio 1, rom): pc.rom
  00000000000e0000-00000000000fffff (prio 0, rom): pc.bios @0000000000020000
  0000000000100000-000000007fffffff (prio 0, ram): ram @0000000000100000
  00000000fec00000-00000000fec00fff (prio 0, i/o): ioapic
  00000000fe000000-00000000fe0fffff (prio 1, ram): other
  0000000100000000-000000017fffffff (prio 0, ram): ram @0000000080000000 KVM

FlatView #3
 AS \"I/O\", root: io
 Root memory region: io
  0000000000000000-0000000000000007 (prio 0, i/o): dma-chan
";

    #[test]
    fn the_hole_below_4g_is_where_qemu_says() {
        let map = RamMap::from_mtree(Q35_4G, "ram").unwrap();
        assert_eq!(map.extents().len(), 3);
        assert_eq!(map.file_offset(GuestPhysical(0xbfff8)), Some((0xbfff8, 8)));
        assert_eq!(map.file_offset(GuestPhysical(0xc0000)), None);
        assert_eq!(map.file_offset(GuestPhysical(0x7fff_ffff)), Some((0x7fff_ffff, 1)));
        assert_eq!(map.file_offset(GuestPhysical(0x8000_0000)), None);
        assert_eq!(map.file_offset(GuestPhysical(0x1_0000_0000)), Some((0x8000_0000, 0x8000_0000)));
        assert_eq!(map.file_offset(GuestPhysical(0x1_8000_0000)), None);
        assert_eq!(map.file_offset(GuestPhysical(u64::MAX)), None);
    }

    #[test]
    fn each_machine_has_its_own_hole() {
        // As QEMU 7.2.22 printed it for `-M microvm -m 5G`.
        let microvm = " AS \"memory\", root: system
  0000000000000000-00000000000effff (prio 0, ram): ram
  0000000000100000-00000000bfffffff (prio 0, ram): ram @0000000000100000
  0000000100000000-000000017fffffff (prio 0, ram): ram @00000000c0000000";
        let map = RamMap::from_mtree(microvm, "ram").unwrap();
        assert_eq!(map.file_offset(GuestPhysical(0xbfff_f000)), Some((0xbfff_f000, 0x1000)));
        assert_eq!(map.file_offset(GuestPhysical(0x1_0000_0000)), Some((0xc000_0000, 0x8000_0000)));
    }

    #[test]
    fn file_ranges_map_back() {
        let map = RamMap::from_mtree(Q35_4G, "ram").unwrap();
        let back: Vec<_> = map.addresses_of(0x7fff_f000..0x8000_1000).collect();
        assert_eq!(
            back,
            [
                GuestPhysical(0x7fff_f000)..GuestPhysical(0x8000_0000),
                GuestPhysical(0x1_0000_0000)..GuestPhysical(0x1_0000_1000)
            ]
        );
    }

    #[test]
    fn a_backend_that_is_not_there_is_named() {
        let error = RamMap::from_mtree(Q35_4G, "pc.ram").unwrap_err();
        assert!(error.to_string().contains("\"pc.ram\""), "{error}");
        assert!(RamMap::from_mtree("", "ram").is_err());
        assert!(
            RamMap::from_mtree("AS \"memory\"\n f-0 (prio 0, ram): ram\n zz-0 (prio 0, ram): ram", "ram")
                .is_err()
        );
    }
}
