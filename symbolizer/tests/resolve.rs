//! Names, files, lines and inlined frames: against GNU addr2line, and on small programs whose answer is known.

mod common;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use common::Built;
use uniprof_symbolizer::{
    AddressKind, Image, LeafReason, LeafRule, LeafRules, LoadBias, Resolution, Source, Symbolizer, demangle,
};
use uniprof_wire::address::GuestVirtual;

/// What both tools can say of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    function: String,
    place: String,
}

/// Asks `addr2line -a -f -i`: an address line, then two lines for each frame.
fn gnu(path: &Path, addresses: &[u64]) -> BTreeMap<u64, Vec<Line>> {
    let mut child = Command::new("addr2line")
        .args(["-a", "-f", "-i", "-e"])
        .arg(path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("addr2line runs; `apt-get install binutils`");
    let mut stdin = child.stdin.take().expect("piped");
    let asked: String = addresses.iter().map(|address| format!("{address:#x}\n")).collect();
    let writer = std::thread::spawn(move || stdin.write_all(asked.as_bytes()));
    let output = child.wait_with_output().expect("addr2line ends");
    writer.join().expect("no panic").expect("addr2line reads what it is asked");
    let text = String::from_utf8_lossy(&output.stdout);
    let mut answers = BTreeMap::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let address = u64::from_str_radix(line.trim_start_matches("0x"), 16).expect("an address");
        let mut frames = Vec::new();
        while let Some(function) = lines.next_if(|line| !line.starts_with("0x")) {
            let place = lines.next().expect("a place follows a function");
            let place = place.split(" (discriminator").next().unwrap_or_default();
            frames.push(Line { function: demangle(function), place: normal(place) });
        }
        answers.insert(address, frames);
    }
    answers
}

/// `./` within paths is written by one and left out by the other; `?` and 0 both mean that the line is not known.
fn normal(place: &str) -> String {
    let place = place.replace("/./", "/");
    match place.rsplit_once(':') {
        Some((file, "0" | "?")) => format!("{file}:?"),
        _ => place,
    }
}

fn ours(resolution: &Resolution) -> Vec<Line> {
    let place = |file: Option<&str>, line: Option<u32>| {
        let line = line.map_or("?".to_owned(), |line| line.to_string());
        normal(&format!("{}:{line}", file.unwrap_or("??")))
    };
    let frames = resolution.frames().iter();
    frames
        .map(|frame| Line {
            function: frame.function.to_string(),
            place: place(frame.file.as_deref(), frame.line),
        })
        .collect()
}

#[test]
fn agrees_with_gnu_addr2line() {
    let path = common::this_program();
    let image = common::this_image();
    let text =
        image.executable_ranges().into_iter().max_by_key(|range| range.end - range.start).expect("has code");
    let addresses: Vec<u64> = text.clone().step_by(((text.end - text.start) / 6_000) as usize | 1).collect();
    assert!(addresses.len() > 5_000);
    let expected = gnu(&path, &addresses);
    let asked: Vec<_> = addresses.iter().map(|a| (GuestVirtual(*a), AddressKind::Instruction)).collect();
    let mut symbolizer = Symbolizer::new(image, LoadBias::NONE);
    let answers = symbolizer.resolve_many(&asked);

    let mut different = Vec::new();
    let (mut compared, mut inlined) = (0, 0);
    for (address, resolution) in addresses.iter().zip(&answers) {
        let (ours, theirs) = (ours(resolution), &expected[address]);
        // Padding and code without debug information: GNU guesses with the last symbol before it.
        if !matches!(resolution, Resolution::Symbol { source: Source::Dwarf, .. }) {
            continue;
        }
        compared += 1;
        inlined += usize::from(ours.len() > 1);
        if ours != *theirs {
            different.push(format!("{address:#x}\n  ours {ours:?}\n  GNU  {theirs:?}"));
        }
    }
    assert!(compared > 4_000 && inlined > 1_000, "{compared} compared, {inlined} with inlined frames");
    let share = different.len() as f64 / compared as f64;
    let some = &different[..different.len().min(5)];
    assert!(share < 0.002, "{} of {compared} differ:\n{}", different.len(), some.join("\n"));
    assert_eq!(symbolizer.tally().first_dwarf_error, None);
}

const INLINES: &str = r#"
struct deep { static inline __attribute__((always_inline)) int least(int x) {
    int y; __asm__ volatile("imul $7, %1, %0" : "=r"(y) : "r"(x)); return y; /* line 3 */
} };
template <typename T> static inline __attribute__((always_inline)) T twice(T x) {
    return deep::least(x) + deep::least(x + 1); /* line 6 */
}
namespace outer { __attribute__((noinline)) int shown(int x) {
    return twice<int>(x); /* line 9 */
} }
int seed = 4;
extern "C" void _start() { seed = outer::shown(seed); for (;;) ; }
"#;

fn check_inlines(image: Arc<Image>, what: &str) {
    let shown = image.symbol("_ZN5outer5shownEi").expect("the mangled name");
    let mut symbolizer = Symbolizer::new(image, LoadBias::NONE);
    let mut deepest = Vec::new();
    for address in shown.address.0..shown.address.0 + shown.size {
        let resolution = symbolizer.resolve(GuestVirtual(address), AddressKind::Instruction);
        let frames: Vec<_> = resolution
            .frames()
            .iter()
            .map(|frame| (frame.function.to_string(), frame.line, frame.inlined))
            .collect();
        assert_eq!(
            frames.last().map(|(name, _, inlined)| (name.as_str(), *inlined)),
            Some(("outer::shown(int)", false))
        );
        if frames.len() > deepest.len() {
            deepest = frames;
        }
    }
    let found: Vec<_> =
        deepest.iter().map(|(name, line, inlined)| (name.as_str(), *line, *inlined)).collect();
    assert_eq!(found.len(), 3, "{what}: {found:?}");
    assert_eq!((found[0].1, found[0].2), (Some(3), true), "{what}: {found:?}");
    assert_eq!((found[1].1, found[1].2), (Some(6), true), "{what}: {found:?}");
    // GCC writes no linkage name for a function that exists only inlined, so its scope is not known.
    assert!(found[0].0.contains("least") && found[1].0.contains("twice<int>"), "{what}: {found:?}");
    assert_eq!(found[2], ("outer::shown(int)", Some(9), false), "{what}");
}

#[test]
fn inlined_frames_of_all_kinds_of_debug_information() {
    for flags in [
        &["-gdwarf-5"][..],
        &["-gdwarf-4"],
        &["-gdwarf-5", "-gz=zlib"],
        &["-gdwarf-4", "-gz=zlib"],
        &["-gdwarf-5", "-Wl,--compress-debug-sections=zstd"],
    ] {
        let mut all = vec!["-O2"];
        all.extend(flags);
        let built = Built::new("a.cc", INLINES, &all);
        check_inlines(built.image(), &format!("{flags:?}"));
        let slim = uniprof_symbolizer::slim(&built.bytes()).expect("slims");
        check_inlines(Arc::new(Image::parse(slim).expect("parses")), &format!("slim {flags:?}"));
    }
}

#[test]
fn line_tables_alone_give_lines_to_symbols() {
    let built = Built::new("a.cc", INLINES, &["-O2", "-g1"]);
    let image = built.image();
    let shown = image.symbol("_ZN5outer5shownEi").expect("the mangled name").address;
    let mut symbolizer = Symbolizer::new(image, LoadBias::NONE);
    let found = symbolizer.resolve(GuestVirtual(shown.0), AddressKind::Instruction);
    let last = found.frames().last().expect("a name");
    assert_eq!(&*last.function, "outer::shown(int)");
    assert!(last.file.as_deref().is_some_and(|file| file.ends_with("a.cc")), "{last:?}");
}

/// OCaml's cross-compilers write neither the type nor the size of a function, nor of the labels around a unit's code.
#[test]
fn the_first_function_of_an_ocaml_unit_has_its_own_name() {
    let label = |name: String| format!(".globl {name}\n{name}:\n");
    let unit = |number: &u32| {
        let [begin, first, end] =
            ["code_begin", "first_7", "code_end"].map(|what| label(format!("camlUnit{number}__{what}")));
        format!("{begin}{first}nop\nret\n{end}")
    };
    let units: Vec<u32> = (0..16).collect();
    let source: String = units.iter().map(unit).collect();
    let built = Built::new("a.s", &format!(".text\n{source}{}ret\n", label("_start".into())), &[]);
    let image = built.image();
    for number in units {
        let first = image.symbol(&format!("camlUnit{number}__first_7")).expect("it is there").address;
        let mut symbolizer = Symbolizer::new(Arc::clone(&image), LoadBias::NONE);
        let found = symbolizer.resolve(GuestVirtual(first.0 + 1), AddressKind::Instruction);
        let names: Vec<&str> = found.frames().iter().map(|frame| &*frame.function).collect();
        assert_eq!(names, [format!("Unit{number}.first")]);
    }
}

#[test]
fn a_slim_image_resolves_as_the_whole_one() {
    let bytes = std::fs::read(common::this_program()).expect("readable");
    let slim = uniprof_symbolizer::slim(&bytes).expect("slims");
    assert!(slim.len() < bytes.len());
    assert_eq!(uniprof_symbolizer::slim(&slim).expect("slims again").len(), slim.len());
    let (whole, slim) = (common::this_image(), Arc::new(Image::parse(slim).expect("parses")));
    assert_eq!(slim.identity(), whole.identity());
    assert_eq!(slim.text_hash(), whole.text_hash());
    assert_eq!(slim.executable_ranges(), whole.executable_ranges());
    assert_eq!(slim.entry(), whole.entry());
    assert_eq!(slim.debug_info(), whole.debug_info());
    assert_eq!(slim.symbol("main"), whole.symbol("main"));

    let ranges = whole.executable_ranges();
    let addresses: Vec<_> = ranges
        .iter()
        .flat_map(|range| (range.start..range.end).step_by(61))
        .map(|address| (GuestVirtual(address), AddressKind::Instruction))
        .collect();
    let resolve =
        |image: &Arc<Image>| Symbolizer::new(Arc::clone(image), LoadBias::NONE).resolve_many(&addresses);
    assert!(resolve(&whole) == resolve(&slim), "names differ");

    let mut rules = [&whole, &slim].map(|image| LeafRules::new(image, LoadBias::NONE));
    for (address, _) in &addresses {
        let [whole, slim] = rules.each_mut().map(|rules| rules.caller_of_leaf(*address));
        // Where call-frame information is silent the whole image's instructions may tell.
        let silent = slim == LeafRule::Unknown(LeafReason::NotCovered);
        assert!(whole == slim || silent, "{address}: {whole:?}, {slim:?}");
    }
}
