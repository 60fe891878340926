//! The guest's symbols as a part of its recording, so that a recording made here opens elsewhere.
//!
//! ```text
//!  symbols/KERNEL.zst     the image with its debug file, without code and data
//!  symbols/parts/N.zst    other files that hold its debug information: split DWARF, what dwz moved
//! ```

use std::io::Read as _;
use std::sync::Arc;

use ruzstd::decoding::StreamingDecoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use uniprof_symbolizer::{DebugFile, Image, ImageError};

/// What all attachments with symbols are called at first.
const FOLDER: &str = "symbols/";
const PARTS: &str = "symbols/parts/";
/// Their media type.
pub(crate) const MEDIA_TYPE: &str = "application/zstd";
/// No image unpacks to more: a hostile recording must not fill the memory.
const LARGEST: u64 = 1 << 30;
/// More object files than this are left out of a recording: `dwp` makes one file of them.
const MAX_PARTS: usize = 4096;

/// What names the addresses of `image`, as attachments: their names and contents. None where nothing does.
pub(crate) fn pack(image: &Image, kernel: &str) -> Vec<(String, Vec<u8>)> {
    let Ok(slim) = uniprof_symbolizer::slim_image(image) else { return Vec::new() };
    let compress = |bytes: &[u8]| compress_to_vec(bytes, CompressionLevel::Fastest);
    let parts = image.part_files().take(MAX_PARTS).enumerate();
    let parts = parts.map(|(index, bytes)| (format!("{PARTS}{index}.zst"), compress(&bytes)));
    [(format!("{FOLDER}{kernel}.zst"), compress(&slim))].into_iter().chain(parts).collect()
}

/// What [`pack`] made, out of a recording.
#[derive(Debug, Clone, Default)]
pub(crate) struct Attached {
    image: Option<Arc<[u8]>>,
    parts: Vec<Arc<[u8]>>,
    unpacked: u64,
}

impl Attached {
    /// Takes an attachment that has symbols; leaves others, and what is damaged.
    pub(crate) fn take(&mut self, name: &str, bytes: &[u8]) {
        if !name.starts_with(FOLDER) {
            return;
        }
        let Some(bytes) = unpack(bytes, LARGEST.saturating_sub(self.unpacked)) else { return };
        self.unpacked += bytes.len() as u64;
        if !name.starts_with(PARTS) {
            self.image = Some(bytes.into());
        } else if self.parts.len() < MAX_PARTS {
            self.parts.push(bytes.into());
        }
    }

    /// The image, with all that belongs to it; `None` where there is none.
    pub(crate) fn image(self) -> Option<Result<Image, ImageError>> {
        let mut image = match Image::parse(self.image?) {
            Ok(image) => image,
            Err(error) => return Some(Err(error)),
        };
        for part in self.parts {
            // A part of another image, in a damaged recording, adds nothing.
            let _ = DebugFile::parse(part).map(|part| image.attach(part));
        }
        Some(Ok(image))
    }
}

/// Damaged data, and more than `limit` bytes, give `None`.
fn unpack(bytes: &[u8], limit: u64) -> Option<Vec<u8>> {
    let mut elf = Vec::new();
    let decoder = StreamingDecoder::new(bytes).ok()?;
    let unpacked = decoder.take(limit).read_to_end(&mut elf).ok()?;
    (unpacked > 0).then_some(elf)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_survives_and_names_the_same_symbols() {
        // A packaged crate has none, and this very program would take a minute.
        let Ok(elf) = crate::bundled::elf() else { return };
        let original = Image::parse(elf).unwrap();
        let packed = pack(&original, "kernel");
        assert!(packed.len() == 1 && packed[0].1.len() < elf.len());
        let mut attached = Attached::default();
        packed.iter().for_each(|(name, bytes)| attached.take(name, bytes));
        let image = attached.image().unwrap().unwrap();
        assert_eq!(image.symbol("ratio_sixty"), original.symbol("ratio_sixty"));
        assert_eq!(image.identity(), original.identity());
    }

    #[test]
    fn damage_gives_nothing() {
        let mut attached = Attached::default();
        for bytes in [&b""[..], b"not zstd at all"] {
            attached.take("symbols/kernel.zst", bytes);
            attached.take("symbols/parts/0.zst", bytes);
        }
        assert!(attached.image().is_none());
    }
}
