//! What the image itself says of its addresses, without debug information: sections, code, symbols.

use std::collections::BTreeSet;

use rustc_hash::FxHashMap;
use uniprof_wire::address::LinkAddress;

use crate::image::Image;

/// What holds from one address to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Base {
    Outside,
    /// With the index of the section.
    NotCode(Option<u32>),
    Code {
        symbol: Option<u32>,
        section: Option<u32>,
    },
}

/// All addresses of an image, as steps.
pub(crate) struct BaseMap<'i> {
    /// In order, from the first address of the image; each holds up to the next one, the last is [`Base::Outside`].
    pub(crate) steps: Vec<(u64, Base)>,
    /// The names of the symbols that a step can refer to, as the file has them.
    pub(crate) symbols: Vec<&'i [u8]>,
}

/// Something that covers addresses, as events in their order.
struct Events {
    /// Address, whether it begins there, and which one.
    events: Vec<(u64, bool, u32)>,
    next: usize,
}

impl Events {
    fn new(ranges: impl Iterator<Item = (u32, u64, u64)>) -> Self {
        let mut events: Vec<_> = ranges
            .filter(|(_, start, end)| start < end)
            .flat_map(|(which, start, end)| [(start, true, which), (end, false, which)])
            .collect();
        events.sort_unstable();
        Self { events, next: 0 }
    }

    fn addresses(&self) -> impl Iterator<Item = u64> {
        self.events.iter().map(|(address, ..)| *address)
    }

    /// Tells of everything that begins or ends up to an address.
    fn up_to(&mut self, address: u64, mut tell: impl FnMut(bool, u32)) {
        while let Some((_, begins, which)) = self.events.get(self.next).filter(|event| event.0 <= address) {
            tell(*begins, *which);
            self.next += 1;
        }
    }
}

impl<'i> BaseMap<'i> {
    pub(crate) fn new(image: &'i Image) -> Self {
        let code = image.code();
        let sections = image.sections.iter().zip(0..).filter(|(section, _)| section.allocated);
        let sections = sections.map(|(section, index)| {
            (index, section.address.0, section.address.0.saturating_add(section.size))
        });
        let mut sections = Events::new(sections);
        let segments = image
            .segments()
            .iter()
            .map(|segment| (0, segment.address.0, segment.address.0.saturating_add(segment.size)));
        let mut segments = Events::new(segments);
        let mut addresses: Vec<u64> = sections.addresses().chain(segments.addresses()).collect();
        addresses.extend(code.ranges.iter().flat_map(|range| [range.start, range.end]));
        addresses.extend(image.symbol_boundaries().filter(|address| code.contains(LinkAddress(*address))));
        addresses.sort_unstable();
        addresses.dedup();

        let mut map = Self { steps: Vec::new(), symbols: Vec::new() };
        let mut numbers: FxHashMap<&[u8], u32> = FxHashMap::default();
        let (mut inside, mut in_segments) = (BTreeSet::new(), 0usize);
        for address in addresses {
            sections.up_to(address, |begins, which| {
                if begins {
                    inside.insert(which)
                } else {
                    inside.remove(&which)
                };
            });
            segments.up_to(address, |begins, _| {
                in_segments = if begins { in_segments + 1 } else { in_segments.saturating_sub(1) };
            });
            let section = inside.first().copied();
            let base = if section.is_none() && in_segments == 0 {
                Base::Outside
            } else if !code.contains(LinkAddress(address)) {
                Base::NotCode(section)
            } else {
                let symbol = image.symbol_at(LinkAddress(address)).map(|name| {
                    *numbers.entry(name).or_insert_with(|| {
                        map.symbols.push(name);
                        map.symbols.len() as u32 - 1
                    })
                });
                Base::Code { symbol, section }
            };
            if map.steps.last().is_none_or(|(_, last)| *last != base) {
                map.steps.push((address, base));
            }
        }
        map
    }
}
