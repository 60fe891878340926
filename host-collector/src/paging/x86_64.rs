//! Long-mode page tables of four and five levels, with pages of 4 KiB, 2 MiB and 1 GiB: Intel SDM volume 3A, chapter 4.5.

use std::fmt;

use uniprof_wire::address::{GuestPhysical, GuestVirtual};

use super::{Mapping, PAGE_BYTES, Translation};
use crate::cpu::CpuState;

const PRESENT: u64 = 1 << 0;
const WRITABLE: u64 = 1 << 1;
const LARGE: u64 = 1 << 7;
const NO_EXECUTE: u64 = 1 << 63;
/// Bits 12 to 51: where the next table, or the page, lies.
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
const CR0_PAGING: u64 = 1 << 31;
const CR4_FIVE_LEVELS: u64 = 1 << 12;
const ENTRIES: u64 = 512;

/// The root of a set of page tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PageTables {
    /// Where the first table lies.
    pub root: GuestPhysical,
    /// 4 or 5.
    pub levels: u8,
}

/// Where a walk ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unmapped {
    /// The address is none that this many levels can translate: its upper bits are not all alike.
    NotCanonical,
    /// The entry of the table of that level, from 1 for the last, is not present.
    NotPresent {
        /// The level.
        level: u8,
    },
    /// The table of that level lies where the guest has no memory.
    NoTable {
        /// The level.
        level: u8,
        /// Where it should be.
        at: GuestPhysical,
    },
}

impl fmt::Display for Unmapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotCanonical => f.write_str("it is no canonical address"),
            Self::NotPresent { level } => {
                write!(f, "its entry in the level {level} page table is not present")
            }
            Self::NoTable { level, at } => {
                write!(f, "its level {level} page table at {at} is not in the guest's memory")
            }
        }
    }
}

impl PageTables {
    /// The tables that a vCPU used; `None` where it had no paging or that is not known.
    #[must_use]
    pub fn of(cpu: &CpuState) -> Option<Self> {
        let root = cpu.cr3?;
        if cpu.cr0.is_some_and(|cr0| cr0 & CR0_PAGING == 0) {
            return None;
        }
        let levels = if cpu.cr4.is_some_and(|cr4| cr4 & CR4_FIVE_LEVELS != 0) { 5 } else { 4 };
        Some(Self { root: GuestPhysical(root.0 & ADDRESS), levels })
    }

    /// Where an address lies. `read` returns a page table's word.
    pub fn walk(
        self,
        at: GuestVirtual,
        mut read: impl FnMut(GuestPhysical) -> Option<u64>,
    ) -> Result<Translation, Unmapped> {
        let unused = 64 - (12 + 9 * u32::from(self.levels));
        if ((at.0 << unused) as i64 >> unused) as u64 != at.0 {
            return Err(Unmapped::NotCanonical);
        }
        let (mut table, mut writable, mut executable) = (self.root, true, true);
        let mut level = self.levels;
        loop {
            let shift = shift_of(level);
            let entry = GuestPhysical(table.0 + (at.0 >> shift) % ENTRIES * 8);
            let entry = read(entry).ok_or(Unmapped::NoTable { level, at: table })?;
            if entry & PRESENT == 0 {
                return Err(Unmapped::NotPresent { level });
            }
            writable &= entry & WRITABLE != 0;
            executable &= entry & NO_EXECUTE == 0;
            if is_page(level, entry) {
                let page_bytes = 1 << shift;
                let base = entry & ADDRESS & !(page_bytes - 1);
                let physical = GuestPhysical(base + at.0 % page_bytes);
                return Ok(Translation { physical, page_bytes, writable, executable });
            }
            table = GuestPhysical(entry & ADDRESS);
            level -= 1;
        }
    }

    /// All that is mapped; see [`super::AddressSpace::mappings`].
    pub(super) fn mappings(
        self,
        most: usize,
        mut read: impl FnMut(GuestPhysical) -> Option<u64>,
    ) -> (Vec<Mapping>, bool) {
        let mut found = Found { mappings: Vec::new(), left: most };
        found.table(self, self.levels, self.root, 0, (true, true), &mut read);
        (found.mappings, found.left > 0)
    }

    /// Where the tables themselves lie, each once, rising; at most `most` of them.
    pub(super) fn pages(
        self,
        most: usize,
        mut read: impl FnMut(GuestPhysical) -> Option<u64>,
    ) -> Vec<GuestPhysical> {
        let mut known = std::collections::BTreeSet::from([self.root]);
        let mut left = vec![(self.levels, self.root)];
        while let Some((level, table)) = left.pop() {
            if level == 1 {
                continue;
            }
            let entries = (0..ENTRIES).map_while(|index| read(GuestPhysical(table.0 + index * 8)));
            for entry in entries.filter(|entry| entry & PRESENT != 0 && !is_page(level, *entry)) {
                let next = GuestPhysical(entry & ADDRESS);
                if known.len() < most && known.insert(next) {
                    left.push((level - 1, next));
                }
            }
        }
        known.into_iter().collect()
    }

    /// The address with its unused upper bits as the processor wants them.
    fn canonical(self, address: u64) -> GuestVirtual {
        let unused = 64 - (12 + 9 * u32::from(self.levels));
        GuestVirtual(((address << unused) as i64 >> unused) as u64)
    }
}

fn shift_of(level: u8) -> u32 {
    12 + 9 * (u32::from(level) - 1)
}

fn is_page(level: u8, entry: u64) -> bool {
    level == 1 || (level <= 3 && entry & LARGE != 0)
}

struct Found {
    mappings: Vec<Mapping>,
    /// Entries that may still be looked at: tables may contain themselves.
    left: usize,
}

impl Found {
    fn table(
        &mut self,
        tables: PageTables,
        level: u8,
        table: GuestPhysical,
        base: u64,
        (writable, executable): (bool, bool),
        read: &mut impl FnMut(GuestPhysical) -> Option<u64>,
    ) {
        for index in 0..ENTRIES {
            if self.left == 0 {
                return;
            }
            self.left -= 1;
            let Some(entry) = read(GuestPhysical(table.0 + index * 8)) else { return };
            if entry & PRESENT == 0 {
                continue;
            }
            let rights = (writable && entry & WRITABLE != 0, executable && entry & NO_EXECUTE == 0);
            let address = base | index << shift_of(level);
            if is_page(level, entry) {
                let page_bytes = 1 << shift_of(level);
                let physical = GuestPhysical(entry & ADDRESS & !(page_bytes - 1));
                let to = Translation { physical, page_bytes, writable: rights.0, executable: rights.1 };
                self.add(Mapping { start: tables.canonical(address), len: page_bytes, to });
            } else {
                self.table(tables, level - 1, GuestPhysical(entry & ADDRESS), address, rights, read);
            }
        }
    }

    /// Adds a page, to the last run if it continues that.
    fn add(&mut self, page: Mapping) {
        if let Some(last) = self.mappings.last_mut() {
            let follows = last.start.0.wrapping_add(last.len) == page.start.0
                && last.to.physical.0.wrapping_add(last.len) == page.to.physical.0
                && (last.to.writable, last.to.executable) == (page.to.writable, page.to.executable);
            if follows {
                last.len += page.len;
                last.to.page_bytes = last.to.page_bytes.min(page.to.page_bytes);
                return;
            }
        }
        self.mappings.push(page);
    }
}

const _: () = assert!(PAGE_BYTES == 1 << 12);

#[cfg(test)]
mod tests {
    use super::*;

    /// Tables written by hand: one word for each guest-physical address.
    fn walk(words: &[(u64, u64)], levels: u8, at: u64) -> Result<Translation, Unmapped> {
        let read = |entry: GuestPhysical| {
            let known = words.iter().find(|(at, _)| *at == entry.0).map(|(_, word)| *word);
            known.or((entry.0 < 0x10_0000).then_some(0))
        };
        PageTables { root: GuestPhysical(0x1000), levels }.walk(GuestVirtual(at), read)
    }

    #[test]
    fn pages_of_every_size_are_found() {
        let words = [
            (0x1000, 0x2003),
            (0x2000, 0x3003),
            (0x2008, 0x4000_0083),
            (0x3000, 0x4003),
            (0x3008, 0x60_0083),
            (0x4008, 0x7_7001 | NO_EXECUTE),
        ];
        let small = walk(&words, 4, 0x1234).unwrap();
        assert_eq!((small.physical.0, small.page_bytes), (0x7_7234, 4096));
        assert!(!small.writable && !small.executable);
        let large = walk(&words, 4, 0x20_1234).unwrap();
        assert_eq!((large.physical.0, large.page_bytes), (0x60_1234, 2 << 20));
        assert!(large.writable && large.executable);
        let huge = walk(&words, 4, 0x4123_4567).unwrap();
        assert_eq!((huge.physical.0, huge.page_bytes), (0x4123_4567, 1 << 30));
        assert_eq!(walk(&words, 4, 0x5000), Err(Unmapped::NotPresent { level: 1 }));
        assert_eq!(walk(&words, 4, 1 << 40), Err(Unmapped::NotPresent { level: 4 }));
        assert_eq!(walk(&words, 4, 1 << 47), Err(Unmapped::NotCanonical));
        let five: Vec<_> = words
            .iter()
            .map(|&(at, word)| (at + 0x1000, word + 0x1000 * u64::from(word & LARGE == 0)))
            .collect();
        let five = [&[(0x1000, 0x2003)], &five[..]].concat();
        assert_eq!(walk(&five, 5, 0x1234).unwrap().physical.0, 0x7_8234);
        assert_eq!(walk(&five, 5, 1 << 50), Err(Unmapped::NotPresent { level: 5 }));
    }

    #[test]
    fn tables_that_contain_themselves_end_by_the_bound() {
        let read = |_: GuestPhysical| Some(0x1003);
        let tables = PageTables { root: GuestPhysical(0x1000), levels: 5 };
        let (mappings, complete) = tables.mappings(10_000, read);
        assert!(!complete && mappings.len() < 10_000, "{}", mappings.len());
        assert_eq!(tables.walk(GuestVirtual(0x42), read).unwrap().physical.0, 0x1042);
    }

    #[test]
    fn adjacent_pages_are_one_mapping() {
        let words = [(0x1000, 0x2003), (0x2000, 0x3003), (0x3000, 0x83), (0x3008, 0x20_0083), (0x3010, 0x83)];
        let read = |at: GuestPhysical| {
            Some(words.iter().find(|(known, _)| *known == at.0).map_or(0, |(_, word)| *word))
        };
        let (mappings, complete) =
            PageTables { root: GuestPhysical(0x1000), levels: 4 }.mappings(1 << 20, read);
        assert!(complete);
        let runs: Vec<_> = mappings.iter().map(|run| (run.start.0, run.len, run.to.physical.0)).collect();
        assert_eq!(runs, [(0, 4 << 20, 0), (4 << 20, 2 << 20, 0)]);
    }
}
