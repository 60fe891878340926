//! Where QEMU's machines have their RAM: what `info mtree -f` would say, for a QEMU that nobody can ask.
//!
//! RAM is one block; what does not fit below the hole under 4 GiB follows from 4 GiB on. From QEMU's `hw/i386/pc_piix.c`
//! (`pc_init1`), `pc_q35.c` (`pc_q35_init`) and `microvm.c` (`microvm_memory_init`), version 7.2, and compared with what
//! a QEMU of that version answers. From 0xa0000 to 1 MiB devices and ROMs lie over RAM, differently by machine and moment: that part is left out.

use crate::memory::{RamExtent, RamMap};

const GIB: u64 = 1 << 30;
const FOUR_GIB: u64 = 4 * GIB;
/// Where video memory, option ROMs and the BIOS may lie.
const LEGACY: (u64, u64) = (0xa_0000, 0x10_0000);
/// QEMU moves the part above 4 GiB to 1 TiB for some processors, where it would come near to that.
const MOST: u64 = 900 * GIB;

/// The map of a machine with that much RAM; `None` for machines that are not known.
pub(super) fn ram_map(machine: &str, memory: u64, max_below_4g: Option<u64>) -> Option<RamMap> {
    let limit = max_below_4g.filter(|limit| *limit > 0);
    let below = below_4g(machine, memory, limit).filter(|_| memory <= MOST)?.min(memory);
    let extent =
        |gpa: u64, end: u64, offset: u64| (gpa < end).then(|| RamExtent { gpa, len: end - gpa, offset });
    let extents = [
        extent(0, LEGACY.0.min(below), 0),
        extent(LEGACY.1, below, LEGACY.1),
        extent(FOUR_GIB, FOUR_GIB + (memory - below), below),
    ];
    Some(RamMap::new(extents.into_iter().flatten().collect()))
}

/// How much RAM lies below the hole, at most.
fn below_4g(machine: &str, memory: u64, limit: Option<u64>) -> Option<u64> {
    Some(match machine {
        "microvm" => 0xc000_0000,
        "q35" => q35(memory, limit),
        "pc" => pc(memory, limit),
        _ if machine.starts_with("pc-q35-") => q35(memory, limit),
        _ if machine.starts_with("pc-i440fx-") => pc(memory, limit),
        _ => return None,
    })
}

fn q35(memory: u64, limit: Option<u64>) -> u64 {
    let low = if memory >= 0xb000_0000 { 0x8000_0000 } else { 0xb000_0000 };
    limit.unwrap_or(low).min(low)
}

fn pc(memory: u64, limit: Option<u64>) -> u64 {
    let low = limit.unwrap_or(0xe000_0000);
    // Pages of 1 GiB of the guest shall be such pages of the host.
    if memory >= low { low.min(0xc000_0000) } else { low }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What QEMU 7.2.22 answered to `info mtree -f`: how much lies below the hole.
    #[test]
    fn the_hole_is_where_qemu_has_it() {
        const MIB: u64 = 1 << 20;
        for (machine, mib, limit, below) in [
            ("q35", 256, None, 256 * MIB),
            ("pc", 256, None, 256 * MIB),
            ("microvm", 256, None, 256 * MIB),
            ("q35", 2815, None, 2815 * MIB),
            ("q35", 2816, None, 2 * GIB),
            ("pc-q35-7.2", 4096, None, 2 * GIB),
            ("pc", 3583, None, 3583 * MIB),
            ("pc-i440fx-7.2", 3584, None, 3 * GIB),
            ("microvm", 3072, None, 3 * GIB),
            ("microvm", 3073, None, 3 * GIB),
            ("q35", 2048, Some(GIB), GIB),
            ("pc", 4096, Some(2 * GIB), 2 * GIB),
        ] {
            let map = ram_map(machine, mib * MIB, limit).unwrap();
            let runs: Vec<_> = map.extents().iter().map(|run| (run.gpa, run.len, run.offset)).collect();
            let mut wanted = vec![(0, 0xa_0000, 0), (0x10_0000, below - 0x10_0000, 0x10_0000)];
            if below < mib * MIB {
                wanted.push((FOUR_GIB, mib * MIB - below, below));
            }
            assert_eq!(runs, wanted, "{machine} {mib} {limit:?}");
        }
    }

    #[test]
    fn machines_that_are_not_known_have_no_map() {
        for (machine, memory) in
            [("virt", GIB), ("xenpv", GIB), ("", GIB), ("q35", 1000 * GIB), ("q35", u64::MAX)]
        {
            assert_eq!(ram_map(machine, memory, None), None, "{machine}");
        }
        assert!(ram_map("q35", 0, Some(0)).unwrap().extents().is_empty());
        assert_eq!(ram_map("microvm", 0x9_0000, None).unwrap().extents().len(), 1);
    }
}
