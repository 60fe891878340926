//! The region's header and tables, out of a copy of them: from memory, from a recording, from a dump.

use uniprof_wire::{
    layout::{Geometry, LayoutError, RegionHeader},
    tables::{
        CRASH_WORDS, CrashRecord, IMAGE_SLOTS, IMAGE_WORDS, ImageEntry, Slot, THREAD_SLOTS, THREAD_WORDS,
        ThreadEntry, VCPU_WORDS, VcpuStats,
    },
};

use crate::{memory::header_words, recording::LoadedImage};

/// What the tables said when they were copied.
#[derive(Clone, Debug, PartialEq)]
pub struct Tables {
    /// The header.
    pub header: RegionHeader,
    /// Running totals of each vCPU.
    pub vcpus: Vec<VcpuStats>,
    /// The first death of each vCPU.
    pub crashes: Vec<Slot<CrashRecord>>,
    /// Threads, without empty slots.
    pub threads: Vec<Slot<ThreadEntry>>,
    /// Images, without empty slots.
    pub images: Vec<Slot<ImageEntry>>,
}

impl Tables {
    /// Reads a copy of the region's first [`Geometry::tables_bytes`] bytes. It is validated anew: a copy is all there is.
    pub fn parse(bytes: &[u8]) -> Result<Self, LayoutError> {
        let words = header_words(bytes).ok_or(LayoutError::NotARegion)?;
        let header = RegionHeader::from_words(&words, u64::MAX)?;
        let geometry = header.geometry;
        let needed = geometry.tables_bytes() as u64;
        let available = bytes.len() as u64;
        if available < needed {
            return Err(LayoutError::TooSmall { needed, available });
        }
        let vcpus = geometry.vcpus() as usize;
        Ok(Self {
            header,
            vcpus: slots::<VCPU_WORDS>(bytes, geometry.vcpu_table(), vcpus)
                .map(|w| VcpuStats::from_words(&w))
                .collect(),
            crashes: slots::<CRASH_WORDS>(bytes, geometry.crash_table(), vcpus)
                .map(|w| CrashRecord::from_words(&w))
                .collect(),
            threads: slots::<THREAD_WORDS>(bytes, geometry.thread_table(), THREAD_SLOTS)
                .map(|w| ThreadEntry::from_words(&w))
                .filter(|slot| *slot != Slot::Empty)
                .collect(),
            images: slots::<IMAGE_WORDS>(bytes, geometry.image_table(), IMAGE_SLOTS)
                .map(|w| ImageEntry::from_words(&w))
                .filter(|slot| *slot != Slot::Empty)
                .collect(),
        })
    }

    /// Sizes of the region.
    #[must_use]
    pub const fn geometry(&self) -> Geometry {
        self.header.geometry
    }

    /// The images, for a recording.
    #[must_use]
    pub fn loaded_images(&self) -> Vec<LoadedImage> {
        let images = self.images.iter().filter_map(|slot| slot.entry());
        images
            .map(|image| LoadedImage {
                name: String::from_utf8_lossy(image.name.bytes()).into_owned(),
                build_id: image.build_id().map(hex),
                range: (image.range.0.0, image.range.1.0),
                bias: image.bias,
                found: "guest".into(),
            })
            .collect()
    }

    /// The build-id of the first image that has one, in hexadecimal.
    #[must_use]
    pub fn build_id(&self) -> Option<String> {
        let images = self.images.iter().filter_map(|slot| slot.entry());
        images.filter_map(|image| image.build_id().map(hex)).next()
    }
}

/// Bytes in hexadecimal, as build-ids are written.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn slots<const N: usize>(bytes: &[u8], offset: usize, count: usize) -> impl Iterator<Item = [u64; N]> {
    let words = bytes[offset..].as_chunks::<8>().0;
    words.chunks_exact(N).take(count).map(|slot| std::array::from_fn(|word| u64::from_le_bytes(slot[word])))
}

#[cfg(test)]
pub(crate) mod tests {
    use uniprof_wire::{
        address::{GuestPhysical, GuestVirtual},
        layout::Architecture,
        text::FixedText,
    };

    use super::*;

    pub(crate) fn header(at: u64, vcpus: u32, ring_bytes: u32) -> RegionHeader {
        RegionHeader {
            architecture: Architecture::X86_64,
            boot_id: 0x1_0000_0005,
            region_gpa: GuestPhysical(at),
            region_gva: GuestVirtual(at),
            geometry: Geometry::with_ring_bytes(vcpus, ring_bytes).unwrap(),
            tsc_hz: 1_000_000_000,
            boot_tsc: 0,
            boot_wall_ns: 0,
            sites: (GuestVirtual(0), GuestVirtual(0)),
            name: FixedText::new(b"test"),
        }
    }

    #[test]
    fn tables_are_found_where_the_geometry_says() {
        let header = header(0, 3, 64 << 10);
        let geometry = header.geometry;
        let mut words = vec![0u64; geometry.tables_bytes() / 8];
        words[..header.to_words().len()].copy_from_slice(&header.to_words());
        words[geometry.vcpu_table() / 8 + 2 * VCPU_WORDS] = 77;
        let image =
            ImageEntry { build_id_len: 2, build_id: [0xab; 32], bias: 0x7000, ..ImageEntry::default() };
        let at = geometry.image_table() / 8 + IMAGE_WORDS;
        words[at] = 2;
        words[at + 1..at + IMAGE_WORDS].copy_from_slice(&image.to_words());
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let tables = Tables::parse(&bytes).unwrap();
        assert_eq!(tables.vcpus[2].heartbeat, 77);
        assert_eq!((tables.threads.len(), tables.images.len(), tables.crashes.len()), (0, 1, 3));
        assert_eq!(tables.build_id().as_deref(), Some("abab"));
        let [loaded] = &tables.loaded_images()[..] else { panic!("one image") };
        assert_eq!((loaded.bias, loaded.build_id.as_deref()), (0x7000, Some("abab")));
        assert!(Tables::parse(&bytes[..bytes.len() - 8]).is_err());
        assert!(Tables::parse(&[]).is_err());
    }
}
