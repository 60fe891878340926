//! Every kind of file that debug information comes in, made by the real tools, each asked for a function, an inlined one
//! and a line.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use common::Built;
use uniprof_symbolizer::{
    AddressKind, DebugFile, Image, LoadBias, Misfit, Part, Proof, Search, Symbolizer, Tried, complete, load,
    slim_image,
};
use uniprof_wire::address::GuestVirtual;

const SOURCE: &str = r#"
template <typename T> static inline __attribute__((always_inline)) T twice(T x) {
    int y; __asm__ volatile("imul $7, %1, %0" : "=r"(y) : "r"(x)); return y; /* line 3 */
}
namespace outer { __attribute__((noinline)) int shown(int x) {
    return twice<int>(x); /* line 6 */
} }
int seed = 4;
extern "C" void _start() { seed = outer::shown(seed); for (;;) ; }
"#;

fn run(folder: &Path, line: &str) {
    let words: Vec<&str> = line.split_whitespace().collect();
    let output = Command::new(words[0]).args(&words[1..]).current_dir(folder).output();
    let output =
        output.unwrap_or_else(|error| panic!("{}: {error}; `cargo xtask test --yes` installs it", words[0]));
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
}

fn built(flags: &[&str]) -> (Built, PathBuf) {
    let built = Built::new("a.cc", SOURCE, &[&["-O2"], flags].concat());
    let folder = built.path.parent().expect("a folder").to_owned();
    (built, folder)
}

fn debug_file(path: &Path) -> DebugFile {
    DebugFile::parse(std::fs::read(path).expect("readable")).expect("a debug file")
}

/// Where the inlined multiplication is.
fn inlined(image: &Image) -> u64 {
    let text = image.section(".text").expect("readable").expect("present");
    let at = text.windows(3).position(|code| code[0] == 0x6b && code[2] == 7).expect("imul");
    text.address.0 + at as u64
}

/// All three: the function, the inlined one in it, and both lines. `at` is where the inlined one is.
#[track_caller]
fn knows_all(image: Image, at: u64) {
    let mut symbolizer = Symbolizer::new(Arc::new(image), LoadBias::NONE);
    let found = symbolizer.resolve(GuestVirtual(at), AddressKind::Instruction);
    let frames: Vec<_> =
        found.frames().iter().map(|frame| (frame.function.to_string(), frame.line, frame.inlined)).collect();
    let [inner, outer] = &frames[..] else { panic!("{found} {frames:?} {:?}", symbolizer.tally()) };
    assert!(inner.0.contains("twice<int>") && inner.1 == Some(3) && inner.2, "{frames:?}");
    assert_eq!(*outer, ("outer::shown(int)".to_owned(), Some(6), false));
    let file = found.frames()[0].file.as_deref().expect("a file");
    assert!(file.ends_with("a.cc"), "{file}");
}

#[track_caller]
fn first_name(image: Image, at: u64) -> String {
    Symbolizer::new(Arc::new(image), LoadBias::NONE)
        .resolve(GuestVirtual(at), AddressKind::Instruction)
        .to_string()
}

#[test]
fn sections_of_all_ages_and_compressions() {
    for flags in [
        &["-gdwarf-5"][..],
        &["-gdwarf-4"],
        &["-gdwarf-5", "-gz=zlib"],
        &["-gdwarf-5", "-Wl,--compress-debug-sections=zstd"],
        &["-gdwarf-4", "-Wl,--compress-debug-sections=zlib-gnu"],
    ] {
        let (built, _folder) = built(flags);
        let image = built.image_alone();
        let at = inlined(&image);
        knows_all(image, at);
        knows_all(
            Image::parse(uniprof_symbolizer::slim(&built.bytes()).expect("slims")).expect("an image"),
            at,
        );
    }
}

#[test]
fn a_debug_file_with_the_same_build_id() {
    let (built, folder) = built(&["-g", "-Wl,--build-id"]);
    run(&folder, "objcopy --only-keep-debug image.elf image.debug");
    run(&folder, "strip -s image.elf");
    let mut image = built.image_alone();
    let at = inlined(&image);
    assert!(image.wanted().debug_info);
    assert_eq!(first_name(built.image_alone(), at), "[unknown: image has no symbols, in .text]");
    let part = image.attach(debug_file(&folder.join("image.debug"))).expect("it fits");
    assert_eq!(part, Part::Sections(Proof::BuildId));
    assert!(image.wanted().is_empty());
    assert!(image.symbol("_start").is_some() && image.debug_info().frames);
    knows_all(image, at);
}

#[test]
fn a_debug_link_is_proven_by_its_checksum() {
    let (built, folder) = built(&["-g", "-Wl,--build-id=none"]);
    run(&folder, "objcopy --only-keep-debug image.elf image.debug");
    run(&folder, "strip -s image.elf");
    run(&folder, "objcopy --add-gnu-debuglink=image.debug image.elf");
    let mut image = built.image_alone();
    let at = inlined(&image);
    assert_eq!(image.debug_link().expect("a link").file, "image.debug");
    let part = image.attach(debug_file(&folder.join("image.debug"))).expect("it fits");
    assert_eq!(part, Part::Sections(Proof::Checksum));
    knows_all(image, at);
}

#[test]
fn files_without_any_identity_are_compared_by_their_sections() {
    let (ours, folder) = built(&["-g", "-Wl,--build-id=none"]);
    run(&folder, "cp image.elf image.dbg");
    run(&folder, "strip -s image.elf");
    let mut image = load(&ours.path).expect("an image");
    let at = inlined(&image);
    // Another build of the same size: only its text tells that.
    let other =
        Built::new("a.cc", &SOURCE.replace("imul $7", "imul $9"), &["-O2", "-g", "-Wl,--build-id=none"]);
    assert_eq!(image.attach(debug_file(&other.path)).expect_err("other code"), Misfit::Text);
    let longer = SOURCE.replace("twice<int>(x)", "twice<int>(x) / twice<int>(x + 3) / twice<int>(x + 5)");
    let other = Built::new("a.cc", &longer, &["-O2", "-g", "-Wl,--build-id=none"]);
    let misfit = image.attach(debug_file(&other.path)).expect_err("another size");
    assert!(matches!(misfit, Misfit::Layout { .. }), "{misfit}");
    let other = Built::new("a.cc", SOURCE, &["-O2", "-g", "-Wl,--build-id"]);
    let mut identified = load(&other.path).expect("an image");
    let wrong = Built::new("a.cc", &longer, &["-O2", "-g", "-Wl,--build-id"]);
    let misfit = identified.attach(debug_file(&wrong.path)).expect_err("another build");
    assert!(misfit.to_string().contains("but the image is of build-id"), "{misfit}");

    let part = image.attach(debug_file(&folder.join("image.dbg"))).expect("it fits");
    assert_eq!(part, Part::Sections(Proof::Layout));
    knows_all(image, at);
}

#[test]
fn split_debug_information_in_object_files() {
    for version in ["-gdwarf-4", "-gdwarf-5"] {
        let (built, folder) = built(&[version, "-gsplit-dwarf"]);
        let mut image = built.image_alone();
        let at = inlined(&image);
        let wanted = image.wanted();
        assert!(!wanted.debug_info);
        let [unit] = &wanted.units[..] else { panic!("{version}: {wanted:?}") };
        let name = unit.file.as_ref().expect("a name");
        let file = unit.folder.as_ref().expect("a folder").join(name);
        assert!(file.exists(), "{}", file.display());
        // Without it, there are symbols and lines.
        assert_eq!(first_name(built.image_alone(), at), "outer::shown(int)");
        let foreign =
            Built::new("a.cc", &SOURCE.replace("outer", "other"), &["-O2", version, "-gsplit-dwarf"]);
        let object = foreign.path.with_file_name(name.file_name().expect("a name"));
        assert_eq!(
            image.attach(debug_file(&object)).expect_err("another's"),
            Misfit::OtherUnits,
            "{version}"
        );

        assert_eq!(image.attach(debug_file(&file)).expect("it fits"), Part::Object { units: 1 });
        assert!(image.wanted().is_empty());
        knows_all(image, at);

        let packer = if version == "-gdwarf-4" { "dwp" } else { "llvm-dwp" };
        run(&folder, &format!("{packer} -e image.elf -o image.dwp"));
        let mut image = built.image_alone();
        let part = image.attach(debug_file(&folder.join("image.dwp"))).expect("it fits");
        assert_eq!(part, Part::Package { units: 1 });
        assert!(image.wanted().is_empty());
        knows_all(image, at);
    }
}

#[test]
fn what_dwz_moved_to_another_file() {
    let (built, folder) = built(&["-gdwarf-4", "-Wl,--build-id"]);
    // Only what two images have in common is moved.
    run(&folder, "cp image.elf twin.elf");
    run(&folder, "dwz -m common.debug image.elf twin.elf");
    let mut image = built.image_alone();
    let at = inlined(&image);
    let link = image.alt_link().expect("dwz leaves a link");
    assert_eq!(link.file, Path::new("common.debug"));
    let before = first_name(built.image_alone(), at);
    assert!(!before.contains("twice<int>"), "nothing was moved: {before}");
    assert_eq!(image.attach(debug_file(&folder.join("common.debug"))).expect("it fits"), Part::Supplement);
    assert!(image.wanted().is_empty());
    knows_all(image, at);
}

#[test]
fn a_compressed_symbol_table_inside() {
    let (built, folder) = built(&["-g", "-Wl,--build-id"]);
    let at = inlined(&built.image_alone());
    run(&folder, "objcopy --strip-debug image.elf mini.elf");
    run(&folder, "objcopy -S --remove-section .comment --keep-symbol=_ZN5outer5shownEi image.elf mini.elf");
    run(&folder, "strip -s image.elf");
    run(&folder, "xz -f mini.elf");
    run(&folder, "objcopy --add-section .gnu_debugdata=mini.elf.xz image.elf");
    let image = built.image_alone();
    assert!(image.debug_info().symbols);
    assert_eq!(first_name(image, at), "outer::shown(int)");
    let slim = uniprof_symbolizer::slim(&built.bytes()).expect("slims");
    assert_eq!(first_name(Image::parse(slim).expect("an image"), at), "outer::shown(int)");
}

/// Completes the image from what is found, and a slim one of it names the same.
#[track_caller]
fn is_completed(path: &Path, at: u64, search: &Search) -> Vec<Tried> {
    let mut image = load(path).expect("an image");
    let tried = complete(&mut image, Some(path), search);
    assert!(image.wanted().is_empty(), "{tried:?}");
    let mut slim = Image::parse(slim_image(&image).expect("slims")).expect("an image");
    assert_eq!(slim.identity(), image.identity());
    for part in image.part_files() {
        slim.attach(DebugFile::parse(&*part).expect("a debug file")).expect("it fits");
    }
    knows_all(slim, at);
    knows_all(image, at);
    tried
}

fn found(tried: &[Tried]) -> Vec<(&Path, &str)> {
    tried
        .iter()
        .filter_map(|tried| Some((tried.path.as_path(), tried.result.as_ref().ok()?.as_deref()?)))
        .collect()
}

#[test]
fn debug_files_are_found_where_debuggers_look() {
    let (built, folder) = built(&["-g", "-Wl,--build-id=0xabcdef"]);
    let at = inlined(&built.image_alone());
    run(&folder, "objcopy --only-keep-debug image.elf linked.debug");
    run(&folder, "strip -s image.elf");
    run(&folder, "objcopy --add-gnu-debuglink=linked.debug image.elf");
    let (image, linked) = (built.path.as_path(), folder.join("linked.debug"));
    let dir = folder.join("lib");
    let search = Search { dirs: vec![dir.clone()], cache: Some(folder.join("cache")) };
    let mirrored = dir.join(folder.strip_prefix("/").expect("absolute"));
    let places = [
        linked.clone(),
        folder.join("image.elf.dbg"),
        folder.join("image.elf.debug"),
        folder.join(".debug/linked.debug"),
        mirrored.join("linked.debug"),
        dir.join(".build-id/ab/cdef.debug"),
        dir.join("ab/cdef.debug"),
        dir.join("linked.debug"),
        dir.join("called anything"),
        folder.join("cache/abcdef/debuginfo"),
    ];
    let bytes = std::fs::read(&linked).expect("readable");
    std::fs::remove_file(&linked).expect("removable");
    let mut alone = load(image).expect("an image");
    let tried = complete(&mut alone, Some(image), &search);
    assert!(tried.iter().all(|tried| tried.result == Ok(None)) && tried.len() > 8, "{tried:?}");
    for place in places {
        std::fs::create_dir_all(place.parent().expect("a folder")).expect("a folder");
        std::fs::write(&place, &bytes).expect("writable");
        let tried = is_completed(image, at, &search);
        assert_eq!(found(&tried), [(place.as_path(), "debug file with the same build-id")]);
        // Another build's in its place is refused with both identities, and nothing is taken from it.
        let other = Built::new("a.cc", SOURCE, &["-O2", "-g", "-Wl,--build-id=0x1234"]);
        std::fs::copy(&other.path, &place).expect("writable");
        let tried = complete(&mut load(image).expect("an image"), Some(image), &search);
        assert_eq!(found(&tried), []);
        if !place.ends_with("called anything") {
            let refused = tried.iter().find_map(|tried| tried.result.as_ref().err()).expect("refused");
            assert_eq!(refused, "is of build-id 1234, but the image is of build-id abcdef");
        }
        std::fs::remove_file(&place).expect("removable");
    }
}

#[test]
fn unikraft_leaves_its_symbols_beside_the_image() {
    let (built, folder) = built(&["-g", "-Wl,--build-id=none"]);
    let at = inlined(&built.image_alone());
    run(&folder, "cp image.elf app_qemu-x86_64.dbg");
    run(&folder, "objcopy -S image.elf app_qemu-x86_64");
    let tried = is_completed(&folder.join("app_qemu-x86_64"), at, &Search::default());
    assert_eq!(
        found(&tried),
        [(folder.join("app_qemu-x86_64.dbg").as_path(), "debug file with the same sections")]
    );
}

#[test]
fn split_debug_information_is_found_by_its_names() {
    let (built, folder) = built(&["-gdwarf-4", "-gsplit-dwarf"]);
    let at = inlined(&built.image_alone());
    is_completed(&built.path, at, &Search::default());
    run(&folder, "dwp -e image.elf -o image.elf.dwp");
    let object = built.image_alone().wanted().units[0].file.clone().expect("a name");
    std::fs::rename(&object, folder.join("moved")).expect("removable");
    let tried = is_completed(&built.path, at, &Search::default());
    assert_eq!(
        found(&tried),
        [(folder.join("image.elf.dwp").as_path(), "packed split debug info of 1 unit")]
    );
    std::fs::remove_file(folder.join("image.elf.dwp")).expect("removable");
    let mut image = built.image_alone();
    let tried = complete(&mut image, Some(&built.path), &Search::default());
    let last = tried.last().expect("tried").result.as_ref().expect_err("not there");
    assert_eq!(last, "no file with its split debug info");
    assert_eq!(image.wanted().units.len(), 1);
}

#[test]
fn files_of_dwz_are_found_by_their_names_and_build_ids() {
    let (built, folder) = built(&["-gdwarf-4", "-Wl,--build-id"]);
    let at = inlined(&built.image_alone());
    run(&folder, "cp image.elf twin.elf");
    run(&folder, "dwz -m common.debug image.elf twin.elf");
    let tried = is_completed(&built.path, at, &Search::default());
    assert_eq!(found(&tried), [(folder.join("common.debug").as_path(), "supplementary debug file")]);
    // As Debian's packages have it: debug information in a file of its own, which links to the supplement.
    run(&folder, "objcopy --only-keep-debug image.elf image.elf.debug");
    run(&folder, "strip -s image.elf");
    let tried = is_completed(&built.path, at, &Search::default());
    assert_eq!(found(&tried).len(), 2, "{tried:?}");
}

#[test]
fn a_fifo_is_not_waited_for() {
    let (built, folder) = built(&["-s"]);
    run(&folder, "mkfifo image.elf.dbg");
    let tried = complete(&mut built.image_alone(), Some(&built.path), &Search::default());
    let why = tried[0].result.as_ref().expect_err("no file");
    assert!(why.contains("not a regular file"), "{why}");
}
