//! A section as gimli reads it.

use std::sync::Arc;

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
