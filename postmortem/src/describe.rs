//! What an address is, in words.

use uniprof_collector::paging::PAGE_BYTES;
use uniprof_wire::address::GuestVirtual;
use uniprof_wire::tables::ThreadEntry;

use crate::owner;
use crate::program::{Place, Program};
use crate::stacks;
use crate::subject::Subject;

/// Addresses below count as a null pointer and an offset.
pub(crate) const NULL_BYTES: u64 = 64 << 10;

/// Whether four levels of page tables can map an address, or five.
pub(crate) fn is_canonical(address: u64, levels: u8) -> bool {
    let unused = 64 - (12 + 9 * u32::from(levels.clamp(4, 5)));
    ((address << unused) as i64 >> unused) as u64 == address
}

impl Program {
    /// The symbol, of code or data, that an address lies in, as `name` or `name+0x10`.
    #[must_use]
    pub fn symbol(&self, address: GuestVirtual) -> Option<String> {
        let Place { image, link } = self.place(address)?;
        let (name, offset) = self.images().get(image)?.image.owner_of(link)?;
        Some(if offset == 0 { name } else { format!("{name}+{offset:#x}") })
    }
}

impl Subject {
    /// What an address is, in words, as far as that can be told; else empty. Small numbers are nothing: most of them are no addresses.
    #[must_use]
    pub fn describe(&self, address: GuestVirtual) -> String {
        if address.0 < NULL_BYTES {
            return String::new();
        }
        if let Some(owner) = owner::of(self, address) {
            return owner.to_string();
        }
        let below = |thread: &ThreadEntry| {
            thread.stack.0.offset_from(address).is_some_and(|below| (1..=PAGE_BYTES).contains(&below))
        };
        if let Some(thread) = stacks::threads(self).find(below) {
            let below = thread.stack.0.0 - address.0;
            return format!("{below} bytes below the stack of {}", stacks::title_of(&thread));
        }
        let levels = self.space.tables().map_or(4, |tables| tables.levels);
        if is_canonical(address.0, levels) { String::new() } else { "no canonical address".into() }
    }
}
