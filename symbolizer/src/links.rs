//! What an image says of files that hold the rest of its debug information.

use std::path::PathBuf;

use gimli::{DebuggingInformationEntry, UnitType};

use crate::build_id::BuildId;
use crate::dwarf::{Reader, reader};
use crate::image::Image;
use crate::split;

/// The longest file name that a link may have.
const MAX_NAME: usize = 4096;
/// More compilation units than any kernel is made of.
const MAX_UNITS: usize = 1 << 17;

/// `.gnu_debuglink`: the name of the file that `objcopy --only-keep-debug` made, and the CRC-32 of its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DebugLink {
    /// A file name without a folder.
    pub file: String,
    /// CRC-32 (IEEE) of the whole file.
    pub crc: u32,
}

impl DebugLink {
    pub(crate) fn of(image: &Image) -> Option<Self> {
        let section = image.section(".gnu_debuglink").ok()??;
        let end = section.iter().take(MAX_NAME).position(|byte| *byte == 0)?;
        let file = std::str::from_utf8(&section[..end]).ok()?.to_owned();
        // A name with a folder could lead anywhere; GNU tools write none.
        if file.is_empty() || file.contains('/') || file == ".." {
            return None;
        }
        let crc = section.get((end + 1).next_multiple_of(4)..)?.first_chunk::<4>()?;
        Some(Self { file, crc: u32::from_le_bytes(*crc) })
    }
}

/// `.gnu_debugaltlink`: the file that dwz moved what several images have in common to, by name and build-id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AltLink {
    /// A path, absolute or from the folder of the file that names it.
    pub file: PathBuf,
    /// The build-id of that file.
    pub build_id: BuildId,
}

impl AltLink {
    pub(crate) fn of(image: &Image) -> Option<Self> {
        let section = image.section(".gnu_debugaltlink").ok()??;
        let end = section.iter().take(MAX_NAME).position(|byte| *byte == 0)?;
        let file = std::str::from_utf8(&section[..end]).ok().filter(|file| !file.is_empty())?.into();
        Some(Self { file, build_id: BuildId::new(&section[end + 1..])? })
    }
}

/// A compilation unit whose debug information was left in an object file (`-gsplit-dwarf`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitUnit {
    /// What ties it to that file.
    pub id: u64,
    /// The file, where the image names it: absolute or from `folder`.
    pub file: Option<PathBuf>,
    /// Where the compiler ran.
    pub folder: Option<PathBuf>,
}

impl SplitUnit {
    /// The split units of an image, at most 131,072. Damaged ones are left out.
    pub(crate) fn all(image: &Image) -> Vec<Self> {
        // Split units keep their addresses in this section; without it there is nothing to read.
        if !image.has_content(".debug_addr") {
            return Vec::new();
        }
        let Ok(sections) = gimli::DwarfSections::load(|id| reader(image, id.name())) else {
            return Vec::new();
        };
        let dwarf = sections.borrow(Reader::clone);
        let mut units = dwarf.units();
        let mut found = Vec::new();
        while let Ok(Some(header)) = units.next() {
            let could = header.version() < 5 || matches!(header.type_(), UnitType::Skeleton(_));
            if !could || found.len() >= MAX_UNITS {
                continue;
            }
            let Ok(unit) = dwarf.unit(header) else { continue };
            let Some(id) = unit.dwo_id else { continue };
            let text = |value| dwarf.attr_string(&unit, value).ok().and_then(|text| path_of(&text));
            let file = unit.dwo_name().ok().flatten().and_then(text);
            found.push(Self { id: id.0, file, folder: unit.comp_dir.as_ref().and_then(path_of) });
        }
        found
    }
}

/// The ids of the split units that an object file (`.dwo`) holds.
pub(crate) fn units_of_object(file: &Image) -> Vec<u64> {
    let Ok(mut dwarf) = gimli::Dwarf::load(|id| split::part(file, id)) else { return Vec::new() };
    dwarf.file_type = gimli::DwarfFileType::Dwo;
    let mut units = dwarf.units();
    let mut ids = Vec::new();
    while let Ok(Some(header)) = units.next() {
        let id = match header.type_() {
            UnitType::SplitCompilation(id) => Some(id.0),
            _ => old_id(&dwarf, header),
        };
        ids.extend(id);
        if ids.len() >= MAX_UNITS {
            break;
        }
    }
    ids
}

/// DWARF 4 with GNU's extension keeps the id in an attribute of the unit.
fn old_id(dwarf: &gimli::Dwarf<Reader>, header: gimli::UnitHeader<Reader>) -> Option<u64> {
    let abbreviations = dwarf.abbreviations(&header).ok()?;
    let mut entries = header.entries(&abbreviations);
    let root: &DebuggingInformationEntry<Reader> = entries.next_dfs().ok()??;
    match root.attr_value(gimli::DW_AT_GNU_dwo_id)? {
        gimli::AttributeValue::DwoId(id) => Some(id.0),
        gimli::AttributeValue::Udata(id) | gimli::AttributeValue::Data8(id) => Some(id),
        _ => None,
    }
}

fn path_of(text: &Reader) -> Option<PathBuf> {
    let text = std::str::from_utf8(text.bytes()).ok()?;
    (!text.is_empty() && text.len() <= MAX_NAME).then(|| text.into())
}
