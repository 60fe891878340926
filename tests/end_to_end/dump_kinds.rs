//! One guest that read a null pointer, in every kind of dump: all of them tell the same. And with ever less to go by: cut off, without
//! debug information, without symbols, without frame information, without probes, with another kernel's file.

use std::fs;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use uniprof_tests::kdump::{self, Packing};
use uniprof_tests::{Ended, Scene, Stopped, assert_matches_its_schema, kernels};

const KERNEL: &[&str] = &["--kernel", "kernel.elf"];

/// A scene with `elf.core` and `kernel.elf` of a guest that read a null pointer, which `more` may dump in other ways.
fn with_core(more: impl FnOnce(&Scene, &mut Stopped<'_>)) -> Scene {
    let scene = Scene::with_guest();
    let mut guest = Stopped::run(&scene, "crash-null", &["-smp", "2"]);
    guest.dump("elf.core", "elf", false);
    more(&scene, &mut guest);
    guest.end();
    scene
}

fn stacks(scene: &Scene, file: &str, words: &[&str]) -> Value {
    let document = scene.run(&[&["core", "stacks", file, "--json"], words].concat()).ok().json();
    assert_matches_its_schema(&document);
    document["stacks"].clone()
}

fn verdict(scene: &Scene, file: &str, words: &[&str]) -> Value {
    let document = scene.run(&[&["core", file, "--json"], words].concat()).ok().json();
    assert_matches_its_schema(&document);
    document["verdict"].clone()
}

/// Functions of the stack of that which crashed.
fn crashed(stacks: &Value) -> Vec<String> {
    let group = stacks
        .as_array()
        .expect("stacks")
        .iter()
        .find(|group| {
            let frames = group["frames"].as_array().expect("frames");
            frames.iter().any(|frame| name(frame).contains("session_lookup"))
        })
        .unwrap_or_else(|| panic!("nobody looked up a session: {:?}", names(stacks)));
    group["frames"].as_array().expect("frames").iter().map(name).collect()
}

/// Functions of all stacks.
fn names(stacks: &Value) -> Vec<Vec<String>> {
    let names = |group: &Value| group["frames"].as_array().expect("frames").iter().map(name).collect();
    stacks.as_array().expect("stacks").iter().map(names).collect()
}

fn name(frame: &Value) -> String {
    frame["function"].as_str().expect("a name").to_owned()
}

/// All addresses of all stacks.
fn addresses(stacks: &Value) -> Vec<Vec<String>> {
    let of = |group: &Value| -> Vec<String> {
        let mut frames: Vec<String> = group["frames"]
            .as_array()
            .expect("frames")
            .iter()
            .map(|frame| frame["address"].as_str().expect("an address").to_owned())
            .collect();
        frames.dedup();
        frames
    };
    let mut all: Vec<_> = stacks.as_array().expect("stacks").iter().map(of).collect();
    all.sort();
    all
}

#[test]
fn every_kind_of_dump_tells_the_same() {
    let scene = with_core(|scene, guest| {
        guest.dump("paging.core", "elf", true);
        guest.dump("flat.core", "kdump-zlib", false);
        let known = guest.qmp.ask("query-dump-guest-memory-capability", json!({}));
        for format in ["kdump-lzo", "kdump-snappy"] {
            if known["formats"].as_array().is_some_and(|formats| formats.contains(&format.into())) {
                guest.dump(&format!("{format}.core"), format, false);
            }
        }
        let raw = scene.path("raw.img");
        guest.qmp.ask("pmemsave", json!({"val": 0, "size": 128 << 20, "filename": raw.to_str()}));
    });
    let plain = kdump::reassembled(&fs::read(scene.path("flat.core")).expect("the dump"));
    fs::write(scene.path("plain.core"), &plain).expect("a file");
    for packing in [Packing::None, Packing::Zlib, Packing::Lzo, Packing::Snappy, Packing::Zstd] {
        let bytes = kdump::repacked(&plain, packing);
        fs::write(scene.path(&format!("{packing:?}.core")), bytes).expect("a file");
    }
    let wanted = stacks(&scene, "elf.core", KERNEL);
    let verdict = verdict(&scene, "elf.core", KERNEL);
    assert_eq!(verdict["kind"], "page-fault");
    assert!(verdict["function"].as_str().is_some_and(|name| name.ends_with("session_lookup")), "{verdict}");
    let names = crashed(&wanted);
    assert!(names.iter().any(|name| name == "exception_common"), "{names:?}");
    let files = scene.files();
    let cores = files.iter().filter(|file| file.ends_with(".core") && *file != "elf.core");
    assert!(cores.clone().count() >= 8, "{files:?}");
    for file in cores {
        assert_eq!(stacks(&scene, file, KERNEL), wanted, "{file}");
        assert_eq!(self::verdict(&scene, file, KERNEL), verdict, "{file}");
    }
    // Physical memory has no registers but those of the crash record, and no page tables but those that it names.
    let raw = stacks(&scene, "raw.img", &[KERNEL, &["--raw"]].concat());
    assert_eq!(self::verdict(&scene, "raw.img", &[KERNEL, &["--raw"]].concat()), verdict);
    let from = crashed_from_fault(&names);
    assert!(crashed(&raw).ends_with(&from), "{:?} {from:?}", crashed(&raw));
}

#[test]
fn every_crash_is_reported_alike_from_every_kind_of_dump() {
    for workload in [
        "wild", "stack", "double", "triple", "panic", "oom", "deadlock", "spin", "lostwake", "heap",
        "scribble", "gp",
    ] {
        let scene = Scene::with_guest();
        let mut guest = Stopped::run(&scene, &format!("crash-{workload}"), &["-smp", "2"]);
        guest.dump("elf.core", "elf", false);
        guest.dump("paging.core", "elf", true);
        guest.dump("flat.core", "kdump-zlib", false);
        let raw = scene.path("raw.img");
        guest.qmp.ask("pmemsave", json!({"val": 0, "size": 128 << 20, "filename": raw.to_str()}));
        guest.end();
        let plain = kdump::reassembled(&fs::read(scene.path("flat.core")).expect("the dump"));
        for packing in [Packing::Lzo, Packing::Snappy, Packing::Zstd] {
            let bytes = kdump::repacked(&plain, packing);
            fs::write(scene.path(&format!("{packing:?}.core")), bytes).expect("a file");
        }
        fs::write(scene.path("plain.core"), plain).expect("a file");
        let (wanted, stacks_of_elf) =
            (verdict(&scene, "elf.core", KERNEL), stacks(&scene, "elf.core", KERNEL));
        for file in ["paging.core", "flat.core", "plain.core", "Lzo.core", "Snappy.core", "Zstd.core"] {
            assert_eq!(verdict(&scene, file, KERNEL), wanted, "{workload}: {file}");
            assert_eq!(stacks(&scene, file, KERNEL), stacks_of_elf, "{workload}: {file}");
        }
        assert_raw_tells_the_same(&scene, workload, &wanted, &stacks_of_elf);
    }
}

/// Physical memory and nothing else, with the registers that another dump has.
fn assert_raw_tells_the_same(scene: &Scene, workload: &str, wanted: &Value, stacks_of_elf: &Value) {
    let registers = scene.run(&[&["core", "regs", "elf.core", "--json"], KERNEL].concat()).ok().json();
    let of_vcpu = |vcpu: &Value| -> String {
        let registers = vcpu["registers"].as_object().expect("registers").iter();
        let pairs = registers.map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default()));
        pairs.collect::<Vec<_>>().join(",")
    };
    let given: Vec<String> = registers["vcpus"].as_array().expect("vCPUs").iter().map(of_vcpu).collect();
    let mut words = vec!["--raw"];
    given.iter().for_each(|given| words.extend(["--regs", given]));
    let words = [KERNEL, &words].concat();
    // That a processor gave up shows in its interrupt descriptor table's size, which is none of the registers that can be given.
    if workload != "triple" {
        let made = verdict(scene, "raw.img", &words);
        for key in ["kind", "function", "thread", "vcpu"] {
            assert_eq!(made[key], wanted[key], "{workload}: raw, {made:#}");
        }
    }
    assert_eq!(stacks(scene, "raw.img", &words), *stacks_of_elf, "{workload}: raw");
    // Without registers there are those of the crash record, where the guest could leave one.
    if !["triple", "spin"].contains(&workload) {
        let made = verdict(scene, "raw.img", &[KERNEL, &["--raw"]].concat());
        for key in ["kind", "function", "thread"] {
            assert_eq!(made[key], wanted[key], "{workload}: raw without registers, {made:#}");
        }
    }
}

/// The names from the function that failed on.
fn crashed_from_fault(names: &[String]) -> Vec<String> {
    let at = names.iter().position(|name| name.contains("session_lookup")).expect("the function that failed");
    names[at..].to_vec()
}

#[test]
fn a_dump_that_is_cut_off_anywhere_says_so_and_tells_what_is_left() {
    let scene = with_core(|_, guest| guest.dump("flat.core", "kdump-zlib", false));
    let plain = kdump::reassembled(&fs::read(scene.path("flat.core")).expect("the dump"));
    fs::write(scene.path("plain.core"), plain).expect("a file");
    for file in ["elf.core", "flat.core", "plain.core"] {
        let bytes = fs::read(scene.path(file)).expect("the dump");
        let mut told = 0;
        for share in [0, 1, 3, 20, 100, 500, 900, 999] {
            let len = if share < 20 { share * 40 } else { bytes.len() * share / 1000 };
            fs::write(scene.path("cut.core"), &bytes[..len]).expect("a file");
            let ended = scene.run(&[&["core", "stacks", "cut.core"], KERNEL].concat());
            assert!([0, 1].contains(&ended.code), "{file} of {len}: {}", ended.stderr);
            if ended.code == 1 {
                ended.says(&["cut.core"]);
            } else {
                told += 1;
                assert_cut(&scene, file, len);
            }
        }
        assert!(told >= 3, "{file}");
    }
}

/// `info` knows that it is not all there.
fn assert_cut(scene: &Scene, file: &str, len: usize) {
    let info = scene.run(&[&["core", "info", "cut.core", "--json"], KERNEL].concat()).ok().json();
    let lacks: Vec<&str> =
        info["lacks"].as_array().expect("sentences").iter().flat_map(Value::as_str).collect();
    assert!(!lacks.is_empty(), "{file} of {len}: {info}");
}

#[test]
fn with_less_in_the_kernels_file_less_is_said_and_the_stacks_are_the_same() {
    let scene = with_core(|_, _| {});
    let whole = stacks(&scene, "elf.core", KERNEL);
    let copies: [(&str, &[&str]); 3] = [
        ("no-debug.elf", &["--strip-debug"]),
        ("no-symbols.elf", &["--strip-all"]),
        ("no-frames.elf", &["--strip-debug", "--remove-section=.eh_frame", "--remove-section=.eh_frame_hdr"]),
    ];
    for (file, words) in copies {
        strip(&scene, words, file);
        let told = stacks(&scene, "elf.core", &["--kernel", file]);
        let groups = told.as_array().expect("stacks");
        let frames = || groups.iter().flat_map(|group| group["frames"].as_array().expect("frames"));
        match file {
            // Without inlined functions; the functions themselves still have names.
            "no-debug.elf" => {
                assert_eq!(addresses(&told), addresses(&whole));
                assert!(crashed(&told).iter().any(|name| name.ends_with("crash::null::authorize")));
                assert!(frames().all(|frame| frame["line"].is_null() && frame["inlined"] == false));
            }
            "no-symbols.elf" => {
                assert_eq!(addresses(&told), addresses(&whole));
                assert!(frames().all(|frame| name(frame).starts_with("[unknown")), "{told:#}");
            }
            // By frame pointers and by what instructions tell.
            _ => {
                let wanted =
                    crashed_from_fault(&crashed(&stacks(&scene, "elf.core", &["--kernel", "no-debug.elf"])));
                assert!(crashed(&told).ends_with(&wanted), "{:?}, {wanted:?}", crashed(&told));
            }
        }
    }
}

fn strip(scene: &Scene, words: &[&str], to: &str) {
    let mut objcopy = Command::new("objcopy");
    let output = objcopy.args(words).args([&scene.path("kernel.elf"), &scene.path(to)]).output();
    let output =
        output.unwrap_or_else(|error| panic!("objcopy: {error}; `cargo xtask test --yes` installs it"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn another_kernels_file_is_refused_unless_forced() {
    let scene = with_core(|_, _| {});
    let mut other = fs::read(scene.path("kernel.elf")).expect("the kernel");
    let id = build_id(&scene.path("kernel.elf"));
    let at = other.windows(id.len()).position(|window| window == id).expect("the build-id");
    other[at] ^= 0xff;
    fs::write(scene.path("other.elf"), other).expect("a file");
    let words = ["core", "stacks", "elf.core", "--kernel", "other.elf"];
    scene.run(&words).failed_with(4).says(&["other.elf", "--force"]);
    let forced = stacks(&scene, "elf.core", &["--kernel", "other.elf", "--force"]);
    assert_eq!(forced, stacks(&scene, "elf.core", KERNEL));
}

fn build_id(elf: &Path) -> Vec<u8> {
    let output = Command::new("readelf").arg("--notes").arg(elf).output().expect("binutils");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let digits = text.split("Build ID: ").nth(1).and_then(|rest| rest.split_whitespace().next());
    let digits = digits.expect("a build-id").as_bytes().chunks(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

#[test]
fn of_a_guest_without_probes_registers_and_the_stack_of_its_vcpu_are_told() {
    let scene = Scene::with_guest();
    fs::write(scene.path("bare.elf"), kernels::without_probes("up\n")).expect("a file");
    let mut guest = Stopped::kernel(&scene, "bare.elf", "up");
    guest.dump("bare.core", "elf", false);
    guest.dump("flat.core", "kdump-zlib", false);
    guest.end();
    for file in ["bare.core", "flat.core"] {
        let info = told(&scene, &["core", "info", file, "--kernel", "bare.elf", "--json"]).json();
        assert!(info["region"].is_null());
        let lacks = info["lacks"].to_string();
        assert!(lacks.contains("no threads") && lacks.contains("no observation region"), "{lacks}");
        let stacks = stacks(&scene, file, &["--kernel", "bare.elf"]);
        assert_eq!(stacks[0]["owners"], json!([{"vcpu": 0}]));
        assert_eq!(stacks[0]["frames"].as_array().map(Vec::len), Some(1), "{stacks}");
        let regs = told(&scene, &["core", "regs", file, "--kernel", "bare.elf"]);
        assert!(regs.stdout.contains("rip"), "{}", regs.stdout);
        told(&scene, &["core", "export", file, "-o", "bare.x", "--kernel", "bare.elf"]);
    }
}

fn told(scene: &Scene, words: &[&str]) -> Ended {
    scene.run(words).ok()
}

/// QEMU's dump with its memory made 16 GiB long: what the guest did not have is a hole of the file.
fn stretched(dump: &[u8]) -> (Vec<u8>, u64) {
    let number = |at: usize| u64::from_le_bytes(dump[at..at + 8].try_into().expect("eight bytes"));
    let half = |at: usize| u16::from_le_bytes(dump[at..at + 2].try_into().expect("two bytes"));
    let (table, count) = (number(32) as usize, usize::from(half(56)));
    let mut made = dump.to_vec();
    let mut end = 0;
    for header in (0..count).map(|index| table + index * 56) {
        // The RAM at address 0, which has to lie last in the file to grow.
        if dump[header] == 1 && number(header + 24) == 0 {
            let (offset, len) = (number(header + 8) as usize, number(header + 32) as usize);
            let moved = dump.len().next_multiple_of(4096);
            made.resize(moved, 0);
            made.extend(&dump[offset..offset + len]);
            made[header + 8..header + 16].copy_from_slice(&(moved as u64).to_le_bytes());
            for at in [32, 40] {
                made[header + at..header + at + 8].copy_from_slice(&(16_u64 << 30).to_le_bytes());
            }
            end = moved as u64 + (16 << 30);
        } else if dump[header] == 1 {
            // Elsewhere than in the way of what grew.
            let address = number(header + 24) + (32 << 30);
            made[header + 24..header + 32].copy_from_slice(&address.to_le_bytes());
        }
    }
    assert!(end > 0, "no RAM at address 0");
    (made, end)
}

#[test]
fn a_sparse_dump_of_16_gib_is_told_of_in_150_mb_of_memory() {
    let scene = with_core(|_, _| {});
    let (bytes, end) = stretched(&fs::read(scene.path("elf.core")).expect("the dump"));
    let file = fs::File::create(scene.path("sparse.core")).expect("a file");
    // Zeros are holes, as in the dump of a guest that never touched most of its memory.
    for (at, page) in (0..).step_by(4096).zip(bytes.chunks(4096)) {
        if page.iter().any(|byte| *byte != 0) {
            file.write_all_at(page, at).expect("a disk");
        }
    }
    file.set_len(end).expect("a file system with holes");
    let wanted = stacks(&scene, "elf.core", KERNEL);
    assert_eq!(stacks(&scene, "sparse.core", KERNEL), wanted);
    for words in
        [&["core", "info", "sparse.core"][..], &["core", "sparse.core"], &["core", "stacks", "sparse.core"]]
    {
        // Memory beyond the limit can't be had, and the program dies of that.
        let limit = format!("--data={}", 150 * 1000 * 1000);
        let program = uniprof_tests::uniprof().to_str().expect("a path");
        let line = [&[&limit, program], words, KERNEL].concat();
        let ended = scene.run_command(&mut scene.program(Path::new("prlimit"), &line)).ok();
        assert!(!ended.stdout.is_empty(), "{words:?}");
    }
    let export = ["core", "export", "sparse.core", "-o", "sparse.x"];
    scene.run(&[&export[..], KERNEL].concat()).ok();
    let taken = fs::metadata(scene.path("sparse.x")).expect("the core").blocks() * 512;
    assert!(taken < 64 << 20, "{taken} bytes on disk");
}

#[test]
fn the_core_that_uniprof_took_of_the_crash_tells_what_qemus_dump_does() {
    let scene = with_core(|_, _| {});
    let line = "run --on-crash dump=cores --no-restart --vcpus 2 --memory 128M --placement ram -- bundled workload=crash-null";
    scene.run(&line.split(' ').collect::<Vec<_>>()).failed_with(1);
    let core = fs::read_dir(scene.path("cores"))
        .expect("a directory")
        .next()
        .expect("a core")
        .expect("a name")
        .path();
    let core = core.to_str().expect("a name");
    let [theirs, own] = ["elf.core", core].map(|file| verdict(&scene, file, KERNEL));
    for field in ["kind", "function", "thread", "vcpu"] {
        assert_eq!(own[field], theirs[field], "{field}");
    }
    let [theirs, own] =
        ["elf.core", core].map(|file| crashed_from_fault(&crashed(&stacks(&scene, file, KERNEL))));
    assert_eq!(own, theirs);
}
