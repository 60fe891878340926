//! Whether an image is what a running guest runs, where it lies, and what the recording says of it.

use std::path::{Path, PathBuf};

use uniprof_collector::attach::{Attached, Observed};
use uniprof_collector::memory::MemoryError;
use uniprof_collector::qemu::Placement;
use uniprof_collector::recording::{LoadedImage, SessionInfo};
use uniprof_symbolizer::{
    BuildId, IdentityError, Image, LoadBias, SYSTEM_DEBUG_DIR, Search, TextSamples, check_identity, complete,
};
use uniprof_wire::address::{GuestPhysical, GuestVirtual};

use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::profile::finder::{self, GuestImage};
use crate::{attachment, cache, guest, options, output};

/// Adds the image's identity and place to the session, and packs what names addresses: names and contents of attachments.
/// None where the guest was started from something without names. An image of another build is refused, with both
/// identities.
pub(crate) fn attach_image(
    session: &mut SessionInfo,
    observed: &Observed<'_>,
    attached: &Attached,
    symbols: &options::Symbols,
) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    let (path, mut image) = match open(observed, symbols) {
        Ok(found) => found,
        Err(error) if symbols.kernel.is_some() => return Err(error),
        // QEMU boots more than ELF files, and a file may be gone by now: then the recording has no names of its own.
        Err(_) => return Ok(Vec::new()),
    };
    let place = Place { image: &image, observed, attached };
    let is_there = place.settle(session);
    if !symbols.force {
        let said = GuestImage { build_id: session.build_id.clone(), ..GuestImage::default() };
        finder::require_same(&path, &image, &said)?;
        let proven = is_there || (image.build_id().is_some() && said.build_id.is_some());
        // What was started here from this very file needs no proof.
        if !proven && (symbols.kernel.is_some() || matches!(observed, Observed::Other(_))) {
            place.compare_text(&path, finder::bias_of(&image, &guest_image(session), true))?;
        }
    }
    if session.build_id.is_none() {
        session.build_id = image.build_id().map(ToString::to_string);
        session.text_identity = image.text_hash().map(|hash| hash.to_string());
    }
    if !image.wanted().is_empty() {
        let dirs = symbols.dirs(&Config::load()?).into_iter().chain([SYSTEM_DEBUG_DIR.into()]).collect();
        complete(&mut image, Some(&path), &Search { dirs, cache: cache::debug_files() });
    }
    Ok(attachment::pack(&image, &session.kernel))
}

/// The image that was named, or what the guest was started from.
fn open(observed: &Observed<'_>, symbols: &options::Symbols) -> anyhow::Result<(PathBuf, Image)> {
    if let Some(path) = &symbols.kernel {
        return finder::open(path);
    }
    let entry = observed.entry();
    let seen = guest::kernel_paths(entry).into_iter().find(|path| path.is_file());
    finder::open(seen.as_deref().unwrap_or(&entry.kernel))
}

fn guest_image(session: &SessionInfo) -> GuestImage {
    GuestImage { loaded: session.images.clone(), ..GuestImage::default() }
}

/// An image and the memory that it may lie in.
struct Place<'a> {
    image: &'a Image,
    observed: &'a Observed<'a>,
    attached: &'a Attached,
}

impl Place<'_> {
    /// How far virtual addresses are from physical ones where the region lies, and in kernels mostly elsewhere. Known where
    /// the region lies in RAM.
    fn offset(&self) -> Option<u64> {
        let region = &self.attached.region;
        let offset = region.header.region_gva.0.wrapping_sub(region.header.region_gpa.0);
        (self.observed.entry().placement_of(region) == Placement::Ram).then_some(offset)
    }

    fn read(&self, at: u64, into: &mut [u8]) -> Result<(), MemoryError> {
        self.attached.memory.read(GuestPhysical(at), into)
    }

    /// Whether the image's text lies in guest memory. Where it lies elsewhere than the guest's table says, and that
    /// contradicts itself or says nothing, the session is told.
    fn settle(&self, session: &mut SessionInfo) -> bool {
        let Some((offset, samples)) = self.offset().zip(TextSamples::new(self.image)) else { return false };
        let said = finder::bias_of(self.image, &guest_image(session), true);
        if samples.compare(said, |at, into| self.read(at.wrapping_sub(offset), into)).is_sure() {
            return true;
        }
        let Ok(resident) = self.attached.memory.resident() else { return false };
        let ranges: Vec<_> = resident.iter().map(|range| range.start.0..range.end.0).collect();
        let found = samples.find(&ranges, |at, into| self.read(at, into));
        let Some(best) = found.first() else { return false };
        let bias = LoadBias::new(best.bias.get().wrapping_add(offset));
        let is_only = found.get(1).is_none_or(|second| second.equal < best.equal);
        let id = self.image.build_id().map(BuildId::to_string);
        let entry = session.images.iter().position(|loaded| id.is_none() || loaded.build_id == id);
        let range = entry.map(|index| session.images[index].range);
        // The guest knows its own mappings best: its word stands unless it contradicts itself.
        if !is_only || !self.lies_within(bias, range) || (entry.is_some() && self.lies_within(said, range)) {
            return true;
        }
        let (equal, samples) = (best.equal, best.samples);
        output::say(format_args!(
            "uniprof: the image runs {bias} above its link addresses: {equal} of {samples} samples of its text were found there"
        ));
        let loaded = LoadedImage {
            name: session.kernel.clone(),
            build_id: id,
            range: range.unwrap_or_else(|| self.range(bias)),
            bias: bias.get(),
            found: "text".into(),
        };
        match entry {
            Some(index) => session.images[index] = loaded,
            None => session.images.insert(0, loaded),
        }
        true
    }

    /// Where the image's code lies with this bias.
    fn range(&self, bias: LoadBias) -> (u64, u64) {
        let code = self.image.executable_ranges();
        let (start, end) =
            (code.first().map_or(0, |range| range.start), code.last().map_or(0, |range| range.end));
        (start.wrapping_add(bias.get()), end.wrapping_add(bias.get()))
    }

    fn lies_within(&self, bias: LoadBias, range: Option<(u64, u64)>) -> bool {
        let (start, end) = self.range(bias);
        range.is_none_or(|(low, high)| low >= high || (low <= start && end <= high))
    }

    /// Where there is no build-id on both sides: the image's text against guest memory.
    fn compare_text(&self, path: &Path, bias: LoadBias) -> anyhow::Result<()> {
        let Some(offset) = self.offset() else { return Ok(()) };
        let mut read = |at: GuestVirtual, into: &mut [u8]| self.read(at.0.wrapping_sub(offset), into);
        match check_identity(self.image, bias, None, &mut read) {
            Err(IdentityError::Mismatch(mismatch)) => {
                Err(Failure::error(Exit::Image, format!("{}: {mismatch}, or use --force", path.display())))
            }
            // Unknown is not different: the guest may map its text elsewhere, or the file may have no text.
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;
    use std::sync::Arc;

    use uniprof_collector::guests::GuestEntry;
    use uniprof_collector::memory::{FoundRegion, GuestMemory, Window};
    use uniprof_collector::qemu::{Accelerator, Machine};
    use uniprof_collector::tables::Tables;
    use uniprof_wire::layout::{Architecture, Geometry, RegionHeader};
    use uniprof_wire::text::FixedText;

    use super::*;

    /// How far the guest's virtual addresses are from physical ones.
    const OFFSET: u64 = 0xffff_8000_0000_0000;
    /// By how much the guest has moved the image in physical memory.
    const MOVED: u64 = 0x20_0000;

    struct Ram(Vec<u8>);

    impl GuestMemory for Ram {
        fn read(&self, at: GuestPhysical, into: &mut [u8]) -> Result<(), MemoryError> {
            let absent = || MemoryError::Absent { at, len: into.len() as u64 };
            let start = usize::try_from(at.0).map_err(|_| absent())?;
            let there =
                start.checked_add(into.len()).and_then(|end| self.0.get(start..end)).ok_or_else(absent)?;
            into.copy_from_slice(there);
            Ok(())
        }

        fn ranges(&self) -> Result<Vec<Range<GuestPhysical>>, MemoryError> {
            Ok(std::iter::once(GuestPhysical(0)..GuestPhysical(self.0.len() as u64)).collect())
        }

        fn window(&self, at: GuestPhysical, len: u64) -> Result<Window, MemoryError> {
            Err(MemoryError::Absent { at, len })
        }
    }

    fn entry() -> GuestEntry {
        GuestEntry {
            name: "kaslr".into(),
            pid: 0,
            pid_start: 0,
            owner_pid: 0,
            qmp: PathBuf::new(),
            kernel: PathBuf::new(),
            machine: Machine::Q35,
            memory_bytes: 0,
            vcpus: 1,
            placement: Placement::Ram,
            memory_file: PathBuf::new(),
            ram_file: None,
            ram_in_process: None,
            ram_map: None,
            port: None,
            control_port: None,
            accelerator: Accelerator { name: "tcg".into(), reason: String::new() },
            qemu_version: String::new(),
            command_line: Vec::new(),
            started_ns: 0,
        }
    }

    fn attached(image: &Image, moved: u64) -> Attached {
        let end = image.executable_ranges().last().unwrap().end;
        let mut ram = vec![0x5a; (end + 2 * MOVED) as usize];
        let text = image.section(".text").unwrap().unwrap();
        let at = (text.address.0 + moved) as usize;
        ram[at..at + text.len()].copy_from_slice(&text);
        let header = RegionHeader {
            architecture: Architecture::X86_64,
            boot_id: 1,
            region_gpa: GuestPhysical(0x1000),
            region_gva: GuestVirtual(OFFSET + 0x1000),
            geometry: Geometry::with_ring_bytes(1, 64 << 10).unwrap(),
            tsc_hz: 1,
            boot_tsc: 0,
            boot_wall_ns: 0,
            sites: (GuestVirtual(0), GuestVirtual(0)),
            name: FixedText::new(b"kaslr"),
        };
        let (crashes, threads) = (Vec::new(), Vec::new());
        let tables = Tables { header, vcpus: Vec::new(), crashes, threads, images: Vec::new() };
        Attached {
            memory: Arc::new(Ram(ram)),
            region: FoundRegion { at: GuestPhysical(0x1000), header },
            tables,
            port: None,
            first_pair: None,
        }
    }

    /// What the session says of images after an image was settled whose text lies `moved` further.
    fn settled(moved: u64, images: Vec<LoadedImage>) -> Option<(bool, Vec<LoadedImage>)> {
        // A packaged crate has none.
        let image = Image::parse(crate::bundled::elf().ok()?).unwrap();
        let (entry, attached) = (entry(), attached(&image, moved));
        let place = Place { image: &image, observed: &Observed::Other(&entry), attached: &attached };
        let mut session = SessionInfo { images, ..SessionInfo::default() };
        let there = place.settle(&mut session);
        Some((there, session.images))
    }

    fn said(bias: u64, range: (u64, u64)) -> LoadedImage {
        let image = Image::parse(crate::bundled::elf().unwrap_or_default()).ok();
        let build_id = image.and_then(|image| image.build_id().map(BuildId::to_string));
        LoadedImage { bias, range, build_id, found: "guest".into(), ..LoadedImage::default() }
    }

    #[test]
    fn an_image_that_was_moved_is_found_by_its_text() {
        let Some((there, images)) = settled(MOVED, Vec::new()) else { return };
        assert!(there);
        assert_eq!((images[0].bias, &*images[0].found), (OFFSET + MOVED, "text"));
        // A table that contradicts itself: the code would not lie where the guest says that its image does.
        let range = (OFFSET + MOVED, OFFSET + MOVED + (1 << 30));
        let (_, images) = settled(MOVED, vec![said(0, range)]).unwrap();
        assert_eq!((images.len(), images[0].bias, images[0].range), (1, OFFSET + MOVED, range));
    }

    #[test]
    fn the_guest_knows_best_where_it_maps_its_text() {
        // Its text is mapped once more, elsewhere than all memory is.
        let elsewhere = said(0x7000_0000, (0x7000_0000, 0x8000_0000));
        let Some((there, images)) = settled(MOVED, vec![elsewhere.clone()]) else { return };
        assert!(there);
        assert_eq!(images, [elsewhere]);
        let right = said(OFFSET + MOVED, (0, 0));
        assert_eq!(settled(MOVED, vec![right.clone()]), Some((true, vec![right])));
    }

    #[test]
    fn memory_without_the_text_is_another_images() {
        let Some((there, images)) = settled(MOVED + 7, Vec::new()) else { return };
        assert!(!there && images.is_empty());
    }
}
