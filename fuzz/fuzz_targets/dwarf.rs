//! Any bytes as an image with debug information: every address of a sample of its code is named from the image, and from a table
//! of the image. Inputs are those of the target `elf`.
#![no_main]

use std::num::NonZeroUsize;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use uniprof_symbolizer::{AddressKind, DebugFile, Image, LoadBias, Symbolizer, Table};
use uniprof_wire::address::{GuestVirtual, LinkAddress};

const BETWEEN: &[u8] = b"\n--debug file--\n";
/// More inlined functions than this at one address are a cycle.
const MAX_INLINED: usize = 4096;

fuzz_target!(|bytes: &[u8]| {
    let at = bytes.windows(BETWEEN.len()).position(|part| part == BETWEEN);
    let (elf, debug) = match at {
        Some(at) => (&bytes[..at], Some(&bytes[at + BETWEEN.len()..])),
        None => (bytes, None),
    };
    let Ok(mut image) = Image::parse(elf) else { return };
    if let Some(Ok(file)) = debug.map(DebugFile::parse) {
        let _ = image.attach(file);
    }
    let mut addresses: Vec<u64> = vec![0, u64::MAX];
    for range in image.executable_ranges().into_iter().take(8) {
        let step = ((range.end - range.start) / 16).max(1);
        addresses.extend((0..17).map(|n| range.start.wrapping_add(n * step)));
    }
    let image = Arc::new(image);
    let mut symbolizer = Symbolizer::new(Arc::clone(&image), LoadBias::NONE);
    for address in &addresses {
        let answer = symbolizer.resolve(GuestVirtual(*address), AddressKind::Instruction);
        assert!(answer.frames().len() <= MAX_INLINED);
        assert!(!answer.to_string().is_empty() || !answer.frames().is_empty());
    }
    let Ok(table) = Table::build(&image, NonZeroUsize::MIN) else { return };
    for address in addresses {
        assert!(table.frames(LinkAddress(address)).count() <= MAX_INLINED);
    }
    let parts = table.as_bytes();
    assert!(Table::open(parts.concat()).is_ok(), "a table that was just made is none");
});
