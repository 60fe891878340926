//! Sections and segments of an image, and the bytes of a section, decompressed where needed.

use std::ops::Range;

use object::elf::{self, FileHeader64};
use object::read::elf::{CompressionHeader as _, FileHeader as _, ProgramHeader as _, SectionHeader as _};
use object::read::{CompressedData, CompressionFormat};
use object::{LittleEndian, ReadRef, elf::ProgramHeader64, elf::SectionHeader64};
use uniprof_wire::address::LinkAddress;

use crate::error::ImageError;
use crate::store::{Content, Store};

/// Names longer than this belong to no section that anyone asks for. Without a limit, a file of overlapping names makes
/// reading them quadratic.
const MAX_NAME: usize = 256;

/// How sections were called that GNU tools compressed before ELF knew compression, and the bytes before their content.
const OLD_PREFIX: &str = ".zdebug_";
const OLD_HEAD: usize = 12;

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
    pub(crate) fn read(header: &ProgramHeader64<LittleEndian>, file: usize) -> Self {
        let (offset, size) = header.file_range(LittleEndian);
        Self {
            address: LinkAddress(header.p_vaddr(LittleEndian)),
            size: header.p_memsz(LittleEndian),
            executable: header.p_flags(LittleEndian).0 & elf::PF_X.0 != 0,
            file: file_range(offset, size, file).unwrap_or(0..0),
        }
    }
}

/// A section of the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Section {
    name: Box<str>,
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
    pub(crate) fn read<'a, R: ReadRef<'a>>(
        header: &SectionHeader64<LittleEndian>,
        names: &[u8],
        data: R,
    ) -> Result<Self, ImageError> {
        let len = file_len(data);
        let flags = header.sh_flags(LittleEndian).0;
        let file = match header.file_range(LittleEndian) {
            // What was cut off with the end of the file is not there; the rest of the image may still be of use.
            Some((offset, size)) => file_range(offset, size, len).unwrap_or(0..0),
            None => 0..0,
        };
        let mut section = Self {
            name: name(header.sh_name(LittleEndian), names).into(),
            address: LinkAddress(header.sh_addr(LittleEndian)),
            size: header.sh_size(LittleEndian),
            file,
            allocated: flags & elf::SHF_ALLOC.0 != 0,
            executable: flags & elf::SHF_EXECINSTR.0 != 0,
            compression: None,
        };
        if flags & elf::SHF_COMPRESSED.0 != 0 && !section.file.is_empty() {
            let found = header.compression(LittleEndian, data).map_err(ImageError::damaged)?;
            if let Some((packed, offset, size)) = found {
                let whole = file_range(offset, size, len);
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
        section.recognise_zdebug(data);
        Ok(section)
    }

    /// What GNU tools wrote before `SHF_COMPRESSED`: `.zdebug_info` and so on, which begin with `ZLIB` and the size as eight
    /// big-endian bytes.
    fn recognise_zdebug<'a, R: ReadRef<'a>>(&mut self, data: R) {
        if !self.name.starts_with(OLD_PREFIX) || self.file.len() < OLD_HEAD {
            return;
        }
        let head = data.read_bytes_at(self.file.start as u64, OLD_HEAD as u64).unwrap_or_default();
        if let Some([b'Z', b'L', b'I', b'B', size @ ..]) = head.first_chunk::<OLD_HEAD>() {
            self.compression = Some((CompressionFormat::Zlib, u64::from_be_bytes(*size)));
            self.file.start += OLD_HEAD;
        }
    }

    /// Whether it is called `name`, or `.zdebug_…` where `.debug_…` is asked for.
    pub(crate) fn is_called(&self, name: &str) -> bool {
        let old = || Some((self.name.strip_prefix(OLD_PREFIX)?, name.strip_prefix(".debug_")?));
        *self.name == *name || old().is_some_and(|(own, asked)| own == asked)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn is_compressed(&self) -> bool {
        self.compression.is_some()
    }

    pub(crate) fn contains(&self, address: LinkAddress) -> bool {
        address.offset_from(self.address).is_some_and(|offset| offset < self.size)
    }

    /// The content, which is either part of the file or new memory.
    pub(crate) fn content(&self, file: &Store) -> Result<Content, ImageError> {
        let unreadable = |error: std::io::Error| {
            ImageError::damaged(format!("section {} cannot be read: {error}", self.name))
        };
        let Some((format, claimed)) = self.compression else {
            return file.content(self.file.clone()).map_err(unreadable);
        };
        let limit = largest_content(file.len());
        if claimed > limit {
            return Err(ImageError::TooLarge { section: self.name.to_string(), claimed, limit });
        }
        let packed = file.bytes(self.file.clone()).map_err(unreadable)?;
        let packed = CompressedData { format, data: &packed, uncompressed_size: claimed };
        let unpacked = packed
            .decompress()
            .map_err(|error| ImageError::damaged(format!("section {}: {error}", self.name)))?;
        Ok(unpacked.into_owned().into())
    }
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

fn name(offset: u32, names: &[u8]) -> &str {
    let rest = names.get(offset as usize..).unwrap_or_default();
    let rest = &rest[..rest.len().min(MAX_NAME)];
    let name = rest.iter().position(|byte| *byte == 0).map(|len| &rest[..len]);
    std::str::from_utf8(name.unwrap_or_default()).unwrap_or("(unreadable section name)")
}

/// The names of the sections.
pub(crate) fn section_names<'a, R: ReadRef<'a>>(
    header: &FileHeader64<LittleEndian>,
    headers: &[SectionHeader64<LittleEndian>],
    data: R,
) -> &'a [u8] {
    let index = header.shstrndx(LittleEndian, data).unwrap_or(0) as usize;
    let range = headers.get(index).and_then(|names| names.file_range(LittleEndian));
    range.and_then(|(offset, size)| data.read_bytes_at(offset, size).ok()).unwrap_or_default()
}

/// The size of the file; 0 where that cannot be known.
pub(crate) fn file_len<'a, R: ReadRef<'a>>(data: R) -> usize {
    data.len().ok().and_then(|len| usize::try_from(len).ok()).unwrap_or(0)
}
