//! Sections and segments of an image, and the bytes of a section, decompressed where needed.

use std::ops::Range;
use std::sync::Arc;

use object::elf::{self, FileHeader64};
use object::read::elf::{CompressionHeader as _, FileHeader as _, ProgramHeader as _, SectionHeader as _};
use object::read::{CompressedData, CompressionFormat};
use object::{LittleEndian, elf::ProgramHeader64, elf::SectionHeader64};
use uniprof_wire::address::LinkAddress;

use crate::error::ImageError;

/// Names longer than this belong to no section that anyone asks for. Without a limit, a file of overlapping names makes
/// reading them quadratic.
const MAX_NAME: usize = 256;

/// A part of the image that is loaded into memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Its first address.
    pub address: LinkAddress,
    /// Its size in memory.
    pub size: u64,
    /// Whether its memory is executable.
    pub executable: bool,
    /// Where in the file its content lies; shorter than `size` where the rest is zero.
    pub file: Range<usize>,
}

impl Segment {
    pub(crate) fn read(header: &ProgramHeader64<LittleEndian>, bytes: &[u8]) -> Self {
        let (offset, size) = header.file_range(LittleEndian);
        Self {
            address: LinkAddress(header.p_vaddr(LittleEndian)),
            size: header.p_memsz(LittleEndian),
            executable: header.p_flags(LittleEndian).0 & elf::PF_X.0 != 0,
            file: file_range(offset, size, bytes.len()).unwrap_or(0..0),
        }
    }
}

/// A section of the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Section {
    /// Where in the file its name lies.
    name: Range<usize>,
    pub(crate) address: LinkAddress,
    /// Its size in memory.
    pub(crate) size: u64,
    /// Where in the file its content lies; empty for a section without content there.
    pub(crate) file: Range<usize>,
    pub(crate) allocated: bool,
    pub(crate) executable: bool,
    compression: Option<(CompressionFormat, u64)>,
}

impl Section {
    pub(crate) fn read(
        header: &SectionHeader64<LittleEndian>,
        names: &Range<usize>,
        bytes: &[u8],
    ) -> Result<Self, ImageError> {
        let flags = header.sh_flags(LittleEndian).0;
        let file = match header.file_range(LittleEndian) {
            // What was cut off with the end of the file is not there; the rest of the image may still be of use.
            Some((offset, size)) => file_range(offset, size, bytes.len()).unwrap_or(0..0),
            None => 0..0,
        };
        let mut section = Self {
            name: name_range(header.sh_name(LittleEndian), names, bytes),
            address: LinkAddress(header.sh_addr(LittleEndian)),
            size: header.sh_size(LittleEndian),
            file,
            allocated: flags & elf::SHF_ALLOC.0 != 0,
            executable: flags & elf::SHF_EXECINSTR.0 != 0,
            compression: None,
        };
        if flags & elf::SHF_COMPRESSED.0 != 0 && !section.file.is_empty() {
            let found = header.compression(LittleEndian, bytes).map_err(ImageError::damaged)?;
            if let Some((packed, offset, size)) = found {
                let whole = file_range(offset, size, bytes.len());
                section.file =
                    whole.ok_or_else(|| ImageError::damaged("a compressed section lies outside"))?;
                let format = match packed.ch_type(LittleEndian) {
                    elf::ELFCOMPRESS_ZLIB => CompressionFormat::Zlib,
                    elf::ELFCOMPRESS_ZSTD => CompressionFormat::Zstandard,
                    other => return Err(ImageError::damaged(format!("compression {} is unknown", other.0))),
                };
                section.compression = Some((format, packed.ch_size(LittleEndian)));
            }
        }
        Ok(section)
    }

    pub(crate) fn name<'a>(&self, bytes: &'a [u8]) -> &'a str {
        std::str::from_utf8(&bytes[self.name.clone()]).unwrap_or("(unreadable section name)")
    }

    pub(crate) fn contains(&self, address: LinkAddress) -> bool {
        address.offset_from(self.address).is_some_and(|offset| offset < self.size)
    }

    /// The content, which is either part of the file or new memory.
    pub(crate) fn content(&self, bytes: &Arc<[u8]>) -> Result<Content, ImageError> {
        let Some((format, claimed)) = self.compression else {
            return Ok(Content { memory: Arc::clone(bytes), range: self.file.clone() });
        };
        let limit = largest_content(bytes.len());
        if claimed > limit {
            return Err(ImageError::TooLarge { section: self.name(bytes).to_owned(), claimed, limit });
        }
        let packed = CompressedData { format, data: &bytes[self.file.clone()], uncompressed_size: claimed };
        let unpacked = packed
            .decompress()
            .map_err(|error| ImageError::damaged(format!("section {}: {error}", self.name(bytes))))?;
        let memory: Arc<[u8]> = unpacked.into_owned().into();
        let range = 0..memory.len();
        Ok(Content { memory, range })
    }
}

/// The bytes of a section.
#[derive(Debug, Clone)]
pub(crate) struct Content {
    pub(crate) memory: Arc<[u8]>,
    pub(crate) range: Range<usize>,
}

/// How large a decompressed section of a file may be. DWARF shrinks to a third or a tenth; zlib can reach a thousandth
/// and zstd any fraction, which only a bomb does.
fn largest_content(file: usize) -> u64 {
    (16 << 20) + 32 * file as u64
}

pub(crate) fn file_range(offset: u64, size: u64, file: usize) -> Option<Range<usize>> {
    let end = offset.checked_add(size)?;
    (end <= file as u64).then_some(offset as usize..end as usize)
}

fn name_range(offset: u32, names: &Range<usize>, bytes: &[u8]) -> Range<usize> {
    let start = names.start.saturating_add(offset as usize);
    let Some(rest) = bytes.get(start..names.end) else { return 0..0 };
    match rest.iter().take(MAX_NAME).position(|byte| *byte == 0) {
        Some(len) => start..start + len,
        None => 0..0,
    }
}

/// Where the names of the sections lie in the file.
pub(crate) fn section_names(
    header: &FileHeader64<LittleEndian>,
    headers: &[SectionHeader64<LittleEndian>],
    bytes: &[u8],
) -> Range<usize> {
    let index = header.shstrndx(LittleEndian, bytes).unwrap_or(0) as usize;
    let range = headers.get(index).and_then(|names| names.file_range(LittleEndian));
    range.and_then(|(offset, size)| file_range(offset, size, bytes.len())).unwrap_or(0..0)
}
