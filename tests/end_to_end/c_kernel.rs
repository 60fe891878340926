//! A kernel in C with the probes' library, from its first tick to its core dump.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;
use uniprof_tests::{Scene, assert_matches_its_schema, c_library};

/// How long something may take until it is so.
const LIMIT: Duration = Duration::from_secs(60);
/// Percentage points that a share may be off.
const TOLERANCE: f64 = 5.0;

fn kernel() -> &'static str {
    c_library::kernel(env!("CARGO_TARGET_TMPDIR")).to_str().expect("a path in UTF-8")
}

/// What a function is of all samples, in per cent.
fn share(report: &Value, name: &str) -> f64 {
    let functions = report["functions"].as_array().expect("functions");
    let row = functions.iter().find(|row| row["name"] == name).unwrap_or_else(|| panic!("{name}: {report}"));
    row["self"].as_f64().expect("a number") * 100.0 / report["samples"].as_f64().expect("a number")
}

#[test]
fn a_kernel_in_c_is_profiled_with_its_events_and_spans() {
    let kernel = kernel();
    let scene = Scene::with_guest();
    scene.run(&["record", "-F", "999", "-d", "8", "-o", "c.uniprof", "--", kernel]).ok();

    let report = scene.run(&["report", "c.uniprof", "--json"]).ok().json();
    assert_matches_its_schema(&report);
    let [parse, store] = ["parse", "store"].map(|name| share(&report, name));
    let of_both = parse * 100.0 / (parse + store);
    assert!((of_both - 75.0).abs() <= TOLERANCE, "parse {parse}, store {store}");
    assert!(parse + store > 80.0, "parse {parse}, store {store}");
    assert!(report["named_share"].as_f64() >= Some(0.95), "{}", report["named_share"]);
    let threads: Vec<_> = report["threads"].as_array().expect("threads").iter().collect();
    for name in ["reader", "writer"] {
        assert!(threads.iter().any(|thread| thread["name"] == name), "{name}: {threads:?}");
    }

    let folded = scene.run(&["export", "c.uniprof", "--format", "folded"]).ok().stdout;
    let stack = folded.lines().find(|line| line.contains("parse")).expect("a stack with parse");
    assert!(stack.contains("reader;run;serve") || stack.contains("writer;run;serve"), "{stack}");
    scene.run(&["flame", "c.uniprof", "-o", "c.svg"]).ok();
    let picture = fs::read_to_string(scene.path("c.svg")).expect("the picture reads");
    assert!(picture.contains("<svg") && picture.contains("parse") && picture.contains("store"));
    events_have_their_arguments(&scene);
}

fn events_have_their_arguments(scene: &Scene) {
    let filter = "request.hundredth";
    let text = scene.run(&["trace", "c.uniprof", "--json", "--filter", filter]).ok().stdout;
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let event = events.last().expect("an event");
    assert_matches_its_schema(event);
    let args = &event["args"];
    let number = args["number"].as_u64().expect("a number");
    assert!(number > 0 && number.is_multiple_of(100), "{event}");
    assert_eq!(args["left"].as_i64(), Some(-i64::try_from(number % 7).expect("small")), "{event}");
    assert_eq!(args["even"].as_bool(), Some(number.is_multiple_of(200)), "{event}");
    assert_eq!((&args["first"], &args["peer"]), (&"c".into(), &"10.0.2.2".into()), "{event}");
    assert!(["at", "raw"].iter().all(|name| !args[*name].is_null()), "{event}");

    let summary = scene.run(&["trace", "c.uniprof", "--summary", "--json"]).ok().json();
    assert_matches_its_schema(&summary);
    let rows = summary["events"].as_array().expect("rows");
    let row = |name: &str| rows.iter().find(|row| row["name"] == name).unwrap_or_else(|| panic!("{name}"));
    let span = row("request");
    assert!(
        span["kind"] == "span" && span["count"].as_u64() > Some(100) && span["p50_ns"].as_u64() > Some(0)
    );
    assert_eq!((&row("requests")["kind"], &row("depth")["kind"]), (&"counter".into(), &"gauge".into()));
}

#[test]
fn threads_sites_and_requests_of_a_kernel_in_c() {
    let kernel = kernel();
    let scene = Scene::with_guest();
    let guest = scene.start(&["run", "--name", "c", kernel, "--", "uniprof.classes=samples,threads"]);
    let begun = Instant::now();
    let both = |ps: &Value| {
        let names: Vec<_> = ps["threads"].as_array().map_or(&[][..], Vec::as_slice).iter().collect();
        ["reader", "writer"].iter().all(|name| names.iter().any(|thread| thread["name"] == *name))
    };
    loop {
        let ended = scene.run(&["ps", "c", "--json"]);
        if ended.code == 0 && both(&ended.json()) {
            assert_matches_its_schema(&ended.json());
            break;
        }
        assert!(begun.elapsed() < LIMIT, "{ended:?}");
        sleep(Duration::from_millis(100));
    }
    let sites = scene.run(&["list", "c"]).ok().stdout;
    assert!(sites.contains("number: unsigned, by: text") && sites.contains("workload.c:"), "{sites}");
    // Off, as its command line has it, until somebody asks: the guest itself says so.
    let is = |state: &str| {
        let sites = scene.run(&["list", "c"]).ok().stdout;
        sites.lines().any(|line| line.starts_with(state) && line.contains(" request "))
    };
    assert!(is("off"), "{sites}");
    let _asker = scene.start(&["ctl", "c", "events=+request", "--for", "60s"]);
    while !is("on") {
        assert!(begun.elapsed() < LIMIT, "the guest did not hear");
        sleep(Duration::from_millis(100));
    }
    scene.run(&["ping", "c"]).ok();
    scene.run(&["stop", "c"]).ok();
    guest.wait(LIMIT).ok();
}

#[test]
fn the_end_of_a_kernel_in_c_has_its_function_and_its_words() {
    let kernel = kernel();
    for (word, function, message) in [
        ("crash=null", "find_user", "an exception that nothing handles"),
        ("crash=panic", "give_up", "the store is inconsistent"),
    ] {
        let scene = Scene::with_guest();
        // The command says how the guest ended by its own code.
        let _ = scene.run(&["run", "--on-crash", "dump=cores", "--", kernel, word]);
        let cores = fs::read_dir(scene.path("cores")).expect("a core").flatten();
        let core =
            cores.map(|entry| entry.path()).find(|path| path.extension().is_some_and(|end| end == "core"));
        let core = core.expect("a core").to_str().expect("UTF-8").to_owned();
        let report = scene.run(&["core", &core, "--kernel", kernel, "--json"]).ok().json();
        assert_matches_its_schema(&report);
        let verdict = &report["verdict"];
        if word == "crash=null" {
            assert_eq!((&verdict["kind"], &verdict["function"]), (&"page-fault".into(), &function.into()));
        }
        assert_eq!(verdict["confidence"], "certain", "{verdict}");
        let text = scene.run(&["core", &core, "--kernel", kernel]).ok().stdout;
        assert!(text.contains(message) && text.contains(function) && text.contains("serve"), "{text}");
        assert!(text.contains("request began"), "its last events: {text}");
    }
}
