//! The code that the guest runs: images, names, and the way from a frame to its caller.

use std::sync::Arc;

use uniprof_symbolizer::types::{Types as DataTypes, TypesError};
use uniprof_symbolizer::{AddressKind, Image, LoadBias, Resolution, Symbolizer, Tables, Unwinder};
use uniprof_wire::address::{GuestVirtual, LinkAddress};

/// One image of the guest.
pub struct LoadedImage {
    /// Its file's name, without the directory.
    pub name: String,
    /// What it contains.
    pub image: Arc<Image>,
    /// Where it lies.
    pub bias: LoadBias,
}

/// Where an address lies in an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The image's index.
    pub image: usize,
    /// The address as the image has it.
    pub link: LinkAddress,
}

/// All images of a guest. The first is the kernel.
#[derive(Default)]
pub struct Program {
    images: Vec<LoadedImage>,
    symbolizers: Vec<Symbolizer>,
    unwinder: Unwinder,
    /// Those of each image, once somebody asked.
    types: Vec<Option<Result<DataTypes, TypesError>>>,
}

/// What looking at values of an image's types takes.
type Parts<'p> = (&'p mut DataTypes, &'p mut [Symbolizer], &'p LoadedImage);

impl Program {
    /// From images that were found; `tables` may hold names for them already.
    #[must_use]
    pub fn new(images: Vec<LoadedImage>, tables: &Tables) -> Self {
        let mut unwinder = Unwinder::new();
        let mut symbolizers = Vec::new();
        for loaded in &images {
            unwinder.add(&loaded.image, loaded.bias);
            let image = Arc::clone(&loaded.image);
            symbolizers.push(Symbolizer::with_tables(image, loaded.bias, tables.clone()));
        }
        Self { images, symbolizers, unwinder, types: Vec::new() }
    }

    /// The images.
    #[must_use]
    pub fn images(&self) -> &[LoadedImage] {
        &self.images
    }

    /// The name of a code address, or a reason why there is none. `None` where there is no image at all.
    pub fn resolve(&mut self, address: GuestVirtual, kind: AddressKind) -> Option<Resolution> {
        let lookup = kind.lookup(address);
        let home = self.symbolizers.iter().position(|one| one.is_executable(lookup));
        Some(self.symbolizers.get_mut(home.unwrap_or(0))?.resolve(address, kind))
    }

    /// Whether an image has code at an address.
    #[must_use]
    pub fn is_code(&self, address: GuestVirtual) -> bool {
        self.symbolizers.iter().any(|one| one.is_executable(address))
    }

    /// The image that an address, of code or of data, lies in.
    #[must_use]
    pub fn place(&self, address: GuestVirtual) -> Option<Place> {
        let links = self.images.iter().map(|loaded| loaded.bias.to_link(address)).enumerate();
        links.map(|(image, link)| Place { image, link }).find(|place| {
            let segments = self.images[place.image].image.segments();
            segments.iter().any(|segment| {
                place.link.offset_from(segment.address).is_some_and(|offset| offset < segment.size)
            })
        })
    }

    /// The types of an image, which are found when they are first asked for. `None` where there is no such image.
    pub(crate) fn types(&mut self, image: usize) -> Option<Result<Parts<'_>, TypesError>> {
        let loaded = self.images.get(image)?;
        self.types.resize_with(self.images.len(), || None);
        let types = self.types.get_mut(image)?.get_or_insert_with(|| DataTypes::open(&loaded.image));
        Some(match types {
            Ok(types) => Ok((types, &mut self.symbolizers, loaded)),
            Err(error) => Err(error.clone()),
        })
    }

    /// What follows stacks of their code.
    pub fn unwinder(&mut self) -> &mut Unwinder {
        &mut self.unwinder
    }
}
