//! `uniprof core export`: gdb opens the core, and its backtrace of every thread is ours, frame by frame.
//!
//! gdb reads the exported core, we the dump. Where the answers differ, the test checks that they differ in one of the ways that
//! docs/post-mortem-gdb.md lists and explains, and in no other.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;
use uniprof_tests::{Scene, Stopped, assert_matches_its_schema};

const SCRIPT: &str = include_str!("backtrace.py");

#[derive(Clone, Debug, PartialEq, Eq)]
struct Frame {
    address: u64,
    inlined: bool,
    function: String,
    file: String,
    line: u64,
}

type Stacks = BTreeMap<u64, Vec<Frame>>;

/// How the frames of one guest compare.
#[derive(Debug, Default, PartialEq, Eq)]
struct Compared {
    threads: usize,
    same: usize,
    inlined: usize,
    /// Frames that only gdb has: the return address 0 at the root, which is no code.
    root: usize,
    /// Functions under the name of their symbol.
    exported: usize,
    /// Lines of rows that begin no statement.
    statement: usize,
    /// Code that belongs to no line: gdb leaves the file out, too.
    no_line: usize,
}

#[test]
fn gdb_has_the_same_stacks_of_a_busy_guest() {
    let found = compare("kv", &["-smp", "2"]);
    assert!(found.threads >= 3 && found.same >= 15 && found.inlined >= 2, "{found:?}");
}

#[test]
fn gdb_has_the_same_stacks_of_a_guest_that_read_a_null_pointer() {
    let found = compare("crash-null", &["-smp", "2"]);
    assert!(found.threads >= 3 && found.same >= 15, "{found:?}");
}

#[test]
fn gdb_has_the_same_stacks_of_a_guest_that_panicked() {
    let found = compare("crash-panic", &[]);
    assert!(found.threads >= 2 && found.same >= 10, "{found:?}");
}

#[test]
fn gdb_has_the_same_stacks_of_threads_in_a_deadlock() {
    let found = compare("crash-deadlock", &["-smp", "2"]);
    assert!(found.threads >= 3 && found.same >= 15, "{found:?}");
}

fn compare(workload: &str, words: &[&str]) -> Compared {
    let scene = Scene::with_guest();
    let mut guest = Stopped::run(&scene, workload, words);
    guest.dump("x.core", "elf", false);
    guest.end();
    let export = ["core", "export", "x.core", "-o", "x.elf", "--kernel", "kernel.elf", "--json"];
    let told = scene.run(&export).ok().json();
    assert_matches_its_schema(&told);
    let gdb = with_gdb(&scene);
    let ours = ours(&scene, &told);
    assert_eq!(gdb.keys().collect::<Vec<_>>(), ours.keys().collect::<Vec<_>>(), "threads");
    let mut found = Compared::default();
    for (thread, frames) in &gdb {
        found.threads += 1;
        classify(&scene, *thread, frames, &ours[thread], &mut found);
    }
    println!("{workload}: {found:?}");
    found
}

fn classify(scene: &Scene, thread: u64, gdb: &[Frame], ours: &[Frame], found: &mut Compared) {
    let tell = || format!("thread {thread}\ngdb:  {gdb:#?}\nours: {ours:#?}");
    let mut frames = gdb;
    // We end where the return address is 0; gdb shows that as one more frame.
    if let [inner @ .., root] = frames
        && root.address == 0
    {
        frames = inner;
        found.root += 1;
    }
    assert_eq!(frames.len(), ours.len(), "{}", tell());
    for (depth, (theirs, own)) in frames.iter().zip(ours).enumerate() {
        // Of `#[no_mangle] fn f` gdb has the path by DWARF, and we the symbol's name.
        let exported = theirs.function.ends_with(&format!("::{}", own.function));
        let same_file = theirs.file == own.file;
        let same_place = same_file && theirs.line == own.line;
        // gdb passes over rows of the line table that begin no statement; GNU addr2line does not, either.
        let statement = || same_file && gnu_line(scene, ours, depth) == own.line;
        let no_line = theirs.file.is_empty() && own.line == 0;
        let alike = (theirs.address, theirs.inlined) == (own.address, own.inlined)
            && (exported || theirs.function == own.function)
            && (same_place || no_line || statement());
        if !alike {
            panic!("gdb says {theirs:?}, and we {own:?}; {}", tell());
        }
        found.same += usize::from(theirs == own);
        found.inlined += usize::from(theirs == own && own.inlined);
        found.exported += usize::from(exported);
        found.no_line += usize::from(no_line);
        found.statement += usize::from(!same_place && !no_line);
    }
}

/// The line that GNU addr2line has for a frame.
fn gnu_line(scene: &Scene, frames: &[Frame], depth: usize) -> u64 {
    let address = frames[depth].address;
    let first = frames.iter().position(|frame| frame.address == address).expect("the frame itself");
    // Where a call returns to belongs to the line after it.
    let lookup = format!("{:x}", if first == 0 { address } else { address - 1 });
    let output = Command::new("addr2line")
        .args(["-i", "-e", "kernel.elf", &lookup])
        .current_dir(scene.path(""))
        .output()
        .unwrap_or_else(|error| panic!("addr2line: {error}; `cargo xtask test --yes` installs binutils"));
    let text = String::from_utf8_lossy(&output.stdout);
    let place = text.lines().nth(depth - first).unwrap_or_default();
    let line = place.split(" (discriminator").next().and_then(|place| place.rsplit(':').next());
    line.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

/// What gdb shows of the exported core.
fn with_gdb(scene: &Scene) -> Stacks {
    std::fs::write(scene.path("backtrace.py"), SCRIPT).expect("the script");
    let output = Command::new("gdb")
        .args(["-nx", "-batch", "-x", "backtrace.py", "kernel.elf", "x.elf"])
        .current_dir(scene.path(""))
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("gdb: {error}; `cargo xtask test --yes` installs it"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut stacks = Stacks::new();
    let mut last = 0;
    for line in readable(&String::from_utf8_lossy(&output.stdout)).lines() {
        match line.split('\t').collect::<Vec<_>>()[..] {
            ["thread", id] => last = id.parse().expect("a number"),
            ["frame", address, inlined, function, file, line] => {
                let frame = Frame {
                    address: number(address),
                    inlined: inlined == "1",
                    function: without_hash(function),
                    file: file.into(),
                    line: line.parse().expect("a number"),
                };
                stacks.entry(last).or_default().push(frame);
            }
            _ => {}
        }
    }
    stacks
}

/// Linkage names as people read them.
fn readable(text: &str) -> String {
    let mut filter = Command::new("c++filt")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("c++filt: {error}; `cargo xtask test --yes` installs binutils"));
    let mut input = filter.stdin.take().expect("a pipe");
    let text = text.to_owned();
    let writer = std::thread::spawn(move || input.write_all(text.as_bytes()));
    let output = filter.wait_with_output().expect("c++filt ends");
    writer.join().expect("no panic").expect("c++filt reads");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A Rust name without the hashes that c++filt leaves: one at the end of a legacy name, and one in brackets after each crate of
/// the newer kind.
fn without_hash(name: &str) -> String {
    let is_hash = |text: &str| text.len() >= 15 && text.chars().all(|digit| digit.is_ascii_hexdigit());
    let is_tail = |tail: &str| tail.strip_prefix('h').is_some_and(is_hash);
    let name = name.rsplit_once("::").filter(|(_, tail)| is_tail(tail)).map_or(name, |(head, _)| head);
    let mut parts = name.split('[');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once(']').filter(|(hash, _)| is_hash(hash)) {
            Some((_, rest)) => plain.push_str(rest),
            None => plain.extend(["[", part]),
        }
    }
    plain
}

/// What `uniprof core stacks` shows of the dump, by the numbers that the export gave to threads.
fn ours(scene: &Scene, told: &Value) -> Stacks {
    let document = scene.run(&["core", "stacks", "x.core", "--kernel", "kernel.elf", "--json"]).ok().json();
    let groups = document["stacks"].as_array().expect("stacks");
    let frames_of = |owner: &Value| {
        let has = |group: &&Value| group["owners"].as_array().is_some_and(|owners| owners.contains(owner));
        let group = groups.iter().find(has).unwrap_or_else(|| panic!("no stack of {owner}"));
        group["frames"].as_array().expect("frames").iter().map(frame).collect()
    };
    let threads = told["threads"].as_array().expect("threads").iter();
    threads.map(|thread| (thread["id"].as_u64().expect("an id"), frames_of(&thread["owner"]))).collect()
}

fn frame(frame: &Value) -> Frame {
    Frame {
        address: number(frame["address"].as_str().expect("an address")),
        inlined: frame["inlined"].as_bool().expect("a truth"),
        function: frame["function"].as_str().expect("a name").into(),
        file: frame["file"].as_str().unwrap_or_default().into(),
        line: frame["line"].as_u64().unwrap_or(0),
    }
}

fn number(hex: &str) -> u64 {
    u64::from_str_radix(hex.trim_start_matches("0x"), 16).expect("a hexadecimal number")
}
