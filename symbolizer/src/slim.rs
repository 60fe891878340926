//! An image without its code and data: what is needed to name addresses elsewhere.

use std::borrow::Cow;

use object::elf::{self, FileHeader64, ProgramHeader64, SectionHeader64};
use object::read::elf::{FileHeader as _, ProgramHeader as _, SectionHeader as _};
use object::{LittleEndian, pod};

use crate::error::ImageError;
use crate::identity::TextRecord;
use crate::image::{Image, file_header};
use crate::section::file_range;

type Header = FileHeader64<LittleEndian>;
type Program = ProgramHeader64<LittleEndian>;
type Section = SectionHeader64<LittleEndian>;

/// What addresses are named with. `.debug_loc*`, `.debug_macro`, `.debug_pub*` and the like are not in it: they tell of
/// variables, or repeat the others.
const KEPT: [&str; 20] = [
    ".debug_info",
    ".debug_abbrev",
    ".debug_line",
    ".debug_str",
    ".debug_line_str",
    ".debug_ranges",
    ".debug_rnglists",
    ".debug_addr",
    ".debug_str_offsets",
    ".debug_aranges",
    ".debug_frame",
    ".debug_types",
    ".eh_frame",
    ".eh_frame_hdr",
    ".gnu_debuglink",
    ".gnu_debugaltlink",
    ".gnu_debugdata",
    ".symtab_shndx",
    "uniprof_sites",
    ".uniprof_sites",
];

const TEXT_NOTE: &[u8] = b".note.uniprof.text\0";

/// An ELF file with the same symbols, debug information, call-frame information, notes and event sites, at the same
/// addresses and in sections of the same index, but without code and data (their sections become `SHT_NOBITS`, as
/// `objcopy --only-keep-debug` does it). A note holds the hash of the text, so that it still can be compared with a
/// guest. A file without sections is returned as it is: nothing in it could be told apart.
///
/// # Errors
///
/// What [`Image::parse`] finds, or [`ImageError::Damaged`] where sections overlap in the file.
pub fn slim(bytes: &[u8]) -> Result<Vec<u8>, ImageError> {
    slim_image(&Image::parse(bytes)?)
}

/// [`slim`] for an image that a debug file was attached to: the sections of both in one file. Other attached files are
/// left out, see [`Image::part_files`].
///
/// # Errors
///
/// [`ImageError::Damaged`] where sections overlap in the file.
pub fn slim_image(image: &Image) -> Result<Vec<u8>, ImageError> {
    let bytes = &*whole(image)?;
    let header = file_header(bytes)?;
    let sections = header.section_headers(LittleEndian, bytes).map_err(ImageError::damaged)?;
    let programs = header.program_headers(LittleEndian, bytes).map_err(ImageError::damaged)?;
    if sections.is_empty() {
        return Ok(bytes.to_vec());
    }
    let names = header.shstrndx(LittleEndian, bytes).map_err(ImageError::damaged)? as usize;
    if sections.get(names).is_none_or(|names| names.sh_type(LittleEndian) != elf::SHT_STRTAB) {
        return Err(ImageError::damaged("its section names are not in a string table"));
    }
    // They grow by the names of what is added; code and data must stay as large as they are.
    if sections[names].sh_flags(LittleEndian).0 & elf::SHF_ALLOC.0 != 0 {
        return Err(ImageError::damaged("its section names are part of the loaded image"));
    }
    let debug = image.parts.debug.as_deref().map_or(Ok(Cow::Borrowed(&[][..])), whole)?;
    let added = Added::new(image, &debug)?;
    let mut writer = Writer::new(programs.len(), bytes.len() + added.file_size());
    let mut slimmed: Vec<Section> = Vec::with_capacity(sections.len() + 1 + added.sections.len());
    let kept = kept(image, sections, names);
    let note = match TextRecord::of_image(image) {
        Some(record) if image.text_record().is_none() => Some(record),
        _ => None,
    };
    let mut more_names = Vec::new();
    let names_end = sections[names].sh_size(LittleEndian);
    for (index, section) in sections.iter().enumerate() {
        let mut section = *section;
        if kept[index] {
            writer.copy(bytes, &mut section)?;
            if index == names {
                note.iter().for_each(|_| more_names.extend_from_slice(TEXT_NOTE));
                added
                    .sections
                    .iter()
                    .for_each(|(name, _)| more_names.extend([name.as_bytes(), &[0]].concat()));
                writer.out.extend_from_slice(&more_names);
                section.sh_size.set(LittleEndian, names_end + more_names.len() as u64);
            }
        } else {
            empty(&mut section);
        }
        slimmed.push(section);
    }
    let mut name = names_end;
    if let Some(record) = note {
        slimmed.push(writer.text_note(&record, name)?);
        name += TEXT_NOTE.len() as u64;
    }
    added.write(&mut writer, &mut slimmed, name)?;
    writer.finish(bytes, header, programs, &slimmed)
}

fn whole(image: &Image) -> Result<Cow<'_, [u8]>, ImageError> {
    let unreadable = |error| ImageError::damaged(format!("it cannot be read to its end: {error}"));
    image.file.bytes(0..image.file.len()).map_err(unreadable)
}

/// Which sections keep their content.
fn kept(image: &Image, sections: &[Section], names: usize) -> Vec<bool> {
    let symbols = symbol_sections(sections);
    (0..sections.len())
        .map(|index| {
            index == names
                || symbols.is_some_and(|(table, names)| index == table || index == names)
                || sections[index].sh_type(LittleEndian) == elf::SHT_NOTE
                || is_kept(image, index)
        })
        .collect()
}

fn is_kept(image: &Image, index: usize) -> bool {
    KEPT.iter().any(|name| image.sections[index].is_called(name))
}

/// The symbol table that is read, and its names.
fn symbol_sections(sections: &[Section]) -> Option<(usize, usize)> {
    let table = [elf::SHT_SYMTAB, elf::SHT_DYNSYM]
        .iter()
        .find_map(|kind| sections.iter().position(|section| section.sh_type(LittleEndian) == *kind))?;
    Some((table, sections[table].sh_link(LittleEndian) as usize))
}

/// What the debug file of an image adds to it.
struct Added<'a> {
    bytes: &'a [u8],
    /// Their names and headers in that file. The symbol table comes right before its names.
    sections: Vec<(&'a str, Section)>,
}

impl<'a> Added<'a> {
    fn new(image: &'a Image, bytes: &'a [u8]) -> Result<Self, ImageError> {
        let Some(debug) = image.parts.debug.as_deref() else {
            return Ok(Self { bytes, sections: Vec::new() });
        };
        let headers =
            file_header(bytes)?.section_headers(LittleEndian, bytes).map_err(ImageError::damaged)?;
        let own_dwarf = image.find_section(".debug_info").is_some_and(|section| !section.file.is_empty());
        let is_added = |index: &usize| {
            let (section, header) = (&debug.sections[*index], &headers[*index]);
            let name = section.name();
            let there = image.find_section(name).is_some_and(|section| !section.file.is_empty());
            let theirs = own_dwarf && name.contains("debug_");
            let is_content = !section.file.is_empty() && !section.allocated;
            is_kept(debug, *index)
                && is_content
                && !there
                && !theirs
                && header.sh_type(LittleEndian) != elf::SHT_NOTE
        };
        let mut indexes: Vec<usize> = (0..headers.len()).filter(is_added).collect();
        if !image.symbols().is_whole() && debug.symbols().is_whole() {
            indexes.extend(symbol_sections(headers).into_iter().flat_map(|(table, names)| [table, names]));
        }
        let named = |index: usize| Some((debug.sections.get(index)?.name(), *headers.get(index)?));
        Ok(Self { bytes, sections: indexes.into_iter().filter_map(named).collect() })
    }

    fn file_size(&self) -> usize {
        self.bytes.len()
    }

    /// Appends the sections, whose names lie in the string table one after another from `name` on.
    fn write(self, writer: &mut Writer, slimmed: &mut Vec<Section>, mut name: u64) -> Result<(), ImageError> {
        for (text, mut section) in self.sections {
            writer.copy(self.bytes, &mut section)?;
            section.sh_name.set(LittleEndian, name_offset(name)?);
            let is_table = section.sh_type(LittleEndian) == elf::SHT_SYMTAB;
            let next = slimmed.len() as u32 + 1;
            section.sh_link.set(LittleEndian, if is_table { next } else { 0 });
            slimmed.push(section);
            name += text.len() as u64 + 1;
        }
        Ok(())
    }
}

fn name_offset(offset: u64) -> Result<u32, ImageError> {
    u32::try_from(offset)
        .map_err(|_| ImageError::damaged("the section names are larger than an ELF file can refer to"))
}

/// Takes the content away. What is part of the loaded image keeps its place in memory.
fn empty(section: &mut Section) {
    if section.sh_flags(LittleEndian).0 & elf::SHF_ALLOC.0 != 0 {
        section.sh_type.set(LittleEndian, elf::SHT_NOBITS);
        return;
    }
    section.sh_type.set(LittleEndian, elf::SHT_NULL);
    section.sh_flags.set(LittleEndian, elf::SectionFlags(0));
    section.sh_size.set(LittleEndian, 0);
    section.sh_offset.set(LittleEndian, 0);
    section.sh_link.set(LittleEndian, 0);
    section.sh_info.set(LittleEndian, 0);
    section.sh_entsize.set(LittleEndian, 0);
}

struct Writer {
    out: Vec<u8>,
    limit: usize,
}

impl Writer {
    /// For `programs` program headers, and sections out of files of `size` bytes.
    fn new(programs: usize, size: usize) -> Self {
        Self { out: vec![0; size_of::<Header>() + programs * size_of::<Program>()], limit: size + (1 << 20) }
    }

    fn align(&mut self, alignment: u64) {
        let alignment = alignment.clamp(1, 64) as usize;
        self.out.resize(self.out.len().next_multiple_of(alignment), 0);
    }

    /// Appends a range of the file, and says where it now lies. A file whose sections overlap could otherwise grow to
    /// its size times their number.
    fn append(&mut self, bytes: &[u8], offset: u64, size: u64, alignment: u64) -> Result<u64, ImageError> {
        let range = file_range(offset, size, bytes.len())
            .ok_or_else(|| ImageError::damaged("a section lies outside the file"))?;
        self.align(alignment);
        if self.out.len() + range.len() > self.limit {
            return Err(ImageError::damaged("sections overlap in the file"));
        }
        let place = self.out.len() as u64;
        self.out.extend_from_slice(&bytes[range]);
        Ok(place)
    }

    fn copy(&mut self, bytes: &[u8], section: &mut Section) -> Result<(), ImageError> {
        if let Some((offset, size)) = section.file_range(LittleEndian) {
            let place = self.append(bytes, offset, size, section.sh_addralign(LittleEndian))?;
            section.sh_offset.set(LittleEndian, place);
        }
        Ok(())
    }

    fn text_note(&mut self, record: &TextRecord, name: u64) -> Result<Section, ImageError> {
        let (owner, content) = (TextRecord::NOTE_NAME, record.encode());
        self.align(4);
        let place = self.out.len() as u64;
        for word in [owner.len() as u32 + 1, content.len() as u32, TextRecord::NOTE_TYPE] {
            self.out.extend(word.to_le_bytes());
        }
        self.out.extend_from_slice(owner);
        self.out.push(0);
        self.align(4);
        self.out.extend_from_slice(&content);
        let mut section = *pod::from_bytes::<Section>(&[0; size_of::<Section>()])
            .map_err(|()| ImageError::damaged("no section header"))?
            .0;
        section.sh_name.set(LittleEndian, name_offset(name)?);
        section.sh_type.set(LittleEndian, elf::SHT_NOTE);
        section.sh_offset.set(LittleEndian, place);
        section.sh_size.set(LittleEndian, self.out.len() as u64 - place);
        section.sh_addralign.set(LittleEndian, 4);
        Ok(section)
    }

    fn finish(
        mut self,
        bytes: &[u8],
        header: &Header,
        programs: &[Program],
        sections: &[Section],
    ) -> Result<Vec<u8>, ImageError> {
        let mut slimmed = Vec::with_capacity(programs.len());
        for program in programs {
            let mut program = *program;
            let (offset, size) = program.file_range(LittleEndian);
            let place = if program.p_type(LittleEndian) == elf::PT_NOTE && size > 0 {
                self.append(bytes, offset, size, program.p_align(LittleEndian))?
            } else {
                program.p_filesz.set(LittleEndian, 0);
                0
            };
            program.p_offset.set(LittleEndian, place);
            slimmed.push(program);
        }
        self.align(8);
        let count = u16::try_from(sections.len()).ok().filter(|count| *count < elf::SHN_LORESERVE);
        let count = count.ok_or_else(|| ImageError::Unsupported {
            found: format!("an ELF file with {} sections", sections.len()),
        })?;
        let mut header = *header;
        header.e_phoff.set(LittleEndian, if programs.is_empty() { 0 } else { size_of::<Header>() as u64 });
        header.e_shoff.set(LittleEndian, self.out.len() as u64);
        header.e_shnum.set(LittleEndian, count);
        self.out.extend_from_slice(pod::bytes_of_slice(sections));
        self.out[..size_of::<Header>()].copy_from_slice(pod::bytes_of(&header));
        let table = pod::bytes_of_slice(&slimmed);
        self.out[size_of::<Header>()..size_of::<Header>() + table.len()].copy_from_slice(table);
        Ok(self.out)
    }
}
