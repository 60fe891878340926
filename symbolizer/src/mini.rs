//! `.gnu_debugdata`: a small ELF file with the symbols of functions that are not exported, compressed with xz, as Fedora's
//! packages carry it.

use std::io::Read as _;

use lzma_rust2::XzReader;

use crate::image::Image;

/// No symbol table of a program unpacks to more.
const LARGEST: u64 = 256 << 20;
/// Memory that xz may use for its dictionary; `xz -9` asks for 64 MiB.
const MEMORY_KIB: u32 = 80 << 10;

/// The file inside; `None` where there is none, or it is damaged or made to fill the memory.
pub(crate) fn open(image: &Image) -> Option<Image> {
    let packed = image.section(".gnu_debugdata").ok()??;
    let limit = LARGEST.min((16 << 20) + 64 * packed.len() as u64);
    let mut unpacked = Vec::new();
    let reader = XzReader::new_mem_limit(&packed[..], true, MEMORY_KIB);
    reader.take(limit).read_to_end(&mut unpacked).ok()?;
    let file = Image::parse_any(unpacked.into()).ok()?;
    // A file whose code lies elsewhere would name the wrong addresses; and it may bring none of its own kind.
    let inside = |range: &std::ops::Range<u64>| {
        image.code().ranges.iter().any(|own| own.start <= range.start && range.end <= own.end)
    };
    file.executable_ranges().iter().all(inside).then_some(file)
}
