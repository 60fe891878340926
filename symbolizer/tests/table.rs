//! The table of an image against the same debug information read by the addr2line crate, and against lookups without a
//! table; and what happens to tables that are damaged.

mod common;

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::sync::Arc;

use addr2line::Context;
use addr2line::gimli::{DwarfSections, EndianSlice, LittleEndian};
use common::Built;
use proptest::prelude::*;
use uniprof_symbolizer::{
    AddressKind, Answer, FrameRef, Image, LoadBias, Resolution, Source, Symbolizer, Table, demangle,
};
use uniprof_wire::address::{GuestVirtual, LinkAddress};

const TWO: NonZeroUsize = NonZeroUsize::new(2).unwrap();

fn table(image: &Image) -> Table {
    Table::build(image, NonZeroUsize::MIN).expect("images of tests fit into a table")
}

/// Function, file, line, and whether it is inlined.
type Line = (String, Option<String>, Option<u32>, bool);

fn lines<'t>(frames: impl Iterator<Item = FrameRef<'t>>) -> Vec<Line> {
    let line = |frame: FrameRef<'_>| {
        (frame.function.to_owned(), frame.file.map(str::to_owned), frame.line, frame.inlined)
    };
    frames.map(line).collect()
}

fn resolved(resolution: &Resolution) -> Vec<Line> {
    let frames = resolution.frames().iter();
    frames
        .map(|frame| {
            let file = frame.file.as_deref().map(str::to_owned);
            (frame.function.to_string(), file, frame.line, frame.inlined)
        })
        .collect()
}

/// What addr2line's library says, where all of it has names.
fn reference(context: &Context<EndianSlice<'_, LittleEndian>>, address: u64) -> Option<Vec<Line>> {
    let mut found = context.find_frames(address).skip_all_loads().expect("sound debug information");
    let mut frames: Vec<Line> = Vec::new();
    while let Some(frame) = found.next().expect("sound debug information") {
        if let Some(inner) = frames.last_mut() {
            inner.3 = true;
        }
        let name = demangle(&frame.function?.raw_name().expect("readable"));
        let place = frame.location;
        let file = place.as_ref().and_then(|place| place.file).map(str::to_owned);
        frames.push((name, file, place.and_then(|place| place.line).filter(|line| *line > 0), false));
    }
    (!frames.is_empty()).then_some(frames)
}

fn sections(image: &Image) -> DwarfSections<Vec<u8>> {
    let read = |id: addr2line::gimli::SectionId| -> Result<Vec<u8>, uniprof_symbolizer::ImageError> {
        Ok(image.section(id.name())?.map_or_else(Vec::new, |section| section.to_vec()))
    };
    DwarfSections::load(read).expect("readable")
}

/// Where anything begins according to any of the three, and the bytes around it, in code.
fn interesting(image: &Image, table: &Table, context: &Context<EndianSlice<'_, LittleEndian>>) -> Vec<u64> {
    let mut all: BTreeSet<u64> = table.addresses().map(|address| address.0).collect();
    for range in image.executable_ranges() {
        let rows = context.find_location_range(range.start, range.end).expect("sound line tables");
        all.extend(rows.map(|(address, ..)| address));
        all.extend([range.start, range.end - 1]);
    }
    let ranges = image.executable_ranges();
    let around = all.iter().flat_map(|address| [address.wrapping_sub(1), *address, address + 1]);
    around
        .filter(|address| ranges.iter().any(|range| range.contains(address)))
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect()
}

/// Compares at every function start and every line row, `step` of them at a time. Returns how many have names from debug
/// information, and how many of those have inlined frames.
fn agrees(image: &Arc<Image>, step: usize) -> (usize, usize) {
    let sections = sections(image);
    let dwarf = sections.borrow(|bytes| EndianSlice::new(bytes, LittleEndian));
    let context = Context::from_dwarf(dwarf).expect("sound debug information");
    let table = table(image);
    assert_eq!(table.damage(), None);
    let mut without = Symbolizer::new(Arc::clone(image), LoadBias::NONE);
    let (mut named, mut inlined) = (0, 0);
    let mut different = Vec::new();
    let addresses = interesting(image, &table, &context);
    for address in addresses.iter().copied().step_by(step) {
        let ours = lines(table.frames(LinkAddress(address)));
        let lazy = without.resolve(GuestVirtual(address), AddressKind::Instruction);
        assert_eq!(ours, resolved(&lazy), "{address:#x}, without a table");
        if let Some(theirs) = reference(&context, address) {
            named += 1;
            inlined += usize::from(theirs.len() > 1);
            if ours != theirs {
                different.push(format!("{address:#x}\n ours {ours:?}\n addr2line {theirs:?}"));
            }
        } else if let Answer::Known { source, frames } = table.look_up(LinkAddress(address)) {
            assert!(source == Source::SymbolTable || frames.count() > 1, "{address:#x}");
        }
    }
    assert_eq!(without.tally().first_dwarf_error, None);
    let some = &different[..different.len().min(5)];
    assert!(different.is_empty(), "{} of {named} differ:\n{}", different.len(), some.join("\n"));
    (named, inlined)
}

#[test]
fn a_rust_program_is_as_addr2line_reads_it() {
    let (named, inlined) = agrees(&common::this_image(), 101);
    assert!(named > 1_000 && inlined > 100, "{named} named, {inlined} inlined");
}

const PROGRAM: &str = r#"
template <typename T> struct tree {
    T value; tree *left, *right;
    static inline __attribute__((always_inline)) T sum(const tree *t) { return t ? t->deep(t->value) : 0; }
    inline __attribute__((always_inline)) T deep(T x) const { T y = x; if (left) y += twice(y); return y * value; }
    inline __attribute__((always_inline)) T twice(T x) const { return x < 9 ? x * 2 : x - value / 3; }
};
namespace outer { namespace {
__attribute__((noinline)) long hidden(const tree<long> *t) { return tree<long>::sum(t) + tree<long>::sum(t->left); }
} }
extern "C" __attribute__((noinline, section(".text.far"))) long far_away(long x) { return x > 3 ? x * 7 : -x; }
__attribute__((noinline, cold)) int unlikely(int x) { asm volatile("nop" : "+r"(x)); return x; }
volatile long seed = 4;
tree<long> root;
extern "C" void _start() {
    root.value = seed;
    for (;;) { seed = outer::hidden(&root) + far_away(seed); if (__builtin_expect(seed == 5, 0)) unlikely(seed); }
}
"#;

#[test]
fn compilers_and_versions_agree() {
    let kinds = [["gcc", "-gdwarf-4"], ["gcc", "-gdwarf-5"], ["clang", "-gdwarf-4"], ["clang", "-gdwarf-5"]];
    for [compiler, version] in kinds {
        for more in [&["-O2"][..], &["-O0"], &["-O2", "-ffunction-sections"], &["-O2", "-flto"]] {
            // The gold plugin that clang needs for it may not be there.
            if compiler == "clang" && more.contains(&"-flto") {
                continue;
            }
            let flags: Vec<&str> = [version].into_iter().chain(more.iter().copied()).collect();
            let built = Built::with(compiler, "a.cc", PROGRAM, &flags);
            let (named, inlined) = agrees(&built.image(), 1);
            let optimised = !more.contains(&"-O0");
            assert!(named > 30 && (!optimised || inlined > 5), "{flags:?}: {named} named, {inlined} inlined");
        }
    }
}

#[test]
fn symbols_and_reasons_are_as_without_a_table() {
    let built = Built::new("a.cc", PROGRAM, &["-O2", "-g"]);
    for strip in [&["-R", ".debug_info"][..], &["-g"], &["-S"]] {
        let image = Arc::new(Image::parse(common::objcopy(&built.path, strip)).expect("an image"));
        let table = table(&image);
        let mut without = Symbolizer::new(Arc::clone(&image), LoadBias::NONE);
        let mut kinds = BTreeSet::new();
        let ranges = image.executable_ranges();
        let around = |range: &std::ops::Range<u64>| range.start - 64..range.end + 64;
        for address in ranges.iter().flat_map(around).chain([0, 1, u64::MAX, 1 << 40, 0x402000, 0x404000]) {
            let lazy = without.resolve(GuestVirtual(address), AddressKind::Instruction);
            let ours = match table.look_up(LinkAddress(address)) {
                Answer::Known { frames, source } => {
                    assert!(matches!(lazy, Resolution::Symbol { source: lazy, .. } if lazy == source));
                    assert_eq!(lines(frames), resolved(&lazy), "{address:#x}");
                    continue;
                }
                Answer::OutsideImage => "[unknown: outside the image]".into(),
                Answer::NotExecutable { section } => unknown("not code", section),
                Answer::NoSymbols { section } => unknown("image has no symbols", section),
                Answer::Gap { section } => unknown("no symbol covers it", section),
            };
            assert_eq!(ours, lazy.to_string(), "{address:#x}, {strip:?}");
            kinds.insert(ours);
        }
        assert!(kinds.len() >= 3, "{kinds:?}");
    }
}

fn unknown(why: &str, section: Option<&str>) -> String {
    section.map_or_else(|| format!("[unknown: {why}]"), |section| format!("[unknown: {why}, in {section}]"))
}

#[test]
fn threads_make_the_same_table() {
    let image = common::this_image();
    assert!(table(&image).as_bytes() == Table::build(&image, TWO).expect("fits").as_bytes());
}

fn small() -> Vec<u8> {
    let image = Built::new("a.cc", PROGRAM, &["-O2", "-g"]).image();
    table(&image).as_bytes().concat()
}

#[test]
fn a_table_survives_its_file() {
    let bytes = small();
    let opened = Table::open(bytes.clone()).expect("a table");
    assert_eq!(opened.as_bytes().concat(), bytes);
    assert!(opened.addresses().count() > 20);
    for end in 0..bytes.len() {
        assert!(Table::open(bytes[..end].to_vec()).is_err(), "cut at {end}");
    }
    let longer = [&bytes[..], &[0]].concat();
    assert!(Table::open(longer).is_err());
}

/// Looks at all that a table has to say: nothing in it panics or goes on for ever.
fn use_all(table: &Table) {
    let addresses: Vec<LinkAddress> = table.addresses().take(2000).collect();
    for address in addresses.into_iter().chain([LinkAddress(0), LinkAddress(u64::MAX)]) {
        assert!(table.frames(address).count() <= 256);
        let _ = table.look_up(LinkAddress(address.0.wrapping_add(1)));
    }
    let _ = (table.damage(), table.identity());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn flipped_bits_are_found(at in any::<prop::sample::Index>(), bit in 0..8u32) {
        thread_local! { static BYTES: Vec<u8> = small(); }
        let mut bytes = BYTES.with(Clone::clone);
        let at = at.index(bytes.len());
        bytes[at] ^= 1u8 << bit;
        prop_assert!(Table::open(bytes).is_err());
    }

    /// With the right checksum there is no telling what was changed; but no lookup fails.
    #[test]
    fn a_forged_table_breaks_nothing(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        thread_local! { static BYTES: Vec<u8> = small(); }
        let mut bytes = BYTES.with(Clone::clone);
        for (at, byte) in changes {
            let at = 28 + at.index(bytes.len() - 28);
            bytes[at] = byte;
        }
        let checksum = crc32fast::hash(&bytes[28..]);
        bytes[24..28].copy_from_slice(&checksum.to_le_bytes());
        if let Ok(table) = Table::open(bytes) {
            use_all(&table);
        }
    }
}
