//! The images of a guest: what names addresses and repairs stacks.

use std::sync::Arc;

use uniprof_flamegraph as flamegraph;
use uniprof_symbolizer::{
    AddressKind, BuildId, Leaf, LeafRules, Repair, Resolution, Symbolizer, Tables, Unwinder,
};
use uniprof_wire::address::{GuestVirtual, LinkAddress};

use super::finder::{self, Found, GuestImage, Looked, Places};

/// What names addresses.
#[derive(Default)]
pub(crate) struct Images {
    images: Vec<Loaded>,
    looked: Vec<Looked>,
}

struct Loaded {
    /// The file's name, without its directory.
    name: String,
    symbolizer: Symbolizer,
    rules: LeafRules,
}

impl Loaded {
    fn new(found: Found, tables: &Tables) -> Self {
        let Found { name, image, bias } = found;
        let rules = LeafRules::new(&image, bias);
        Self { name, symbolizer: Symbolizer::with_tables(Arc::new(image), bias, tables.clone()), rules }
    }
}

impl Images {
    /// Loads what can be found, see [`finder::find`].
    pub(crate) fn find(guest: &GuestImage, places: Places<'_>, tables: &Tables) -> anyhow::Result<Self> {
        let (found, looked) = finder::find(guest, places)?;
        Ok(Self { images: found.into_iter().map(|found| Loaded::new(found, tables)).collect(), looked })
    }

    /// Where was looked, in that order.
    pub(crate) fn places(&self) -> &[Looked] {
        &self.looked
    }

    /// The images with their names and load bias.
    pub(crate) fn symbolizers(&self) -> impl Iterator<Item = (&str, &Symbolizer)> {
        self.images.iter().map(|loaded| (&*loaded.name, &loaded.symbolizer))
    }

    /// Keeps the names of so many addresses of each image at most.
    pub(crate) fn keep_at_most(&mut self, addresses: usize) {
        self.images.iter_mut().for_each(|image| image.symbolizer.keep_at_most(addresses));
    }

    /// The name of an address, and the index of the image whose code it is.
    /// `None` where there is no image at all.
    pub(crate) fn resolve(
        &mut self,
        address: GuestVirtual,
        kind: AddressKind,
    ) -> Option<(Option<usize>, Resolution)> {
        let lookup = kind.lookup(address);
        let home = self.images.iter().position(|image| image.symbolizer.is_executable(lookup));
        let image = self.images.get_mut(home.unwrap_or(0))?;
        Some((home, image.symbolizer.resolve(address, kind)))
    }

    /// What a profile says of each image, in the order of their indexes.
    pub(crate) fn described(&self) -> impl Iterator<Item = flamegraph::Image> + '_ {
        self.images.iter().map(|loaded| {
            let (image, bias) = (loaded.symbolizer.image(), loaded.symbolizer.bias());
            let ranges = image.executable_ranges();
            let guest = |link: u64| bias.to_guest(LinkAddress(link)).0;
            let (start, end) = (ranges.first().map_or(0, |r| r.start), ranges.last().map_or(0, |r| r.end));
            flamegraph::Image {
                name: loaded.name.clone(),
                build_id: image.build_id().map(BuildId::to_string),
                range: guest(start)..guest(end),
                bias: bias.get(),
            }
        })
    }

    /// What unwinds stacks of their code.
    pub(crate) fn unwinder(&self) -> Unwinder {
        let mut unwinder = Unwinder::new();
        for (_, symbolizer) in self.symbolizers() {
            unwinder.add(symbolizer.image(), symbolizer.bias());
        }
        unwinder
    }

    /// Whether the walk along frame pointers missed the leaf's caller, and which it is.
    pub(crate) fn repair(&mut self, leaf: &Leaf<'_>) -> Repair {
        let home = match &mut self.images[..] {
            [only] => Some(only),
            several => several.iter_mut().find(|image| image.symbolizer.is_executable(leaf.rip)),
        };
        home.map_or(Repair::NotNeeded, |image| image.rules.repair(leaf))
    }
}
