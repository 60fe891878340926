//! The ways in which the bundled kernel can be made to crash, each booted, dumped and reported: what is said of it is what happened.
//! `UNIPROF_BLESS=1 cargo test -p uniprof-tests verdicts` writes the files in `tests/goldens/core` anew.
//!
//! They hold what is the same in every run: numbers of addresses, lines and times are left out, and what other threads were at.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use serde_json::{Value, json};
use uniprof_tests::{Scene, Stopped, assert_matches_its_schema};

/// Boots a workload that crashes, as a user does who wants to know the next morning, and returns its report.
fn crashed(name: &str) -> Value {
    let scene = Scene::with_guest();
    let workload = format!("workload={name}");
    let line = ["run", "--vcpus", "2", "--on-crash", "dump=cores", "--no-restart"];
    let ended = scene.run(&[&line[..], &["--", "bundled", &workload]].concat());
    assert_ne!(ended.code, 0, "{ended:?}");
    let cores: Vec<_> = fs::read_dir(scene.path("cores"))
        .expect("a directory of cores")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "core"))
        .collect();
    let [core] = &cores[..] else { panic!("{name}: one core and not {cores:?}; {ended:?}") };
    report(&scene, core)
}

/// Boots a workload that comes to a standstill, and returns the report of a dump that QEMU writes then.
fn standing_still(name: &str) -> Value {
    let scene = Scene::with_guest();
    let mut guest = Stopped::run(&scene, name, &["-smp", "2"]);
    guest.dump("still.core", "elf", false);
    guest.end();
    report(&scene, &scene.path("still.core"))
}

fn report(scene: &Scene, core: &Path) -> Value {
    let core = core.to_str().expect("a plain path");
    let report = scene.run(&["core", core, "--kernel", "bundled", "--json"]).ok().json();
    assert_matches_its_schema(&report);
    let text = scene.run(&["core", core, "--kernel", "bundled"]).ok().stdout;
    let function = last_part(report["verdict"]["function"].as_str().unwrap_or_default());
    assert!(text.contains(&function), "the screen names {function}: {text}");
    report
}

/// Compares what a report says with the golden of that name.
#[track_caller]
fn assert_is_golden(name: &str, report: &Value) {
    let made = outline(report);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("goldens/core/{name}.txt"));
    if std::env::var_os("UNIPROF_BLESS").is_some() {
        fs::create_dir_all(path.parent().expect("a directory")).expect("the goldens' directory");
        fs::write(&path, &made).expect("a golden");
    }
    let golden = fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("golden {}: {error}; UNIPROF_BLESS=1 writes it", path.display()));
    assert!(golden == made, "{name} is reported otherwise; UNIPROF_BLESS=1 writes it anew. Made:\n{made}");
}

/// What a report says of a crash, without what is another in every run or build.
fn outline(report: &Value) -> String {
    let mut out = String::new();
    let verdict = &report["verdict"];
    let source = |value: &Value| value.as_str().map_or_else(|| "none".into(), short);
    writeln!(out, "place: {}", source(&verdict["place"])).expect("a string");
    for key in ["kind", "function", "thread", "vcpu", "confidence", "reason"] {
        writeln!(out, "{key}: {}", plain(&verdict[key])).expect("a string");
    }
    writeln!(out, "message: {}", plain(&report["message"])).expect("a string");
    let fault = &report["fault"];
    // Which of a function's instructions is the last one that fits on a stack says nothing, nor does how deep that was.
    let overflow = ["stack-overflow", "double-fault"].iter().any(|kind| verdict["kind"] == *kind);
    if !fault.is_null() {
        writeln!(out, "fault source: {}", source(&fault["source"])).expect("a string");
        for key in ["vector", "what"] {
            writeln!(out, "fault {key}: {}", plain(&fault[key])).expect("a string");
        }
    }
    if !fault.is_null() && !overflow {
        writeln!(out, "fault instruction: {}", plain(&fault["instruction"])).expect("a string");
        let operands =
            fault["listing"].as_array().into_iter().flatten().filter(|line| line["current"] == true);
        let names = operands.flat_map(|line| line["operands"].as_array().cloned().unwrap_or_default());
        let names: Vec<String> = names.map(|operand| plain(&operand["name"])).collect();
        writeln!(out, "fault operands: {}", names.join(" ")).expect("a string");
    }
    out.push_str(&stack(report));
    if !overflow {
        out.push_str(&locals(report));
    }
    out.push_str(&threads(report));
    for cycle in report["locks"]["cycles"].as_array().into_iter().flatten() {
        writeln!(out, "for ever: {}", plain(&cycle["text"])).expect("a string");
    }
    for remark in report["remarks"].as_array().into_iter().flatten() {
        writeln!(out, "remark: {}", plain(remark)).expect("a string");
    }
    if verdict["kind"] == "out-of-memory" { of_either_allocation(&out) } else { out }
}

/// How much memory there was says which of the two allocations of `crash-oom` was one too many: both are told as the larger one.
fn of_either_allocation(outline: &str) -> String {
    let outline = outline.replace("  oom::decode_page\n", "").replace("oom::decode_page", "oom::load_page");
    outline.replace("no 16384 bytes aligned to 8", "no 65536 bytes aligned to 1")
}

/// The functions of the stack that the verdict is about, from what failed outwards; one that calls itself once.
fn stack(report: &Value) -> String {
    let id = &report["verdict"]["thread_id"];
    let thread = array(&report["threads"]).into_iter().find(|thread| &thread["id"] == id);
    let Some(thread) = thread else { return "stack: none\n".into() };
    let frames = array(&thread["frames"]);
    let failed = frames.iter().rposition(|frame| frame["interrupted"] == true).unwrap_or(0);
    let mut out = String::from("stack:\n");
    let mut last = String::new();
    for frame in &frames[failed..] {
        let library = frame["file"].as_str().is_some_and(|file| file.contains("/rustc/"));
        let name = format!("  {}", last_part(frame["function"].as_str().unwrap_or_default()));
        if name != last && !library {
            writeln!(out, "{name}").expect("a string");
        }
        last = name;
    }
    out
}

/// Variables that count what happened until then: another number in every run.
const COUNTS: [&str; 2] = ["polls", "key"];

/// Names and values of the blamed function's variables.
fn locals(report: &Value) -> String {
    let mut out = String::new();
    for function in array(&report["locals"]).iter().take(1) {
        for variable in array(&function["variables"]).iter().filter(|variable| !variable["value"].is_null()) {
            if COUNTS.iter().any(|name| variable["name"] == *name) {
                continue;
            }
            let value = normal(&variable["value"].to_string());
            let value: String = value.chars().take(120).collect();
            writeln!(out, "local {}: {value}", plain(&variable["name"])).expect("a string");
        }
    }
    out
}

/// Threads that waited, and for what. Those that compute may be caught at anything.
fn threads(report: &Value) -> String {
    let mut lines: Vec<String> = array(&report["threads"])
        .iter()
        .map(|thread| match (thread["torn"] == true, thread["waits"].is_null()) {
            (true, _) if thread["name"] == "housekeeper" => "thread housekeeper: torn".into(),
            (true, _) => "thread of which nothing is left".into(),
            (false, true) => format!("thread {}", plain(&thread["name"])),
            (false, false) => {
                let wait = &thread["waits"];
                let what = last_part(wait["name"].as_str().unwrap_or_default());
                let holder = plain(&wait["holder_title"]);
                let (name, kind) = (plain(&thread["name"]), plain(&wait["kind"]));
                format!("thread {name} waits: {kind} {what} {holder}").trim_end().to_owned()
            }
        })
        .collect();
    lines.sort();
    lines.iter().map(|line| format!("{line}\n")).collect()
}

fn array(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

/// A text or a number without what changes from run to run.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => normal(text),
        other => other.to_string(),
    }
}

/// A place in the source from its `src` on, without its line.
fn short(place: &str) -> String {
    let file = place.rsplit_once(':').map_or(place, |(file, _)| file);
    file.rfind("/src/").map_or(file, |at| &file[at + 1..]).to_owned()
}

/// The last two parts of a path of modules, or what else it is.
fn last_part(name: &str) -> String {
    let start = name.rmatch_indices("::").nth(1).map_or(0, |(at, _)| at + 2);
    name.get(start..).unwrap_or(name).to_owned()
}

/// Text with a place holder for each address, line number and time, and for how far a stack ran over: that depends on who called whom with
/// how much.
fn normal(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (piece, next) = if let Some(hex) = rest.strip_prefix("0x") {
            let end = hex.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(hex.len());
            // Offsets to a null pointer are what matters; addresses are what changes.
            let number = &rest[..2 + end];
            (if end > 3 { "ADDRESS".to_owned() } else { number.to_owned() }, &hex[end..])
        } else if rest.starts_with(".rs:") || rest.starts_with(".c:") {
            let (name, after) = rest.split_once(':').expect("there is one");
            let end = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
            (format!("{name}:LINE"), &after[end..])
        } else if let Some(hex) = rest.strip_prefix("+0x").filter(|_| out.ends_with(is_name)) {
            let end = hex.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(hex.len());
            // Of an instruction in a function; one to a register is followed by a bracket.
            let offset = if hex[end..].starts_with(']') { &rest[..3 + end] } else { "+OFFSET" };
            (offset.to_owned(), &hex[end..])
        } else if let Some(after) = rest.strip_prefix(" bytes below") {
            out.truncate(out.trim_end_matches(|c: char| c.is_ascii_digit()).len());
            ("SOME bytes below".to_owned(), after)
        } else {
            (first.to_string(), &rest[first.len_utf8()..])
        };
        out.push_str(&piece);
        rest = next;
    }
    times(&out)
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '>'
}

/// `1503 ms` is `TIME`.
fn times(text: &str) -> String {
    let words: Vec<&str> = text.split(' ').collect();
    let is_number = |word: &str| word.parse::<f64>().is_ok();
    let mut out: Vec<&str> = Vec::new();
    let mut index = 0;
    while let Some(word) = words.get(index) {
        let unit = words.get(index + 1).map_or("", |next| next.trim_end_matches([',', ':', ';', '.']));
        if is_number(word) && ["ms", "s"].contains(&unit) {
            out.push("TIME");
            index += 1;
        } else {
            out.push(word);
        }
        index += 1;
    }
    out.join(" ")
}

/// Events that a server leaves before it dies, by name. Which of them are the last 20 is a matter of time.
#[track_caller]
fn assert_has_a_past(report: &Value) {
    let names: Vec<String> = array(&report["events"]).iter().map(|event| plain(&event["name"])).collect();
    assert_eq!(names.len(), 20, "{names:?}");
    let of_sites = ["session.open", "session.close", "http.request", "worker.batch"];
    assert!(names.iter().any(|name| of_sites.contains(&name.as_str())), "{names:?}");
    let loss = &report["loss"];
    assert!(loss["recovered"].as_u64() > Some(100), "{loss}");
}

#[track_caller]
fn assert_dies_as_in_its_golden(name: &str) {
    let report = crashed(name);
    assert_is_golden(name, &report);
    assert_has_a_past(&report);
}

#[test]
fn a_null_pointer() {
    assert_dies_as_in_its_golden("crash-null");
}

#[test]
fn a_wild_pointer() {
    assert_dies_as_in_its_golden("crash-wild");
}

#[test]
fn an_address_that_is_none() {
    assert_dies_as_in_its_golden("crash-gp");
}

#[test]
fn a_stack_that_runs_over() {
    assert_dies_as_in_its_golden("crash-stack");
}

#[test]
fn a_double_fault() {
    assert_dies_as_in_its_golden("crash-double");
}

#[test]
fn a_triple_fault() {
    assert_dies_as_in_its_golden("crash-triple");
}

#[test]
fn a_panic() {
    assert_dies_as_in_its_golden("crash-panic");
}

#[test]
fn no_memory_left() {
    assert_dies_as_in_its_golden("crash-oom");
}

#[test]
fn a_damaged_heap() {
    assert_dies_as_in_its_golden("crash-heap");
}

#[test]
fn a_region_that_was_scribbled_over() {
    let report = crashed("crash-scribble");
    assert_is_golden("crash-scribble", &report);
    let loss = &report["loss"];
    let unreadable: u64 =
        ["discarded", "unreadable"].iter().filter_map(|cause| loss["lost_by"][cause].as_u64()).sum();
    assert!(unreadable > 0 && loss["recovered"].as_u64() > Some(50), "{loss}");
}

#[test]
fn a_spin_with_interrupts_off() {
    let scene = Scene::with_guest();
    let mut guest = Stopped::run(&scene, "crash-spin", &["-smp", "2"]);
    // Until the other vCPU's signs of life are well ahead.
    guest.qmp.ask("cont", json!({}));
    sleep(Duration::from_secs(2));
    guest.qmp.ask("stop", json!({}));
    guest.dump("still.core", "elf", false);
    guest.end();
    assert_is_golden("crash-spin", &report(&scene, &scene.path("still.core")));
}

#[test]
fn a_deadlock() {
    assert_is_golden("crash-deadlock", &standing_still("crash-deadlock"));
}

#[test]
fn a_lost_wake_up() {
    assert_is_golden("crash-lostwake", &standing_still("crash-lostwake"));
}
