//! `uniprof symbolize`: as GNU addr2line prints it, and in the middle of a text.
//!
//! GNU addr2line (binutils 2.40) is the oracle. Where the answers differ, the test checks that they differ in one of the ways
//! that docs/symbolizer.md lists and explains, and in no other.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use uniprof_tests::{Scene, assert_matches_its_schema};

/// How many addresses of an image are asked for.
const ADDRESSES: u64 = 6_000;

/// For each address: function and place, innermost first.
type Answers = BTreeMap<u64, Vec<(String, String)>>;

#[test]
fn agrees_with_gnu_addr2line_on_the_reference_kernel() {
    let scene = Scene::new();
    scene.run(&["kernel", "-o", "kernel.elf"]).ok();
    let found = compare(&scene, &scene.path("kernel.elf"));
    // How much of the kernel is padding is the linker script's affair: `.text.ratio` starts a page.
    let in_functions = found.asked - found.padding;
    assert!(in_functions >= 5_000 && found.same * 100 >= in_functions * 95, "{found:?}");
}

#[test]
fn agrees_with_gnu_addr2line_on_a_debian_library() {
    let scene = Scene::new();
    let found = compare(&scene, &debug_file_of_libc());
    assert!((found.same + found.alias) * 100 >= found.asked * 90, "{found:?}");
}

/// How the answers of one image compare.
#[derive(Debug, Default)]
struct Compared {
    asked: u64,
    same: u64,
    file: u64,
    padding: u64,
    innermost_name: u64,
    alias: u64,
    no_debug_info: u64,
}

fn compare(scene: &Scene, elf: &Path) -> Compared {
    let (start, size) = text_section(elf);
    // A stride that is odd and not a multiple of an instruction's usual length: insides of instructions, too.
    let addresses: Vec<u64> = (0..ADDRESSES).map(|n| start + (n * 7_919 * size / ADDRESSES) % size).collect();
    let list: String = addresses.iter().map(|address| format!("{address:x}\n")).collect();
    std::fs::write(scene.path("addresses"), list).unwrap();
    let words = ["-f", "-i", "-C", "-a", "-e", elf.to_str().unwrap()];
    let gnu = answers(&tool(scene, "addr2line", &words));
    let elf_word = elf.to_str().unwrap();
    let ours =
        scene.run_with_input(&["symbolize", "--format", "addr2line", elf_word], &scene.path("addresses"));
    let ours = answers(&ours.ok().stdout);
    let symbols = sized_symbols(elf);
    let mut found = Compared::default();
    assert_eq!(gnu.len(), ours.len());
    for (address, gnu) in &gnu {
        found.asked += 1;
        classify(*address, gnu, &ours[address], &symbols, &mut found);
    }
    assert!(found.asked >= 5_000, "{found:?}");
    println!("{}: {found:?}", elf.display());
    found
}

fn classify(
    address: u64,
    gnu: &[(String, String)],
    ours: &[(String, String)],
    symbols: &Symbols,
    found: &mut Compared,
) {
    let names = |answer: &[(String, String)]| answer.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    let lines = |answer: &[(String, String)]| answer.iter().map(|(_, place)| line(place)).collect::<Vec<_>>();
    if gnu == ours {
        found.same += 1;
    } else if ours[0].0 == "??" {
        // Between two functions: GNU names the one before, to whom the padding does not belong.
        let covered = symbols.ends.range(..=address).next_back().is_some_and(|(_, end)| address < *end);
        assert!(!covered, "{address:#x} has a symbol, but is unknown; GNU: {gnu:?}");
        found.padding += 1;
    } else if names(gnu) == names(ours) && lines(gnu) == lines(ours) {
        match ours.iter().all(|(_, place)| place.starts_with("??")) {
            // GNU names the source file that the symbol table has for a group of local symbols.
            true => found.no_debug_info += 1,
            // DWARF 5 numbers files from 0, and binutils 2.40 takes the unit's own file for some others.
            false => found.file += 1,
        }
    } else if lines(gnu) == lines(ours) && symbols.are_aliases(&gnu[0].0, &ours[0].0) {
        // Two symbols of one address, and debug information that names none of them.
        found.alias += 1;
    } else {
        // GNU takes the symbol's name for the innermost function where that is inlined from another unit.
        let rest = gnu.len() > 1 && names(gnu)[1..] == names(ours)[1..] && lines(gnu) == lines(ours);
        assert!(rest, "{address:#x}: GNU says {gnu:?}, and we {ours:?}");
        assert_eq!(gnu.first().map(|frame| &frame.0), gnu.last().map(|frame| &frame.0), "{address:#x}");
        found.innermost_name += 1;
    }
}

fn line(place: &str) -> String {
    let number = place.rsplit(':').next().unwrap_or_default();
    if number == "?" { "0".into() } else { number.into() }
}

/// Reads what `addr2line -f -i -C -a` prints.
fn answers(text: &str) -> Answers {
    let mut answers = Answers::new();
    let mut lines = text.lines().peekable();
    while let Some(address) = lines.next() {
        let digits = address.strip_prefix("0x").unwrap_or_else(|| panic!("no address: {address}"));
        let mut frames = Vec::new();
        while lines.peek().is_some_and(|line| !(line.starts_with("0x") && line.len() == 18)) {
            let (name, place) = (lines.next().unwrap(), lines.next().expect("a place for each name"));
            frames.push((name.to_owned(), plain(place)));
        }
        answers.insert(u64::from_str_radix(digits, 16).unwrap(), frames);
    }
    answers
}

/// A place as both write it: without the discriminator, which tells blocks of one line apart, and without the unit's directory
/// before itself, as GNU has it for the directory 0 of DWARF 5.
fn plain(place: &str) -> String {
    let place = place.split(" (discriminator").next().unwrap_or_default();
    for (middle, _) in place.match_indices("/./") {
        let (head, tail) = (&place[..middle], &place[middle + 1..]);
        if head.starts_with("./") && tail.strip_prefix(head).is_some_and(|rest| rest.starts_with('/')) {
            return tail.to_owned();
        }
    }
    place.to_owned()
}

/// The symbols of code that have a size.
#[derive(Default)]
struct Symbols {
    /// By first address the one after the last.
    ends: BTreeMap<u64, u64>,
    addresses: BTreeMap<String, u64>,
}

impl Symbols {
    fn are_aliases(&self, one: &str, other: &str) -> bool {
        let address = |name| self.addresses.get(name);
        address(one).is_some() && address(one) == address(other)
    }
}

fn sized_symbols(elf: &Path) -> Symbols {
    let text = run(Command::new("nm").args(["--print-size", "--defined-only"]).arg(elf));
    let number = |word: &str| u64::from_str_radix(word, 16).ok();
    let mut symbols = Symbols::default();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [address, size, kind, name] = words[..] else { continue };
        let (Some(address), Some(size)) = (number(address), number(size)) else { continue };
        if "tTwWi".contains(kind) {
            symbols.ends.insert(address, address + size);
            symbols.addresses.insert(name.to_owned(), address);
        }
    }
    symbols
}

fn text_section(elf: &Path) -> (u64, u64) {
    let text = run(Command::new("readelf").args(["--sections", "--wide"]).arg(elf));
    let line = text.lines().find(|line| line.contains(" .text ")).expect("a section of code");
    let words: Vec<&str> = line.split(']').nth(1).unwrap().split_whitespace().collect();
    let number = |word: &str| u64::from_str_radix(word, 16).unwrap();
    (number(words[2]), number(words[4]))
}

fn debug_file_of_libc() -> PathBuf {
    let notes = run(Command::new("readelf").args(["--notes", "/lib/x86_64-linux-gnu/libc.so.6"]));
    let id =
        notes.split("Build ID: ").nth(1).and_then(|rest| rest.split_whitespace().next()).expect("a build-id");
    let path = PathBuf::from(format!("/usr/lib/debug/.build-id/{}/{}.debug", &id[..2], &id[2..]));
    assert!(path.exists(), "{} is missing: `cargo xtask test --yes` installs libc6-dbg", path.display());
    path
}

fn tool(scene: &Scene, program: &str, words: &[&str]) -> String {
    let input = std::fs::File::open(scene.path("addresses")).unwrap();
    run(Command::new(program).args(words).stdin(input))
}

fn run(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}; `cargo xtask test --yes` installs binutils"));
    assert!(output.status.success(), "{command:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn names_stand_after_the_addresses_of_a_text() {
    let scene = Scene::new();
    scene.run(&["kernel", "-o", "kernel.elf"]).ok();
    let nm = run(Command::new("nm").arg(scene.path("kernel.elf")));
    let address = nm.lines().find(|line| line.ends_with(" ratio_sixty")).unwrap()[..16].to_owned();
    std::fs::write(scene.path("log"), format!("[1.0] panic at 0x{address} (+0x10), é\nno address\n"))
        .unwrap();
    let text = scene.run_with_input(&["symbolize", "kernel.elf"], &scene.path("log")).ok().stdout;
    assert!(text.starts_with(&format!("[1.0] panic at 0x{address} ratio_sixty (")), "{text}");
    assert!(text.ends_with(") (+0x10), é\nno address\n"), "{text}");

    let line = scene.run(&["symbolize", "kernel.elf", &address, "--json"]).ok().stdout;
    let document = serde_json::from_str(&line).unwrap();
    assert_matches_its_schema(&document);
    assert_eq!(document["frames"][0]["function"], "ratio_sixty");
    let line = scene.run(&["symbolize", "kernel.elf", "10", "--json"]).ok().stdout;
    let document = serde_json::from_str(&line).unwrap();
    assert_matches_its_schema(&document);
    assert_eq!(document["unknown"], "[unknown: outside the image]");
    scene.run(&["symbolize", "kernel.elf", "main"]).failed_with(2).says(&["`main` is no address"]);
}

#[test]
fn debug_files_and_further_images_are_named() {
    let scene = Scene::new();
    scene.run(&["kernel", "-o", "whole.elf"]).ok();
    std::fs::create_dir(scene.path("lib")).unwrap();
    let objcopy = |words: &[&str]| run(Command::new("objcopy").args(words).current_dir(scene.path("")));
    objcopy(&["--only-keep-debug", "whole.elf", "lib/anything"]);
    objcopy(&["-S", "whole.elf", "k.elf"]);
    let nm = run(Command::new("nm").arg(scene.path("whole.elf")));
    let address = nm.lines().find(|line| line.ends_with(" ratio_sixty")).unwrap()[..16].to_owned();
    let said = |words: &[&str]| scene.run(&[&["symbolize", "k.elf"], words].concat()).ok().stdout;
    assert!(
        said(&[&address]).ends_with("[unknown: image has no symbols, in .text]\n"),
        "{}",
        said(&[&address])
    );
    assert!(said(&[&address, "--symbols", "lib"]).contains("  ratio_sixty ("));
    let moved = format!("{:x}", u64::from_str_radix(&address, 16).unwrap() + 0x4000_0000);
    assert!(said(&[&moved]).ends_with("[unknown: outside the image]\n"));
    let further = ["--image", "whole.elf@0x40000000", &moved, &address];
    let lines = said(&further);
    assert!(lines.contains("  ratio_sixty (") && lines.contains("image has no symbols"), "{lines}");
}
