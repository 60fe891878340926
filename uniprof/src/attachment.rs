//! The guest's symbols as a part of its recording, so that a recording made here opens elsewhere.

use std::io::Read as _;

use ruzstd::decoding::StreamingDecoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

/// Attachments with symbols are named `symbols/FILE.zst`.
pub(crate) const FOLDER: &str = "symbols/";
/// Their media type.
pub(crate) const MEDIA_TYPE: &str = "application/zstd";
/// No image unpacks to more: a hostile recording must not fill the memory.
const LARGEST: u64 = 1 << 30;

/// An image without code and data, compressed; `None` where that leaves nothing to attach.
pub(crate) fn pack(elf: &[u8]) -> Option<Vec<u8>> {
    let slim = uniprof_symbolizer::slim(elf).ok()?;
    Some(compress_to_vec(&slim[..], CompressionLevel::Fastest))
}

/// What [`pack`] made. Damaged data gives `None`.
pub(crate) fn unpack(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut elf = Vec::new();
    let decoder = StreamingDecoder::new(bytes).ok()?;
    let unpacked = decoder.take(LARGEST).read_to_end(&mut elf).ok()?;
    (unpacked > 0).then_some(elf)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_survives_and_names_the_same_symbols() {
        // A packaged crate has none, and this very program would take a minute.
        let Ok(elf) = crate::bundled::elf() else { return };
        let packed = pack(elf).unwrap();
        assert!(packed.len() < elf.len());
        let image = uniprof_symbolizer::Image::parse(unpack(&packed).unwrap()).unwrap();
        let original = uniprof_symbolizer::Image::parse(elf).unwrap();
        assert_eq!(image.symbol("ratio_sixty"), original.symbol("ratio_sixty"));
        assert_eq!(image.identity(), original.identity());
    }

    #[test]
    fn damage_gives_nothing() {
        assert_eq!(unpack(b""), None);
        assert_eq!(unpack(b"not zstd at all"), None);
    }
}
