//! Images that are truncated, damaged or made to harm: an answer or an error, never a panic or a flood of memory.
//! `PROPTEST_CASES=100000 cargo test --release -p uniprof-symbolizer --test hostile` looks longer.

mod common;

use std::ops::Range;
use std::sync::{Arc, LazyLock};

use common::Built;
use object::read::elf::FileHeader as _;
use object::{LittleEndian, elf};
use proptest::prelude::*;
use uniprof_symbolizer::{
    AddressKind, DebugFile, Image, ImageError, Leaf, LeafRules, LoadBias, Symbolizer, check_identity, slim,
};
use uniprof_wire::address::GuestVirtual;

const SOURCE: &str = r#"
namespace outer { template <typename T> static inline T twice(T x) { int y; __asm__ volatile("" : "=r"(y)); return x + y; }
__attribute__((noinline)) int shown(int x) { return twice<int>(x) + twice<long>(x); } }
__asm__(".text\nlabel: nop\n nop\n");
int seed = 4;
extern "C" void _start() { seed = outer::shown(seed); for (;;) ; }
"#;

struct Victim {
    bytes: Vec<u8>,
    /// Where damage does most: the headers and the sections that are parsed.
    parsed: Vec<Range<usize>>,
}

impl Victim {
    fn new(flags: &[&str]) -> Self {
        let bytes = Built::new("a.cc", SOURCE, flags).bytes();
        let header = elf::FileHeader64::<LittleEndian>::parse(&*bytes).expect("GCC makes an image");
        let table = header.e_shoff.get(LittleEndian) as usize;
        let mut parsed = vec![0..64, table..bytes.len()];
        for section in sections(&bytes) {
            let at = section.sh_offset.get(LittleEndian) as usize;
            if section.sh_type.get(LittleEndian) != elf::SHT_NOBITS {
                parsed.push(at..at + section.sh_size.get(LittleEndian) as usize);
            }
        }
        parsed.retain(|range| !range.is_empty());
        Self { bytes, parsed }
    }
}

fn sections(bytes: &[u8]) -> &[elf::SectionHeader64<LittleEndian>] {
    let header = elf::FileHeader64::<LittleEndian>::parse(bytes).expect("GCC makes an image");
    header.section_headers(LittleEndian, bytes).expect("GCC makes an image")
}

static VICTIMS: LazyLock<Vec<Victim>> = LazyLock::new(|| {
    [
        &["-O2", "-gdwarf-5"][..],
        &["-O2", "-gdwarf-4", "-fno-asynchronous-unwind-tables", "-fno-exceptions"],
        &["-O2", "-gdwarf-5", "-gz=zlib", "-Wl,--build-id=none"],
        &["-O2", "-Wl,--compress-debug-sections=zstd", "-g"],
    ]
    .map(Victim::new)
    .into()
});

/// Everything that can be asked of an image.
fn use_all(bytes: &[u8]) {
    let Ok(image) = Image::parse(bytes) else {
        let _ = slim(bytes);
        return;
    };
    let image = Arc::new(image);
    let _ = (image.identity(), image.symbol("_start"), image.debug_info());
    for name in [".text", ".debug_info", ".debug_str", "uniprof_sites"] {
        let _ = image.section(name);
    }
    let mut read = 0;
    let _ = check_identity(&image, LoadBias::NONE, None, |_, part: &mut [u8]| {
        read += part.len();
        if read > 1 << 20 { Err(std::io::Error::other("enough")) } else { Ok(()) }
    });
    let mut symbolizer = Symbolizer::new(Arc::clone(&image), LoadBias::new(0x1000));
    let mut rules = LeafRules::new(&image, LoadBias::NONE);
    let ranges = image.executable_ranges();
    let code = ranges.iter().take(8).flat_map(|range| (0..64).map(|n| range.start.saturating_add(n * 3)));
    for address in code.chain([0, 1, 0x1000, u64::MAX]) {
        let guest = GuestVirtual(address.wrapping_add(0x1000));
        let _ = symbolizer.resolve(guest, AddressKind::Return).to_string();
        let leaf =
            Leaf { rip: GuestVirtual(address), rsp: address, rbp: 8, stack: &[0, address], frames: &[] };
        let _ = rules.repair(&leaf);
    }
    let wanted = image.wanted();
    assert!(wanted.units.len() <= bytes.len());
    if let (Ok(mut whole), Ok(part)) = (Image::parse(bytes), DebugFile::parse(bytes))
        && whole.attach(part).is_ok()
    {
        let _ = (whole.wanted(), whole.debug_info(), whole.part_files().count());
        let small = uniprof_symbolizer::slim_image(&whole).unwrap_or_default();
        assert!(small.len() <= 2 * bytes.len() + (2 << 20));
    }
    if let Ok(small) = slim(bytes) {
        assert!(small.len() <= bytes.len() + (2 << 20));
        Image::parse(small).expect("what slim makes is an image");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(
        std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(1_500)) })]

    #[test]
    fn damaged(
        victim in 0usize..4,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 1..12),
    ) {
        let victim = &VICTIMS[victim];
        let mut bytes = victim.bytes.clone();
        for (part, at, value) in damage {
            let range = &victim.parsed[part.index(victim.parsed.len())];
            bytes[range.start + at.index(range.len())] = value;
        }
        use_all(&bytes);
    }

    #[test]
    fn truncated(victim in 0usize..4, end in any::<prop::sample::Index>()) {
        let bytes = &VICTIMS[victim].bytes;
        use_all(&bytes[..end.index(bytes.len())]);
    }

    #[test]
    fn arbitrary(tail in prop::collection::vec(any::<u8>(), 0..400)) {
        let header = &VICTIMS[0].bytes[..64];
        use_all(&[header, &tail].concat());
        use_all(&tail);
    }
}

#[test]
fn a_decompression_bomb_is_refused() {
    for flags in [&["-g", "-gz=zlib"][..], &["-g", "-Wl,--compress-debug-sections=zstd"]] {
        let mut bytes = Built::new("a.cc", SOURCE, flags).bytes();
        let packed = sections(&bytes)
            .iter()
            .filter(|section| section.sh_flags.get(LittleEndian).0 & elf::SHF_COMPRESSED.0 != 0)
            .map(|section| section.sh_offset.get(LittleEndian) as usize)
            .collect::<Vec<_>>();
        assert!(!packed.is_empty());
        for at in packed {
            // ch_size is the third word of a compression header's four.
            bytes[at + 8..at + 16].copy_from_slice(&(1u64 << 40).to_le_bytes());
        }
        let image = Image::parse(bytes).expect("nothing is decompressed yet");
        let error = image.section(".debug_info").expect_err("a terabyte");
        assert!(matches!(error, ImageError::TooLarge { claimed: 0x100_0000_0000, .. }), "{error}");
        let start = GuestVirtual(image.entry().0);
        let mut symbolizer = Symbolizer::new(Arc::new(image), LoadBias::NONE);
        assert_eq!(symbolizer.resolve(start, AddressKind::Instruction).to_string(), "_start");
        let told = symbolizer.tally().first_dwarf_error.as_deref().unwrap_or_default();
        assert!(told.contains("claims to hold"), "{told}");
    }
}

#[test]
fn overlapping_sections_do_not_multiply() {
    let mut bytes = VICTIMS[0].bytes.clone();
    bytes.resize(8 << 20, 0);
    let header = elf::FileHeader64::<LittleEndian>::parse(&*bytes).expect("an image");
    let (table, count) =
        (header.e_shoff.get(LittleEndian) as usize, header.e_shnum.get(LittleEndian) as usize);
    // The last one holds the names, and must look like it.
    for index in 1..count - 1 {
        let at = table + index * 64;
        bytes[at + 4..at + 8].copy_from_slice(&elf::SHT_NOTE.0.to_le_bytes());
        bytes[at + 24..at + 32].copy_from_slice(&0u64.to_le_bytes());
        bytes[at + 32..at + 40].copy_from_slice(&(8u64 << 20).to_le_bytes());
    }
    let error = slim(&bytes).expect_err("refused");
    assert!(error.to_string().contains("overlap"), "{error}");
}
