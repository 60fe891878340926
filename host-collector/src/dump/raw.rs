//! Memory without a container: all of it from address 0, or the observation region alone.

use std::path::Path;
use std::sync::Arc;

use uniprof_wire::layout::{HEADER_WORDS, RegionHeader};

use super::layers::{self, Piece, Place};
use super::runs::Runs;
use super::source::ReadAt;
use super::{Fault, Opened};
use crate::memory::{Home, REGION_GPA_WORD, header_words};

/// Physical memory and nothing else.
pub(super) fn open(source: &Arc<dyn ReadAt>, path: &Path) -> Result<Opened, Fault> {
    let size = source.size();
    if size == 0 {
        return Err(Fault::Damaged("it is empty".into()));
    }
    let mut remarks =
        vec!["A raw image has no registers: give them, or what the guest saved is used.".into()];
    if size > 2 << 30 {
        remarks.push(
            "A raw image is taken to be contiguous from address 0: a copy of QEMU's memory file is not, above the hole below 4 GiB."
                .into(),
        );
    }
    let pieces = vec![Piece { start: 0, end: size, place: Place::Stored(0) }];
    layers::check(&pieces, size)?;
    Ok(opened(Runs::new(Arc::clone(source), path.into(), pieces), remarks))
}

/// A copy of an ivshmem file: it lies where the region's header says, and may be cut off.
pub(super) fn open_region(source: &Arc<dyn ReadAt>, path: &Path) -> Result<Opened, Fault> {
    let mut page = [0; HEADER_WORDS * 8];
    let cut = |_| Fault::Damaged("it ends within the region's header".into());
    source.read_exact_at(&mut page, 0).map_err(cut)?;
    let at = REGION_GPA_WORD as usize * 8;
    let start = super::source::u64_at(&page, at).unwrap_or(0);
    let size = source.size();
    let Some(end) = start.checked_add(size).filter(|_| start != 0) else {
        return Err(Fault::Damaged(format!("its header says that it lies at {start:#x}, where it can't")));
    };
    let mut pieces = vec![Piece { start, end, place: Place::Stored(0) }];
    let mut remarks = vec!["It is the observation region alone: no other memory, no registers.".to_owned()];
    let header = header_words(&page).and_then(|words| RegionHeader::from_words(&words, u64::MAX).ok());
    let len = header.map_or(0, |header| header.geometry.region_bytes() as u64);
    if let Some(whole) = start.checked_add(len).filter(|whole| *whole > end) {
        let place = Place::Lost("the file is shorter than its region");
        pieces.push(Piece { start: end, end: whole, place });
        remarks.push(format!("It is cut off: {} of the region are missing.", super::amount(whole - end)));
    }
    layers::check(&pieces, size)?;
    Ok(opened(Runs::new(Arc::clone(source), path.into(), pieces).at_home(Home::Start), remarks))
}

fn opened(memory: Runs, remarks: Vec<String>) -> Opened {
    Opened { memory: Arc::new(memory), cpus: Vec::new(), vmcoreinfo: None, facts: None, remarks }
}
