//! Any bytes as an ELF image, and as a debug file of one: all that is asked of them before DWARF is read.
//!
//! An input is an image, or an image, [`BETWEEN`], and a debug file. `seeds/elf.sh` makes real ones of every kind.
#![no_main]

use std::io;

use libfuzzer_sys::fuzz_target;
use uniprof_symbolizer::{DebugFile, Image, LoadBias, Search, TextSamples, check_identity, slim, slim_image};
use uniprof_wire::address::GuestVirtual;

const BETWEEN: &[u8] = b"\n--debug file--\n";

fuzz_target!(|bytes: &[u8]| {
    let at = bytes.windows(BETWEEN.len()).position(|part| part == BETWEEN);
    let (elf, debug) = match at {
        Some(at) => (&bytes[..at], &bytes[at + BETWEEN.len()..]),
        None => (bytes, bytes),
    };
    let file = DebugFile::parse(debug);
    let Ok(mut image) = Image::parse(elf) else {
        assert!(slim(elf).is_err(), "an image that is none was made smaller");
        return;
    };
    ask(&image);
    if let Ok(file) = file
        && image.attach(file).is_ok()
    {
        ask(&image);
    }
    if let Ok(small) = slim_image(&image) {
        assert!(small.len() <= elf.len() + debug.len() + (2 << 20));
        let again = Image::parse(small).expect("a slim image is an image");
        assert_eq!(again.build_id(), image.build_id());
        assert_eq!(again.executable_ranges(), image.executable_ranges());
    }
});

fn ask(image: &Image) {
    let _ = (image.identity(), image.text_hash(), image.debug_info(), image.entry());
    let _ = (image.symbol("_start"), image.symbol(""));
    for name in ["", ".text", ".debug_info", ".debug_str", ".eh_frame", "uniprof_sites"] {
        let _ = image.section(name).map(|section| section.map(|bytes| bytes.len()));
    }
    for range in image.executable_ranges() {
        assert!(range.start < range.end);
    }
    let search = Search { dirs: vec!["/d".into()], cache: Some("/c".into()) };
    let path = std::path::Path::new("/k/image.elf");
    let wanted = image.wanted();
    let mut places = search.debug_files(image, Some(path));
    places.extend(wanted.supplement.iter().flat_map(|link| search.supplements(link, Some(path))));
    places.extend(wanted.units.iter().take(8).flat_map(|unit| search.objects(unit, Some(path))));
    if let Some(link) = image.debug_link() {
        assert!(!link.file.contains('/'), "a debug link leads out of its folder");
    }
    let mut read = 0;
    let mut memory = |bytes: &mut [u8]| {
        read += bytes.len();
        bytes.fill(0xcc);
        if read < 1 << 20 { Ok(()) } else { Err(io::Error::other("enough")) }
    };
    let _ = check_identity(image, LoadBias::NONE, None, |_: GuestVirtual, part: &mut [u8]| memory(part));
    if let Some(samples) = TextSamples::new(image) {
        let there = samples.compare(LoadBias::new(0x1000), |_, part| memory(part));
        assert!(there.equal <= there.samples);
    }
}
