//! What sampling costs, in instructions: under `-icount` the same work counts the same, to the instruction.

use std::path::Path;

use uniprof_tests::{Scene, kernels};

/// What a number of requests cost at a sampling rate.
struct Cost {
    /// The guest's clock, which counts instructions: `kv: requests=N tsc=T`.
    instructions: f64,
    /// What the probes themselves took of them, as they measured it.
    own: f64,
}

/// What the same requests cost a kernel by itself, without a recording.
fn instructions(scene: &Scene, kernel: &str, words: &[&str]) -> f64 {
    let line = ["run", kernel, "--accel", "tcg", "--icount", "shift=0,sleep=off", "--"];
    let told = scene.run(&[&line[..], &["workload=kv", "requests=100000"], words].concat()).ok().stdout;
    told_cost(&told).unwrap_or_else(|| panic!("the workload does not tell its cost: {told}"))
}

fn told_cost(lines: &str) -> Option<f64> {
    lines
        .lines()
        .find_map(|line| line.split_once("kv: requests=")?.1.split_once("tsc=")?.1.trim().parse().ok())
}

fn cost(scene: &Scene, hz: &str) -> Cost {
    let hz = format!("uniprof.hz={hz}");
    let mut line = vec!["record", "-o", "c.uniprof", "--accel", "tcg", "--icount", "shift=0,sleep=off"];
    line.extend(["--", "bundled", "workload=kv", "requests=100000", &hz]);
    scene.run(&line).ok();
    let logs = scene.run(&["logs", "c.uniprof"]).ok().stdout;
    let instructions =
        told_cost(&logs).unwrap_or_else(|| panic!("the workload does not tell its cost: {logs}"));
    // Without a single sample this ends with 1, and still prints the figures.
    let report = scene.run(&["report", "c.uniprof", "--json"]).json();
    Cost { instructions, own: report["vcpus"][0]["own_tsc"].as_f64().unwrap() }
}

#[test]
fn sampling_costs_little_and_the_probes_say_how_much() {
    let scene = Scene::with_guest();
    let off = cost(&scene, "0");
    let at = |hz| {
        let on = cost(&scene, hz);
        let more = on.instructions / off.instructions - 1.0;
        let measured = (on.own - off.own) / off.instructions;
        let [percent, own] = [more, measured].map(|share| share * 100.0);
        println!("{hz} Hz adds {percent:.3} % instructions; the probes measured {own:.3} %");
        (more, measured)
    };
    let (more, _) = at("999");
    // Were it nothing at all, then nothing was sampled.
    assert!(more > 0.0 && more <= 0.02, "{more}");
    // Compared at ten times the rate: the cost of events is itself measured on a share of them, and that share's chance
    // is as large as what sampling costs at 999 Hz.
    let (more, measured) = at("9999");
    assert!(measured > more / 3.0 && measured < more * 3.0, "{measured} against {more}");
}

#[test]
fn probes_that_are_off_cost_half_a_percent_and_all_of_them_a_tenth() {
    let without = kernels::without_hooks(env!("CARGO_TARGET_TMPDIR"));
    let scene = Scene::with_guest();
    let without = instructions(&scene, without.to_str().expect("a path in UTF-8"), &[]);
    let more = |what: &str, words: &[&str]| {
        let more = instructions(&scene, "bundled", words) / without - 1.0;
        println!("{what}: {:+.3} % of {:.0} instructions a request", more * 100.0, without / 100_000.0);
        more
    };
    let off = more("off", &["uniprof.classes=none", "uniprof.hz=0", "uniprof.heap=0"]);
    // Were it nothing at all, then both had been built alike.
    assert!(off > 0.0 && off <= 0.005, "{off}");
    more("as it starts, 99 Hz and the light classes", &[]);
    let on = more("all classes, 99 Hz", &["uniprof.classes=all"]);
    assert!(on > off && on <= 0.10, "{on}");
}

/// The machine code of the probes in the reference kernel, which calls all of them and has the streamer. The aim is 16 KiB, and this is more
/// than twice as much: docs/performance.md says what it is made of. What is inlined into the kernel's own functions is not counted; what is
/// made once for each list of argument types that its sites have is counted apart, because that is the kernel's to choose.
#[test]
fn the_probes_take_less_than_38_kib_of_text() {
    let scene = Scene::with_guest();
    scene.run(&["kernel", "-o", "kernel.elf"]).ok();
    let listed = scene.run_command(&mut scene.program(Path::new("nm"), &["-S", "kernel.elf"])).ok().stdout;
    let bytes_of = |part: fn(&str) -> bool| -> u64 {
        let size = |line: &str| {
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            let [_, size, kind, name] = words[..] else { return None };
            ("tTwW".contains(kind) && part(name)).then(|| u64::from_str_radix(size, 16).expect("a size"))
        };
        listed.lines().filter_map(size).sum()
    };
    let all = bytes_of(is_probes);
    let by_site = bytes_of(|name| is_probes(name) && is_by_site(name));
    let streamer = bytes_of(|name| is_probes(name) && name.contains("6stream"));
    println!(
        "{all} bytes, of that {streamer} of the streamer and {by_site} for the kernel's lists of arguments"
    );
    // Were it much less, then the names were no longer found.
    assert!((20 << 10..38 << 10).contains(&(all - by_site)), "{all} bytes of probes, {by_site} by sites");
    assert!(by_site > 0 && by_site < 6 << 10, "{by_site} bytes for lists of arguments");
    assert!(all - by_site - streamer < 24 << 10, "{all} bytes of probes, {streamer} of the streamer");
}

/// What is compiled once for each list of argument types.
fn is_by_site(name: &str) -> bool {
    ["5event5event17h", "4span4Span5begin17h", "4call6record17h"].iter().any(|part| name.contains(part))
}

/// By the mangled name.
fn is_probes(name: &str) -> bool {
    name.contains("uniprof_probes") || name.contains("uniprof_wire")
}
