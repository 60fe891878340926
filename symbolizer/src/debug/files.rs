//! The sections of an image's debug information, and those that were split off it.

use std::borrow::Cow;
use std::sync::Arc;

use gimli::{
    Dwarf, DwarfPackage, DwarfPackageSections, DwarfSections, DwoId, EndianSlice, LittleEndian, Reader,
};
use rustc_hash::FxHashMap;

use crate::debug::lazy::LazyReader;
use crate::image::{Image, SectionPlace};

/// Sections that say nothing of functions and lines, or repeat what others say.
const UNUSED: [&str; 7] = [
    ".debug_loc",
    ".debug_loclists",
    ".debug_macinfo",
    ".debug_macro",
    ".debug_names",
    ".debug_types",
    ".debug_aranges",
];

fn used(name: &str) -> Option<&str> {
    (!UNUSED.contains(&name)).then_some(name)
}

fn all(name: &str) -> Option<&str> {
    Some(name)
}

/// The sections of an image and of what was attached to it, held in some way.
pub(crate) struct Sections<T> {
    main: DwarfSections<T>,
    supplement: Option<DwarfSections<T>>,
    package: Option<DwarfPackageSections<T>>,
    objects: Vec<(u64, DwarfSections<T>)>,
    /// How many bytes these are.
    size: usize,
}

impl<T> Sections<T> {
    fn load<'i>(
        image: &'i Image,
        wanted: fn(&str) -> Option<&str>,
        hold: impl Fn(Option<SectionPlace<'i>>) -> Result<T, String>,
        len: impl Fn(&T) -> usize,
    ) -> Result<Self, String> {
        let mut size = 0;
        let mut section = |image: &'i Image, name: Option<&str>| {
            let place = name.map(|name| image.section_place(name)).transpose();
            let held = hold(place.map_err(|error| error.to_string())?.flatten())?;
            size += len(&held);
            Ok::<T, String>(held)
        };
        let main = DwarfSections::load(|id| section(image, wanted(id.name())))?;
        let supplement = image.parts.supplement.as_deref();
        let supplement = supplement.map(|file| DwarfSections::load(|id| section(file, wanted(id.name()))));
        let package = image.parts.package.as_deref();
        let package = package.map(|file| {
            // All of them, since an index has places in each. One that cannot be unpacked makes lookups fail.
            DwarfPackageSections::load(|id| section(file, id.dwo_name()).map_err(|_| gimli::Error::Io))
        });
        let mut objects = Vec::new();
        for (id, file) in &image.parts.objects {
            objects.extend(
                DwarfSections::load(|part| section(file, part.dwo_name())).ok().map(|file| (*id, file)),
            );
        }
        Ok(Self {
            main,
            supplement: supplement.transpose()?,
            package: package.and_then(Result::ok),
            objects,
            size,
        })
    }

    fn files<'s, R: Reader<Offset = usize>>(&'s self, read: impl Fn(&'s T) -> R, empty: R) -> Files<R> {
        let mut main = self.main.borrow(&read);
        if let Some(supplement) = &self.supplement {
            main.set_sup(supplement.borrow(&read));
        }
        let package = self.package.as_ref().and_then(|package| package.borrow(&read, empty).ok());
        let objects = self.objects.iter().map(|(id, object)| {
            let mut object = object.borrow(&read);
            object.make_dwo(&main);
            (*id, Arc::new(object))
        });
        Files { objects: objects.collect(), package, main, size: self.size }
    }
}

impl<'i> Sections<Cow<'i, [u8]>> {
    /// All of them, in memory.
    pub(crate) fn read(image: &'i Image) -> Result<Self, String> {
        let hold = |place| match place {
            Some(SectionPlace::File(file, range)) => {
                let bytes = file.bytes(range).map_err(|error| error.to_string())?;
                Ok(bytes)
            }
            Some(SectionPlace::Memory(content)) => Ok(Cow::Owned(content.to_vec())),
            None => Ok(Cow::Borrowed(&[][..])),
        };
        Self::load(image, used, hold, |bytes| bytes.len())
    }

    pub(crate) fn as_files(&self) -> Files<EndianSlice<'_, LittleEndian>> {
        self.files(|bytes| EndianSlice::new(bytes, LittleEndian), EndianSlice::new(&[], LittleEndian))
    }
}

/// All debug information of an image, from whatever files.
pub(crate) struct Files<R: Reader> {
    pub(crate) main: Dwarf<R>,
    package: Option<DwarfPackage<R>>,
    objects: FxHashMap<u64, Arc<Dwarf<R>>>,
    /// How many bytes these are.
    pub(crate) size: usize,
}

impl<R: Reader> Files<R> {
    /// The split debug information of one unit; `None` where no file with it was attached, or it is damaged.
    pub(crate) fn split(&self, id: DwoId) -> Option<Arc<Dwarf<R>>> {
        if let Some(package) = &self.package
            && let Ok(Some(found)) = package.find_cu(id, &self.main)
        {
            return Some(Arc::new(found));
        }
        self.objects.get(&id.0).map(Arc::clone)
    }
}

impl Files<LazyReader> {
    /// Finds out where the sections are, and unpacks those that are packed; the rest is read as it is needed.
    pub(crate) fn open(image: &Image) -> Result<Self, String> {
        Self::open_sections(image, used)
    }

    /// The same with the sections that tell of variables, too.
    pub(crate) fn open_all(image: &Image) -> Result<Self, String> {
        Self::open_sections(image, all)
    }

    fn open_sections(image: &Image, wanted: fn(&str) -> Option<&str>) -> Result<Self, String> {
        let hold = |place| {
            Ok(match place {
                Some(SectionPlace::File(file, range)) => LazyReader::paged(file.clone(), range),
                Some(SectionPlace::Memory(content)) => LazyReader::whole(content),
                None => LazyReader::whole(Vec::new().into()),
            })
        };
        let sections = Sections::load(image, wanted, hold, |reader: &LazyReader| reader.len())?;
        Ok(sections.files(LazyReader::clone, LazyReader::whole(Vec::new().into())))
    }
}
