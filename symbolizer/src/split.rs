//! Split DWARF: debug information that the compiler left in object files, found again by its id.

use gimli::{DwarfPackage, LittleEndian, SectionId};

use crate::dwarf::{Reader, reader};
use crate::image::Image;

/// The index of a package (`.dwp`); `None` where it is damaged.
pub(crate) fn package(file: &Image) -> Option<DwarfPackage<Reader>> {
    // A section that cannot be unpacked is as good as none: lookups in it fail.
    let section = |id| -> Result<Reader, gimli::Error> { Ok(part(file, id).unwrap_or_else(|_| empty())) };
    DwarfPackage::load(section, empty()).ok()
}

/// Whether a package has the unit `id`.
pub(crate) fn holds(package: &DwarfPackage<Reader>, id: u64) -> bool {
    package.cu_index.find(id).is_some()
}

pub(crate) fn part(file: &Image, id: SectionId) -> Result<Reader, String> {
    id.dwo_name().map_or_else(|| Ok(empty()), |name| reader(file, name))
}

fn empty() -> Reader {
    Reader::new(Vec::new().into(), LittleEndian)
}
