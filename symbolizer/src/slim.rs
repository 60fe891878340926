//! An image without its code and data: what is needed to name addresses elsewhere.

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
const KEPT: [&str; 19] = [
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
    let image = Image::parse(bytes)?;
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
    let mut writer = Writer::new(bytes, programs.len());
    let mut slimmed: Vec<Section> = Vec::with_capacity(sections.len() + 1);
    let kept = kept(&image, sections, names);
    let note = match TextRecord::of_image(&image) {
        Some(record) if image.text_record().is_none() => Some(record),
        _ => None,
    };
    for (index, section) in sections.iter().enumerate() {
        let mut section = *section;
        if kept[index] {
            writer.copy(&mut section)?;
            if index == names && note.is_some() {
                writer.out.extend_from_slice(TEXT_NOTE);
                let size = section.sh_size(LittleEndian);
                section.sh_size.set(LittleEndian, size + TEXT_NOTE.len() as u64);
            }
        } else {
            empty(&mut section);
        }
        slimmed.push(section);
    }
    if let Some(record) = note {
        let name = sections[names].sh_size(LittleEndian);
        slimmed.push(writer.text_note(&record, name)?);
    }
    writer.finish(header, programs, &slimmed)
}

/// Which sections keep their content.
fn kept(image: &Image, sections: &[Section], names: usize) -> Vec<bool> {
    let symbols = [elf::SHT_SYMTAB, elf::SHT_DYNSYM]
        .iter()
        .find_map(|kind| sections.iter().position(|section| section.sh_type(LittleEndian) == *kind));
    let symbol_names = symbols.map(|index| sections[index].sh_link(LittleEndian) as usize);
    (0..sections.len())
        .map(|index| {
            index == names
                || Some(index) == symbols
                || Some(index) == symbol_names
                || sections[index].sh_type(LittleEndian) == elf::SHT_NOTE
                || KEPT.contains(&image.sections[index].name(&image.bytes))
        })
        .collect()
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

struct Writer<'a> {
    bytes: &'a [u8],
    out: Vec<u8>,
}

impl<'a> Writer<'a> {
    fn new(bytes: &'a [u8], programs: usize) -> Self {
        Self { bytes, out: vec![0; size_of::<Header>() + programs * size_of::<Program>()] }
    }

    fn align(&mut self, alignment: u64) {
        let alignment = alignment.clamp(1, 64) as usize;
        self.out.resize(self.out.len().next_multiple_of(alignment), 0);
    }

    /// Appends a range of the file, and says where it now lies. A file whose sections overlap could otherwise grow to
    /// its size times their number.
    fn append(&mut self, offset: u64, size: u64, alignment: u64) -> Result<u64, ImageError> {
        let range = file_range(offset, size, self.bytes.len())
            .ok_or_else(|| ImageError::damaged("a section lies outside the file"))?;
        self.align(alignment);
        if self.out.len() + range.len() > self.bytes.len() + (1 << 20) {
            return Err(ImageError::damaged("sections overlap in the file"));
        }
        let place = self.out.len() as u64;
        self.out.extend_from_slice(&self.bytes[range]);
        Ok(place)
    }

    fn copy(&mut self, section: &mut Section) -> Result<(), ImageError> {
        if let Some((offset, size)) = section.file_range(LittleEndian) {
            let place = self.append(offset, size, section.sh_addralign(LittleEndian))?;
            section.sh_offset.set(LittleEndian, place);
        }
        Ok(())
    }

    fn text_note(&mut self, record: &TextRecord, name: u64) -> Result<Section, ImageError> {
        let too_large = |_| ImageError::damaged("the section names are larger than an ELF file can refer to");
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
        section.sh_name.set(LittleEndian, u32::try_from(name).map_err(too_large)?);
        section.sh_type.set(LittleEndian, elf::SHT_NOTE);
        section.sh_offset.set(LittleEndian, place);
        section.sh_size.set(LittleEndian, self.out.len() as u64 - place);
        section.sh_addralign.set(LittleEndian, 4);
        Ok(section)
    }

    fn finish(
        mut self,
        header: &Header,
        programs: &[Program],
        sections: &[Section],
    ) -> Result<Vec<u8>, ImageError> {
        let mut slimmed = Vec::with_capacity(programs.len());
        for program in programs {
            let mut program = *program;
            let (offset, size) = program.file_range(LittleEndian);
            let place = if program.p_type(LittleEndian) == elf::PT_NOTE && size > 0 {
                self.append(offset, size, program.p_align(LittleEndian))?
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
