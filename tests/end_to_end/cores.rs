//! Dumps of guests, and guests that run, by every verb.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use uniprof_tests::{Running, Scene, assert_matches_its_schema};

/// Every verb that looks at memory, with what it takes besides the file.
const MEMORY: [&[&str]; 7] =
    [&["info"], &["stacks"], &["locks"], &["regs"], &["mem", "rsp"], &["find", "kv.miss"], &["dis", "rip"]];
/// Those that are no commands of their own.
const OF_CORE: [&str; 2] = ["info", "dis"];

/// Starts the bundled kernel, and waits until its probes are there.
fn start(scene: &Scene) -> Running {
    let line = ["run", "--vcpus", "2", "--name", "kv", "bundled", "--", "workload=kv"];
    let guest = scene.start(&line);
    let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while !scene.run(&["ps", "kv"]).stdout.contains("kv-1") {
        assert!(std::time::Instant::now() < until, "the guest did not show its threads");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    // Until its rings hold something to look at.
    std::thread::sleep(std::time::Duration::from_millis(500));
    guest
}

/// Has QEMU itself write a dump of the guest: an ELF core.
fn dump(scene: &Scene, file: &str) {
    let path = format!("file:{}", scene.path(file).display());
    ask(scene, json!({"execute": "dump-guest-memory", "arguments": {"paging": false, "protocol": path}}));
}

/// Asks QEMU something over its control socket.
fn ask(scene: &Scene, question: Value) {
    let socket = UnixStream::connect(scene.path("../run/uniprof/kv/qmp")).expect("QMP answers");
    let mut lines = BufReader::new(socket.try_clone().expect("a socket")).lines();
    let mut ask = |question: Value| {
        let mut socket = &socket;
        writeln!(socket, "{question}").expect("QMP listens");
        loop {
            let line = lines.next().expect("QMP answers").expect("QMP answers");
            let answer: Value = serde_json::from_str(&line).expect("QMP speaks JSON");
            if answer.get("return").is_some() || answer.get("error").is_some() {
                assert!(answer.get("return").is_some(), "{answer}");
                return;
            }
        }
    };
    ask(json!({"execute": "qmp_capabilities"}));
    ask(question);
}

/// A scene with `kv.core`, whose guest has ended.
fn with_core() -> Scene {
    let scene = Scene::with_guest();
    let guest = start(&scene);
    dump(&scene, "kv.core");
    stop(&scene, guest);
    scene
}

fn stop(scene: &Scene, guest: Running) {
    scene.run(&["stop", "kv"]).ok();
    guest.wait(std::time::Duration::from_secs(20)).ok();
}

fn documents(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("a document per line")).collect()
}

#[test]
fn every_verb_reads_a_dump() {
    let scene = with_core();
    for verb in MEMORY {
        let words = [&["core", verb[0], "kv.core"], &verb[1..]].concat();
        let text = scene.run(&words).ok();
        assert!(!text.stdout.is_empty(), "{words:?}");
        let document = scene.run(&[&words[..], &["--json"]].concat()).ok().json();
        assert_matches_its_schema(&document);
        // The same without `core`, where that is a command.
        if !OF_CORE.contains(&verb[0]) {
            assert_eq!(scene.run(&words[1..]).ok().stdout, text.stdout);
        }
    }
    threads_are_listed(&scene, "kv.core");
    let threads = scene.run(&["ps", "kv.core", "--json"]).ok().json();
    shares_add_up(&threads);
    assert!(
        threads["threads"][0]["function"].as_str().is_some_and(|name| name.ends_with("join_all")),
        "{threads}"
    );
    assert_eq!(threads["threads"][0]["held_by"], 2);
    it_is_well(&scene, "kv.core");
    variables_are_shown(&scene, "kv.core");
    rings_are_read(&scene, "kv.core");
}

/// What threads ran and what idled is all that the vCPUs' time went to, within a twentieth.
fn shares_add_up(document: &Value) {
    let threads = document["threads"].as_array().expect("threads").iter();
    let ran: f64 = threads.filter_map(|thread| thread["cpu_share"].as_f64()).sum();
    let sum = ran + document["idle_share"].as_f64().expect("a share");
    let vcpus = document["vcpus"].as_f64().expect("vCPUs");
    assert!((sum - vcpus).abs() <= vcpus * 0.05, "{sum} of {vcpus} vCPUs: {document}");
    assert!(ran > 0.1, "something runs: {document}");
}

/// What `ps` says of a guest that runs `kv`.
fn threads_are_listed(scene: &Scene, input: &str) {
    let document = scene.run(&["core", "ps", input, "--json"]).ok().json();
    assert_matches_its_schema(&document);
    let names: Vec<&str> = document["threads"]
        .as_array()
        .expect("threads")
        .iter()
        .filter_map(|thread| thread["name"].as_str())
        .collect();
    assert_eq!(names, ["main", "kv-0", "kv-1"]);
    let text = scene.run(&["core", "threads", input]).ok().stdout;
    assert!(text.contains("kv-0") && text.starts_with("ID "), "{text}");
}

/// The report on a guest that nothing is wrong with.
fn it_is_well(scene: &Scene, input: &str) {
    let report = scene.run(&["core", input, "--kernel", "bundled", "--json"]).ok().json();
    assert_matches_its_schema(&report);
    // One look at code with interrupts off can be no more than a guess.
    let verdict = &report["verdict"];
    assert!(verdict["kind"] == "healthy" || verdict["confidence"] == "guess", "{verdict}");
    assert_eq!(report["events"].as_array().map(Vec::len), Some(20));
    assert_eq!(report["vcpus"].as_array().map(Vec::len), Some(2));
    assert!(report["loss"]["recovered"].as_u64() > Some(20));
    let text = scene.run(&["core", "report", input]).ok();
    let screen = &text.stdout;
    assert!(screen.contains("\n  why  ") && screen.contains("\nlast events\n"), "{screen}");
    assert!(screen.lines().all(|line| line.chars().count() <= 100), "{screen}");
    assert!(!screen.contains('\u{1b}'), "colour is for terminals");
}

/// Statics, and variables of frames.
fn variables_are_shown(scene: &Scene, input: &str) {
    let rate = scene.run(&["core", "print", input, "tsc::HZ", "--json"]).ok().json();
    assert_matches_its_schema(&rate);
    let text = scene.run(&["print", input, "tsc::HZ"]).ok().stdout;
    assert!(text.chars().any(|c| c.is_ascii_digit()), "{text}");
    // The thread's entry is handed what it runs.
    let all = scene.run(&["print", input, "--thread", "main", "--frame", "3", "--json"]).ok().json();
    assert_matches_its_schema(&all);
    assert_eq!(all["frame"]["of"], "main (thread 1)", "{all}");
    scene
        .run(&["print", input, "--frame", "99"])
        .failed_with(1)
        .says(&["no frame 99", "its frames are 0 to"]);
    scene.run(&["print", input, "nosuch"]).failed_with(1).says(&["nosuch"]);
    scene.run(&["print", input, "HZ["]).failed_with(1).says(&["column"]);
}

/// What the commands that read records make of it.
fn rings_are_read(scene: &Scene, input: &str) {
    let lines = documents(&scene.run(&["trace", input, "--last", "200", "--json"]).ok().stdout);
    lines.iter().for_each(assert_matches_its_schema);
    assert_eq!(lines.len(), 200);
    let named = lines.iter().find(|line| line["name"] == "kv.miss" || line["name"] == "kv.get");
    assert!(
        named.is_some_and(|line| line["file"].as_str().unwrap_or_default().ends_with(".rs")),
        "{lines:?}"
    );
    let times: Vec<f64> = lines.iter().filter_map(|line| line["seconds"].as_f64()).collect();
    assert!(times.is_sorted() && times[0] > 0.0);
    let text = scene.run(&["core", "trace", input, "--last", "1"]).ok();
    assert!(text.stdout.lines().count() == 1 && text.stderr.contains("are not shown"), "{text:?}");

    let report = scene.run(&["report", input, "--json"]).ok().json();
    assert_matches_its_schema(&report);
    assert!(report["named_share"].as_f64() > Some(0.9), "{report}");
    let logs = documents(&scene.run(&["logs", input, "--from", "ring", "--json"]).ok().stdout);
    logs.iter().for_each(assert_matches_its_schema);
    scene.run(&["flame", input, "-o", "last.svg"]).ok();
    assert!(fs::read_to_string(scene.path("last.svg")).expect("a picture").contains("kv::worker"));
    scene.run(&["export", input, "--format", "folded", "-o", "last.folded"]).ok();
    assert_matches_its_schema(&scene.run(&["core", "symbols", input, "--json"]).ok().json());
}

#[test]
fn a_running_guest_and_a_recording_are_read_alike() {
    let scene = Scene::with_guest();
    let guest = start(&scene);
    threads_are_listed(&scene, "kv");
    rings_are_read(&scene, "kv");
    it_is_well(&scene, "kv");
    for verb in MEMORY {
        let words = [&["core", verb[0], "kv"], &verb[1..]].concat();
        let text = scene.run(&words).ok();
        assert!(
            !text.stdout.is_empty() && text.stderr.contains("kv stood still for "),
            "{words:?}: {text:?}"
        );
        assert_matches_its_schema(&scene.run(&[&words[..], &["--json"]].concat()).ok().json());
    }
    // It still runs.
    let before = scene.run(&["ps", "kv", "--json"]).ok().json();
    shares_add_up(&before);
    assert!(before["interval_seconds"].as_f64().is_some_and(|seconds| seconds > 0.2), "{before}");
    let after = scene.run(&["ps", "kv", "--json"]).ok();
    assert!(!after.stderr.contains("stood still"), "{after:?}");
    assert!(after.json()["up_seconds"].as_f64() > before["up_seconds"].as_f64());
    scene.run(&["record", "kv", "-d", "1", "-F", "199", "-o", "kv.uniprof"]).ok();
    stop(&scene, guest);
    threads_are_listed(&scene, "kv.uniprof");
    rings_are_read(&scene, "kv.uniprof");
    // What a recording does not hold, it says, and what to use instead.
    for verb in MEMORY {
        let words = [&["core", verb[0], "kv.uniprof"], &verb[1..]].concat();
        let refused = scene.run(&words).failed_with(1);
        assert!(
            refused.stderr.contains("is a recording") && refused.stderr.contains("uniprof dump"),
            "{refused:?}"
        );
    }
}

/// It crashed at night, nobody was there, and its core is all that is left.
#[test]
fn in_the_morning_the_report_names_function_thread_and_value() {
    let scene = Scene::with_guest();
    let line = ["run", "--on-crash", "dump=cores", "--no-restart", "--name", "shop", "--"];
    let ended = scene.run(&[&line[..], &["bundled", "workload=crash-null"]].concat()).failed_with(1);
    ended.says(&["uniprof core cores/shop-"]);
    let cores: Vec<_> = fs::read_dir(scene.path("cores")).expect("the folder").flatten().collect();
    let core = format!("cores/{}", cores[0].file_name().display());
    let report = scene.run(&["core", &core, "--kernel", "bundled", "--json"]).ok().json();
    assert_matches_its_schema(&report);
    let verdict = &report["verdict"];
    assert_eq!(
        (&verdict["kind"], &verdict["thread"], &verdict["vcpu"]),
        (&json!("page-fault"), &json!("frontend"), &json!(0))
    );
    assert!(verdict["function"].as_str().is_some_and(|name| name.ends_with("session_lookup")), "{verdict}");
    // The second before.
    assert_eq!(report["events"].as_array().map(Vec::len), Some(20));

    let screen = scene.run(&["core", &core]).ok().stdout;
    assert!(screen.starts_with("PAGE FAULT in "), "{screen}");
    for part in [
        "  => 0x",
        "\nstack of frontend (thread 7)",
        "session = 0x0",
        "3 alike: accept-0",
        "\nlast events\n",
        "\nnext\n",
    ] {
        assert!(screen.contains(part), "{part} is missing:\n{screen}");
    }
    assert!(screen.lines().all(|line| line.chars().count() <= 100), "{screen}");

    let value = scene.run(&["core", "print", &core, "session"]).ok();
    assert_eq!(value.stdout, "0x0\n");
    assert!(value.stderr.contains("session_lookup"), "{value:?}");
    let peer = scene.run(&["print", &core, "peer", "--json"]).ok().json();
    assert_matches_its_schema(&peer);
    assert_eq!(peer["value"]["value"]["address"][0], 10, "{peer}");
    let stacks = scene.run(&["stacks", &core, "--thread", "frontend"]).ok().stdout;
    assert!(stacks.contains("<- interrupted here") && stacks.contains("thread_entry"), "{stacks}");
    let waits = scene.run(&["locks", &core, "--json"]).ok().json();
    assert_matches_its_schema(&waits);
    scene.run(&["core", "flame", &core, "-o", "last.svg"]).ok();
}

#[test]
fn the_wrong_kernel_is_refused_with_both_identities() {
    let scene = with_core();
    // The bundled kernel is found by its build-id; named, it is the same.
    let found = scene.run(&["core", "info", "kv.core", "--json"]).ok().json();
    let named = scene.run(&["core", "info", "kv.core", "--kernel", "bundled", "--json"]).ok().json();
    assert_eq!(found["images"], named["images"]);
    let id = found["images"][0]["identity"]
        .as_str()
        .expect("an identity")
        .trim_start_matches("build-id ")
        .to_owned();

    let other = std::env::current_exe().expect("this program").display().to_string();
    let refused = scene.run(&["stacks", "kv.core", "--kernel", &other]).failed_with(4);
    assert!(refused.stderr.contains(&id) && refused.stderr.contains("--force"), "{refused:?}");
    let forced = scene.run(&["stacks", "kv.core", "--kernel", &other, "--force"]).ok();
    assert!(!forced.stdout.contains("kv::worker"), "{forced:?}");

    // An image without a build-id is compared with memory: this one has other text.
    scene.run(&["kernel", "-o", "k.elf"]).ok();
    objcopy(&scene, &["-O", "binary", "--only-section=.text", "k.elf", "text"]);
    let mut text = fs::read(scene.path("text")).expect("the text");
    text.iter_mut().step_by(3).for_each(|byte| *byte ^= 0x55);
    fs::write(scene.path("text"), text).expect("other text");
    objcopy(&scene, &["--remove-section=.note.gnu.build-id", "k.elf", "same.elf"]);
    objcopy(&scene, &["--update-section", ".text=text", "same.elf", "other.elf"]);
    scene.run(&["regs", "kv.core", "--kernel", "same.elf"]).ok();
    let refused = scene.run(&["regs", "kv.core", "--kernel", "other.elf"]).failed_with(4);
    refused.says(&["text hash", "other.elf", "--force"]);
}

fn objcopy(scene: &Scene, words: &[&str]) {
    let status = Command::new("objcopy").args(words).current_dir(scene.path("")).status();
    assert!(status.expect("objcopy runs; `apt-get install binutils`").success());
}

#[test]
fn what_is_no_dump_gives_a_sentence() {
    let scene = Scene::new();
    fs::write(scene.path("garbage.core"), [0xa5; 70_000]).expect("a file");
    fs::write(scene.path("empty.core"), []).expect("a file");
    let mut half = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x04\0\x3e\0\x01\0\0\0".to_vec();
    half.resize(40, 0xff);
    fs::write(scene.path("half.core"), half).expect("a file");
    for file in ["garbage.core", "empty.core", "half.core", "absent.core", "."] {
        for verb in ["info", "stacks", "ps", "trace"] {
            let ended = scene.run(&["core", verb, file]).failed_with(1);
            let sentence = ended.stderr.trim();
            assert!(
                sentence.starts_with("uniprof: ") && sentence.lines().count() == 1,
                "{verb} {file}: {ended:?}"
            );
            assert!(!sentence.contains("panicked") && sentence.len() > 20, "{ended:?}");
        }
    }
    let sample = scene.run(&["core", "stacks", "sample"]).failed_with(1);
    assert!(sample.stderr.contains("recording"), "{sample:?}");
}

/// Memory from address 0 and nothing else: no registers, no page tables, and here no region, which is in a device's memory.
#[test]
fn a_raw_image_is_read_with_registers_from_the_command_line() {
    let scene = Scene::with_guest();
    let guest = start(&scene);
    ask(&scene, json!({"execute": "stop"}));
    let path = scene.path("memory.img").display().to_string();
    ask(&scene, json!({"execute": "pmemsave", "arguments": {"val": 0, "size": 64 << 20, "filename": path}}));
    let known = scene.run(&["regs", "kv", "--json"]).ok().json();
    let expected = scene.run(&["stacks", "kv", "--vcpu", "0", "--json"]).ok().json();
    ask(&scene, json!({"execute": "cont"}));
    stop(&scene, guest);

    let registers = known["vcpus"][0]["registers"].as_object().expect("registers");
    let given: Vec<String> =
        registers.iter().filter_map(|(name, value)| Some(format!("{name}={}", value.as_str()?))).collect();
    let given = given.join(",");
    let raw = ["memory.img", "--raw", "--regs", &given];
    let info = scene.run(&[&["core", "info", "--json"], &raw[..]].concat()).ok().json();
    assert_matches_its_schema(&info);
    assert_eq!((&info["format"], &info["region"]), (&json!("raw memory"), &Value::Null));
    // The guest does not say what it is: the bundled kernel was found by its text.
    assert_eq!(info["images"][0]["name"], "bundled", "{info}");
    assert!(info["lacks"].as_array().is_some_and(|lacks| !lacks.is_empty()));
    let stacks = scene.run(&[&["core", "stacks", "--json"], &raw[..]].concat()).ok().json();
    let frames = |document: &Value| document["stacks"][0]["frames"].as_array().map(Vec::len);
    assert_eq!(stacks["stacks"][0]["vcpu"], 0);
    assert!(frames(&stacks) == frames(&expected) && frames(&stacks) > Some(1), "{stacks}");
    scene.run(&[&["trace"], &raw[..1]].concat()).failed_with(1);
    // Without --raw it is no dump that can be told.
    scene.run(&["core", "stacks", "memory.img"]).failed_with(1).says(&["memory.img"]);
    let refused = scene.run(&["core", "stacks", "memory.img", "--raw", "--regs", "rsp=1"]).failed_with(2);
    assert!(refused.stderr.contains("rip is missing"), "{refused:?}");
    scene.run(&["core"]).failed_with(2).says(&["uniprof core FILE"]);
}

#[test]
fn a_truncated_dump_tells_what_it_still_can() {
    let scene = with_core();
    let path = scene.path("kv.core");
    let whole = fs::metadata(&path).expect("a dump").len();
    truncate(&path, whole / 2);
    let info = scene.run(&["core", "info", "kv.core", "--json"]).ok().json();
    assert_matches_its_schema(&info);
    assert!(!info["lacks"].as_array().expect("a list").is_empty(), "{info}");
    // Registers come first in the file.
    assert_matches_its_schema(&scene.run(&["regs", "kv.core", "--json"]).ok().json());
}

fn truncate(path: &Path, len: u64) {
    let file = fs::File::options().write(true).open(path).expect("a dump");
    file.set_len(len).expect("it can be cut");
}
