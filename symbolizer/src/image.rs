//! An ELF image: what it contains and where it lies. Reads files only through what the loader hands in.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use object::elf::{self, FileHeader64, ProgramHeader64, SectionHeader64};
use object::read::elf::{FileHeader as _, ProgramHeader as _, SectionHeader as _};
use object::{LittleEndian, ReadRef};
use uniprof_wire::address::LinkAddress;

use crate::build_id::BuildId;
use crate::code::Code;
use crate::demangle::demangle;
use crate::error::ImageError;
use crate::identity::{Identity, TextHash, TextRecord};
use crate::links::SplitUnit;
use crate::mini;
use crate::parts::Parts;
use crate::section::{Section, Segment, file_len, file_range, section_names};
use crate::store::{Content, Pieces, ReadAt, Store};
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

/// A parsed ELF image. Cheap to parse: debug information and symbols are only located, not read.
#[derive(Debug)]
pub struct Image {
    pub(crate) file: Store,
    position_independent: bool,
    entry: LinkAddress,
    segments: Vec<Segment>,
    pub(crate) sections: Vec<Section>,
    symbol_tables: Vec<SymbolTable>,
    symbols: OnceLock<Symbols>,
    build_id: Option<BuildId>,
    text_record: Option<TextRecord>,
    text_hash: OnceLock<Option<TextHash>>,
    code_ranges: OnceLock<CodeRanges>,
    mini: OnceLock<Option<Box<Image>>>,
    split_units: OnceLock<Arc<[SplitUnit]>>,
    pub(crate) parts: Parts,
}

impl Image {
    /// Parses an x86-64 ELF executable: `ET_EXEC`, or `ET_DYN` for a position-independent one. A file that ends early is
    /// accepted as far as its tables are whole.
    ///
    /// # Errors
    ///
    /// [`ImageError`] where the file is no such image or its tables contradict themselves.
    pub fn parse(bytes: impl Into<Arc<[u8]>>) -> Result<Self, ImageError> {
        let bytes = bytes.into();
        executable_header(&*bytes)?;
        Self::parse_any(bytes)
    }

    /// Parses an ELF file of any type: debug information also lies in relocatable ones.
    pub(crate) fn parse_any(bytes: Arc<[u8]>) -> Result<Self, ImageError> {
        Self::read(Store::Memory(Arc::clone(&bytes)), &*bytes)
    }

    /// Parses the image in a file that is read when a part of it is needed, and never as a whole.
    ///
    /// # Errors
    ///
    /// As [`Image::parse`]; a part that cannot be read counts as absent.
    pub fn open(file: Arc<dyn ReadAt>) -> Result<Self, ImageError> {
        executable_header(&Pieces::new(&*file))?;
        Self::open_any(file)
    }

    /// As [`Image::open`], but an ELF file of any type.
    pub(crate) fn open_any(file: Arc<dyn ReadAt>) -> Result<Self, ImageError> {
        Self::read(Store::File(Arc::clone(&file)), &Pieces::new(&*file))
    }

    fn read<'a, R: ReadRef<'a>>(file: Store, data: R) -> Result<Self, ImageError> {
        let header = file_header(data)?;
        let programs = header.program_headers(LittleEndian, data).map_err(ImageError::damaged)?;
        let headers = header.section_headers(LittleEndian, data).map_err(ImageError::damaged)?;
        let names = section_names(header, headers, data);
        let sections: Vec<Section> =
            headers.iter().map(|header| Section::read(header, names, data)).collect::<Result<_, _>>()?;
        let loaded = programs.iter().filter(|header| header.p_type(LittleEndian) == elf::PT_LOAD);
        let segments: Vec<Segment> = loaded.map(|header| Segment::read(header, file.len())).collect();
        let notes = Notes::read(programs, headers, data);
        Ok(Self {
            position_independent: header.e_type(LittleEndian) == elf::ET_DYN,
            entry: LinkAddress(header.e_entry(LittleEndian)),
            symbol_tables: symbol_tables(headers, file.len())?,
            symbols: OnceLock::new(),
            build_id: notes.build_id,
            text_record: notes.text,
            segments,
            sections,
            text_hash: OnceLock::new(),
            code_ranges: OnceLock::new(),
            mini: OnceLock::new(),
            split_units: OnceLock::new(),
            parts: Parts::default(),
            file,
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
        self.symbol_sources().find_map(|source| source.symbols().find(name))
    }

    /// The symbol that is called so in the source: `kv::get` finds `_RNvNt…2kv3get`, and so does any longer part of its path.
    /// Of several the one with the shortest path.
    #[must_use]
    pub fn symbol_called(&self, name: &str) -> Option<Symbol> {
        self.symbol(name).or_else(|| self.symbol_sources().find_map(|source| source.symbols().called(name)))
    }

    /// The readable name of the symbol, of code or of data, that has an address, and how far behind its start that is.
    #[must_use]
    pub fn owner_of(&self, address: LinkAddress) -> Option<(String, u64)> {
        self.symbol_sources().find_map(|source| {
            let symbols = source.symbols();
            let entry = symbols.at(address.0)?;
            let name = String::from_utf8_lossy(symbols.name(entry)).into_owned();
            Some((demangle(&name), address.0 - entry.address))
        })
    }

    /// The files whose symbols count, best first: each has a symbol table, or what is exported, of this image.
    pub(crate) fn symbol_sources(&self) -> impl Iterator<Item = &Image> {
        let own = self.symbols().is_whole();
        let whole = self.parts.debug.as_deref().filter(|file| !own && file.symbols().is_whole());
        let mini = (!own && whole.is_none()).then(|| self.mini()).flatten();
        whole.into_iter().chain([self]).chain(mini)
    }

    fn mini(&self) -> Option<&Image> {
        self.mini.get_or_init(|| mini::open(self).map(Box::new)).as_deref()
    }

    /// After a file was attached, what was derived from less is derived again.
    pub(crate) fn forget_derived(&mut self) {
        self.code_ranges = OnceLock::new();
        self.split_units = OnceLock::new();
    }

    /// The units whose debug information lies in other files, read once.
    pub(crate) fn split_units(&self) -> Arc<[SplitUnit]> {
        Arc::clone(self.split_units.get_or_init(|| SplitUnit::all(self).into()))
    }

    /// The content of a section, decompressed where it was compressed; `None` where there is no such section.
    ///
    /// # Errors
    ///
    /// [`ImageError`] where it cannot be decompressed, or would be larger than a section of such a file may be.
    pub fn section(&self, name: &str) -> Result<Option<SectionBytes>, ImageError> {
        let holder = self.holder(name);
        let Some(section) = holder.find_section(name) else { return Ok(None) };
        let content = section.content(&holder.file)?;
        Ok(Some(SectionBytes { address: section.address, content }))
    }

    /// Where the content of a section is; `None` where there is no such section. Reads only what is compressed.
    pub(crate) fn section_place(&self, name: &str) -> Result<Option<SectionPlace<'_>>, ImageError> {
        let holder = self.holder(name);
        let Some(section) = holder.find_section(name) else { return Ok(None) };
        Ok(Some(match section.is_compressed() {
            true => SectionPlace::Memory(section.content(&holder.file)?),
            false => SectionPlace::File(&holder.file, section.file.clone()),
        }))
    }

    /// The file that a section is read from: this one, or the debug file that was attached. Debug information refers to
    /// itself from section to section, so all of it comes from one file.
    fn holder(&self, name: &str) -> &Self {
        let Some(debug) = self.parts.debug.as_deref() else { return self };
        let together = name.starts_with(".debug_") && name != ".debug_frame" || name == ".gnu_debugaltlink";
        let asked = if together { ".debug_info" } else { name };
        if self.has_own_content(asked) || !debug.has_own_content(asked) { self } else { debug }
    }

    /// Whether a section is there and not empty, here or in the debug file that was attached.
    pub(crate) fn has_content(&self, name: &str) -> bool {
        self.holder(name).has_own_content(name)
    }

    fn has_own_content(&self, name: &str) -> bool {
        self.find_section(name).is_some_and(|section| !section.file.is_empty())
    }

    /// What the image can say about its code.
    #[must_use]
    pub fn debug_info(&self) -> DebugInfo {
        let has = |name| self.has_content(name);
        DebugInfo {
            dwarf: has(".debug_info"),
            symbols: self.symbol_sources().any(|source| !source.symbols().is_empty()),
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
        self.sections.iter().find(|section| section.is_called(name))
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
        Some(section.name())
    }

    /// The name of the symbol whose code an address is.
    pub(crate) fn symbol_at(&self, address: LinkAddress) -> Option<&[u8]> {
        self.symbol_sources().find_map(|source| source.own_symbol_at(address))
    }

    /// Where it changes which symbol names an address.
    pub(crate) fn symbol_boundaries(&self) -> impl Iterator<Item = u64> {
        let ranges =
            self.symbol_sources().map(|image| image.code_ranges.get_or_init(|| CodeRanges::new(image)));
        ranges.flat_map(CodeRanges::boundaries)
    }

    fn own_symbol_at(&self, address: LinkAddress) -> Option<&[u8]> {
        let ranges = self.code_ranges.get_or_init(|| CodeRanges::new(self));
        ranges.find(address).map(|entry| self.symbols().name(entry))
    }

    /// The symbols of the first table that has any; none where the file can no longer be read.
    pub(crate) fn symbols(&self) -> &Symbols {
        self.symbols.get_or_init(|| {
            let read = |table: &SymbolTable| {
                let names = self.file.content(table.names.clone()).ok()?;
                let symbols =
                    Symbols::read(&self.file.bytes(table.symbols.clone()).ok()?, names, table.whole);
                (!symbols.is_empty()).then_some(symbols)
            };
            self.symbol_tables.iter().find_map(read).unwrap_or_default()
        })
    }

    /// Whether the files that it is read from still are what they were.
    pub(crate) fn is_unchanged(&self) -> bool {
        let parts = [&self.parts.debug, &self.parts.supplement, &self.parts.package];
        let objects = self.parts.objects.iter().map(|(_, file)| file);
        let mut all = parts.into_iter().flatten().chain(objects);
        self.file.is_unchanged() && all.all(|file| file.file.is_unchanged())
    }

    pub(crate) fn text_record(&self) -> Option<&TextRecord> {
        self.text_record.as_ref()
    }
}

/// Where the content of a section is.
pub(crate) enum SectionPlace<'i> {
    /// As it is in the file.
    File(&'i Store, Range<usize>),
    /// Unpacked.
    Memory(Content),
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
        &self.content
    }
}

pub(crate) fn file_header<'a, R: ReadRef<'a>>(data: R) -> Result<&'a FileHeader64<LittleEndian>, ImageError> {
    let start = data.read_bytes_at(0, file_len(data).min(4) as u64).unwrap_or_default();
    if start != elf::ELFMAG {
        return Err(ImageError::NotElf { start: start.to_vec() });
    }
    let header: &FileHeader64<LittleEndian> =
        data.read_at(0).map_err(|()| ImageError::damaged("the file ends within its header"))?;
    let unsupported = |found: &str| ImageError::Unsupported { found: found.to_owned() };
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
    Ok(header)
}

/// The header of a file that can be loaded.
pub(crate) fn executable_header<'a, R: ReadRef<'a>>(
    data: R,
) -> Result<&'a FileHeader64<LittleEndian>, ImageError> {
    let header = file_header(data)?;
    let unsupported = |found: &str| ImageError::Unsupported { found: found.to_owned() };
    match header.e_type(LittleEndian) {
        elf::ET_EXEC | elf::ET_DYN => Ok(header),
        elf::ET_REL => Err(unsupported("an object file that is not linked (ET_REL)")),
        elf::ET_CORE => Err(unsupported("a core file (ET_CORE)")),
        other => Err(unsupported(&format!("an ELF file of type {}", other.0))),
    }
}

/// Where in the file a symbol table and its names lie.
#[derive(Debug)]
struct SymbolTable {
    symbols: Range<usize>,
    names: Range<usize>,
    /// Whether it is a whole symbol table, not only what is exported.
    whole: bool,
}

/// The tables that the file has: the full one, then that of the dynamic linker.
fn symbol_tables(
    headers: &[SectionHeader64<LittleEndian>],
    file: usize,
) -> Result<Vec<SymbolTable>, ImageError> {
    let place = |header: &SectionHeader64<LittleEndian>| {
        let (offset, size) = header.file_range(LittleEndian)?;
        file_range(offset, size, file)
    };
    let mut tables = Vec::new();
    for kind in [elf::SHT_SYMTAB, elf::SHT_DYNSYM] {
        let Some(table) = headers.iter().find(|header| header.sh_type(LittleEndian) == kind) else {
            continue;
        };
        let names = headers.get(table.sh_link(LittleEndian) as usize).and_then(place);
        let Some(names) = names else { return Err(ImageError::damaged("the symbol names lie outside")) };
        let symbols = place(table).ok_or_else(|| ImageError::damaged("the symbol table lies outside"))?;
        tables.push(SymbolTable { symbols, names, whole: kind == elf::SHT_SYMTAB });
    }
    Ok(tables)
}

/// What the notes of an image say.
#[derive(Default)]
struct Notes {
    build_id: Option<BuildId>,
    text: Option<TextRecord>,
}

impl Notes {
    fn read<'a, R: ReadRef<'a>>(
        programs: &[ProgramHeader64<LittleEndian>],
        headers: &[SectionHeader64<LittleEndian>],
        data: R,
    ) -> Self {
        let mut notes = Self::default();
        // Notes that overlap would be read again and again.
        let mut left = file_len(data) as u64;
        let mut fits = |size| left.checked_sub(size).inspect(|rest| left = *rest).is_some();
        for section in headers.iter().filter(|header| header.sh_type(LittleEndian) == elf::SHT_NOTE) {
            if fits(section.sh_size(LittleEndian))
                && let Ok(Some(found)) = section.notes(LittleEndian, data)
            {
                notes.add(found);
            }
        }
        for segment in programs.iter().filter(|header| header.p_type(LittleEndian) == elf::PT_NOTE) {
            if fits(segment.p_filesz(LittleEndian))
                && let Ok(Some(found)) = segment.notes(LittleEndian, data)
            {
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
