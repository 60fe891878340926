//! Debug information of an image, read lazily by addr2line.

use std::sync::Arc;

use addr2line::Context;
use gimli::{EndianArcSlice, EndianReader, LittleEndian};

use crate::image::Image;

pub(crate) type Reader = EndianArcSlice<LittleEndian>;

/// The bytes of a section as gimli reads them; empty where there is no such section.
pub(crate) fn reader(image: &Image, name: &str) -> Result<Reader, String> {
    match image.section(name) {
        Ok(Some(bytes)) => {
            let memory = Arc::clone(&bytes.content.memory);
            Ok(EndianReader::new(memory, LittleEndian).range(bytes.content.range))
        }
        Ok(None) => Ok(EndianReader::new(Arc::from([]), LittleEndian)),
        Err(error) => Err(error.to_string()),
    }
}

/// The lookup structure; `None` where the image has no debug information, a text where it has some that is unusable.
pub(crate) fn context(image: &Image) -> Result<Option<Context<Reader>>, String> {
    if !image.debug_info().dwarf {
        return Ok(None);
    }
    let sections = gimli::DwarfSections::load(|id| reader(image, id.name()))?;
    let dwarf = sections.borrow(Reader::clone);
    Context::from_dwarf(dwarf).map(Some).map_err(|error| format!("unusable debug information: {error}"))
}
