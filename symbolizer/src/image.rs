//! An ELF image: what it contains and where it lies, without any file access.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use object::elf::{self, FileHeader64, SectionHeader64};
use object::read::elf::{FileHeader as _, ProgramHeader as _, SectionHeader as _};
use object::{LittleEndian, pod};
use uniprof_wire::address::LinkAddress;

use crate::build_id::BuildId;
use crate::code::Code;
use crate::error::ImageError;
use crate::identity::{Identity, TextHash, TextRecord};
use crate::section::{Content, Section, Segment, file_range, section_names};
use crate::symbols::{CodeRanges, Symbol, Symbols};

/// What an image can say about its code, from best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DebugInfo {
    /// Functions, inlining and lines: `.debug_info` and `.debug_line`.
    pub dwarf: bool,
    /// A symbol table.
    pub symbols: bool,
    /// Call-frame information: `.eh_frame` or `.debug_frame`.
    pub frames: bool,
}

/// A parsed ELF image. Cheap to parse: debug information is only located, not read.
#[derive(Debug)]
pub struct Image {
    pub(crate) bytes: Arc<[u8]>,
    position_independent: bool,
    entry: LinkAddress,
    segments: Vec<Segment>,
    pub(crate) sections: Vec<Section>,
    pub(crate) symbols: Symbols,
    build_id: Option<BuildId>,
    text_record: Option<TextRecord>,
    text_hash: OnceLock<Option<TextHash>>,
    code_ranges: OnceLock<CodeRanges>,
}

impl Image {
    /// Parses an x86-64 ELF executable: `ET_EXEC`, or `ET_DYN` for a position-independent one. A file that ends early is
    /// accepted as far as its tables are whole.
    ///
    /// # Errors
    ///
    /// [`ImageError`] where the file is no such image or its tables contradict themselves.
    pub fn parse(bytes: impl Into<Arc<[u8]>>) -> Result<Self, ImageError> {
        let bytes: Arc<[u8]> = bytes.into();
        let header = file_header(&bytes)?;
        let programs = header.program_headers(LittleEndian, &*bytes).map_err(ImageError::damaged)?;
        let headers = header.section_headers(LittleEndian, &*bytes).map_err(ImageError::damaged)?;
        let names = section_names(header, headers, &bytes);
        let sections: Vec<Section> =
            headers.iter().map(|header| Section::read(header, &names, &bytes)).collect::<Result<_, _>>()?;
        let loaded = programs.iter().filter(|header| header.p_type(LittleEndian) == elf::PT_LOAD);
        let segments: Vec<Segment> = loaded.map(|header| Segment::read(header, &bytes)).collect();
        let notes = Notes::read(header, headers, &bytes);
        Ok(Self {
            position_independent: header.e_type(LittleEndian) == elf::ET_DYN,
            entry: LinkAddress(header.e_entry(LittleEndian)),
            symbols: read_symbols(headers, &bytes)?,
            build_id: notes.build_id,
            text_record: notes.text,
            segments,
            sections,
            text_hash: OnceLock::new(),
            code_ranges: OnceLock::new(),
            bytes,
        })
    }

    /// Whether the image may be loaded anywhere (`ET_DYN`) rather than only where it was linked.
    #[must_use]
    pub fn is_position_independent(&self) -> bool {
        self.position_independent
    }

    /// Where execution starts.
    #[must_use]
    pub fn entry(&self) -> LinkAddress {
        self.entry
    }

    /// The build-id, where the linker wrote one.
    #[must_use]
    pub fn build_id(&self) -> Option<&BuildId> {
        self.build_id.as_ref()
    }

    /// What tells this image from other builds: its build-id, else a hash of its text. `None` where it has neither, as
    /// in a file of debug information whose text was left out.
    #[must_use]
    pub fn identity(&self) -> Option<Identity> {
        match &self.build_id {
            Some(id) => Some(Identity::BuildId(id.clone())),
            None => self.text_hash().map(Identity::TextHash),
        }
    }

    /// The hash of the text, computed once.
    #[must_use]
    pub fn text_hash(&self) -> Option<TextHash> {
        *self.text_hash.get_or_init(|| match &self.text_record {
            Some(record) => Some(record.hash),
            None => TextHash::of_image(self),
        })
    }

    /// The parts that are loaded into memory.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The address and size of a symbol.
    #[must_use]
    pub fn symbol(&self, name: &str) -> Option<Symbol> {
        self.symbols.find(name, &self.bytes)
    }

    /// The content of a section, decompressed where it was compressed; `None` where there is no such section.
    ///
    /// # Errors
    ///
    /// [`ImageError`] where it cannot be decompressed, or would be larger than a section of such a file may be.
    pub fn section(&self, name: &str) -> Result<Option<SectionBytes>, ImageError> {
        let Some(section) = self.find_section(name) else { return Ok(None) };
        let content = section.content(&self.bytes)?;
        Ok(Some(SectionBytes { address: section.address, content }))
    }

    /// What the image can say about its code.
    #[must_use]
    pub fn debug_info(&self) -> DebugInfo {
        let has = |name| self.find_section(name).is_some_and(|section| !section.file.is_empty());
        DebugInfo {
            dwarf: has(".debug_info"),
            symbols: !self.symbols.is_empty(),
            frames: has(".eh_frame") || has(".debug_frame"),
        }
    }

    /// The ranges of addresses that hold code, in order: the executable sections, or where the file has no sections the
    /// executable segments.
    #[must_use]
    pub fn executable_ranges(&self) -> Vec<Range<u64>> {
        self.code().ranges
    }

    pub(crate) fn code(&self) -> Code {
        let range = |address: LinkAddress, size: u64| address.0..address.0.saturating_add(size);
        let code = self
            .sections
            .iter()
            .filter(|section| section.allocated && section.executable && section.size > 0);
        let mut ranges: Vec<_> = code.map(|section| range(section.address, section.size)).collect();
        if ranges.is_empty() {
            let code = self.segments.iter().filter(|segment| segment.executable && segment.size > 0);
            ranges = code.map(|segment| range(segment.address, segment.size)).collect();
        }
        Code::new(ranges)
    }

    pub(crate) fn find_section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name(&self.bytes) == name)
    }

    /// Whether an address is part of the image in memory.
    pub(crate) fn contains(&self, address: LinkAddress) -> bool {
        let inside =
            |start: LinkAddress, size| address.offset_from(start).is_some_and(|offset| offset < size);
        self.segments.iter().any(|segment| inside(segment.address, segment.size))
            || self.sections.iter().any(|section| section.allocated && section.contains(address))
    }

    /// The name of the section that an address of the loaded image lies in.
    pub(crate) fn section_at(&self, address: LinkAddress) -> Option<&str> {
        let section = self.sections.iter().find(|section| section.allocated && section.contains(address))?;
        Some(section.name(&self.bytes))
    }

    /// The name of the symbol whose code an address is.
    pub(crate) fn symbol_at(&self, address: LinkAddress) -> Option<&[u8]> {
        let ranges = self.code_ranges.get_or_init(|| CodeRanges::new(self));
        ranges.find(address).map(|entry| self.symbols.name(entry, &self.bytes))
    }

    pub(crate) fn text_record(&self) -> Option<&TextRecord> {
        self.text_record.as_ref()
    }
}

/// The content of a section.
#[derive(Debug, Clone)]
pub struct SectionBytes {
    /// The section's address in the loaded image; 0 where it is not loaded.
    pub address: LinkAddress,
    pub(crate) content: Content,
}

impl std::ops::Deref for SectionBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.content.memory[self.content.range.clone()]
    }
}

pub(crate) fn file_header(bytes: &[u8]) -> Result<&FileHeader64<LittleEndian>, ImageError> {
    if !bytes.starts_with(&elf::ELFMAG) {
        return Err(ImageError::NotElf { start: bytes[..bytes.len().min(4)].to_vec() });
    }
    let unsupported = |found: &str| ImageError::Unsupported { found: found.to_owned() };
    let (header, _) = pod::from_bytes::<FileHeader64<LittleEndian>>(bytes)
        .map_err(|()| ImageError::damaged("the file ends within its header"))?;
    if !header.is_class_64() {
        return Err(unsupported("a 32-bit ELF file"));
    }
    if !header.is_little_endian() {
        return Err(unsupported("a big-endian ELF file"));
    }
    match header.e_machine(LittleEndian) {
        elf::EM_X86_64 => {}
        other => return Err(unsupported(&format!("an ELF file for machine {}", other.0))),
    }
    match header.e_type(LittleEndian) {
        elf::ET_EXEC | elf::ET_DYN => Ok(header),
        elf::ET_REL => Err(unsupported("an object file that is not linked (ET_REL)")),
        elf::ET_CORE => Err(unsupported("a core file (ET_CORE)")),
        other => Err(unsupported(&format!("an ELF file of type {}", other.0))),
    }
}

fn read_symbols(headers: &[SectionHeader64<LittleEndian>], bytes: &[u8]) -> Result<Symbols, ImageError> {
    for kind in [elf::SHT_SYMTAB, elf::SHT_DYNSYM] {
        let Some(table) = headers.iter().find(|header| header.sh_type(LittleEndian) == kind) else {
            continue;
        };
        let names = headers.get(table.sh_link(LittleEndian) as usize).and_then(|names| {
            let (offset, size) = names.file_range(LittleEndian)?;
            file_range(offset, size, bytes.len())
        });
        let Some(names) = names else { return Err(ImageError::damaged("the symbol names lie outside")) };
        let symbols = table.data_as_array(LittleEndian, bytes).map_err(ImageError::damaged)?;
        let symbols = Symbols::read(symbols, names);
        if !symbols.is_empty() {
            return Ok(symbols);
        }
    }
    Ok(Symbols::default())
}

/// What the notes of an image say.
#[derive(Default)]
struct Notes {
    build_id: Option<BuildId>,
    text: Option<TextRecord>,
}

impl Notes {
    fn read(
        header: &FileHeader64<LittleEndian>,
        headers: &[SectionHeader64<LittleEndian>],
        bytes: &[u8],
    ) -> Self {
        let mut notes = Self::default();
        for section in headers {
            if let Ok(Some(found)) = section.notes(LittleEndian, bytes) {
                notes.add(found);
            }
        }
        for segment in header.program_headers(LittleEndian, bytes).unwrap_or_default() {
            if let Ok(Some(found)) = segment.notes(LittleEndian, bytes) {
                notes.add(found);
            }
        }
        notes
    }

    fn add(&mut self, mut found: object::read::elf::NoteIterator<'_, FileHeader64<LittleEndian>>) {
        while let Ok(Some(note)) = found.next() {
            let kind = note.n_type(LittleEndian);
            if note.name() == b"GNU" && kind == elf::NT_GNU_BUILD_ID && self.build_id.is_none() {
                self.build_id = BuildId::new(note.desc());
            }
            if note.name() == TextRecord::NOTE_NAME && kind.0 == TextRecord::NOTE_TYPE && self.text.is_none()
            {
                self.text = TextRecord::decode(note.desc());
            }
        }
    }
}
