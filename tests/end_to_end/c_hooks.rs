//! Every function of the C library, called by a program of this machine, and what `uniprof` reads of it in the region alone.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use uniprof_tests::{Scene, assert_matches_its_schema, c_library};

const TARGET: &str = env!("CARGO_TARGET_TMPDIR");

#[test]
fn every_function_of_the_c_library_tells_what_it_says() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("end_to_end/c_hooks.c");
    let program = c_library::program(&source, TARGET);
    let scene = Scene::new();
    // It checks what it is told itself, and ends with 1 where that is wrong.
    scene.run_command(&mut scene.program(&program, &["region.bin"])).ok();
    let kernel = program.to_str().expect("UTF-8");
    let core = |verb: &[&str]| {
        // By force: the region alone does not tell which program it was.
        let words = [&["core"], verb, &["region.bin", "--kernel", kernel, "--force", "--json"]].concat();
        scene.run(&words).ok().stdout
    };

    let events: Vec<Value> =
        core(&["trace"]).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    events.iter().for_each(assert_matches_its_schema);
    let mut kinds = BTreeMap::<&str, usize>::new();
    events.iter().for_each(|event| *kinds.entry(event["kind"].as_str().expect("a kind")).or_default() += 1);
    let expected = [
        ("allocation", 100),
        ("connection", 4),
        ("event", 1),
        ("free", 50),
        ("gauge", 1),
        ("interrupt", 1),
        ("lock_hold", 1),
        ("lock_wait", 1),
        ("log", 1),
        ("packet", 3),
        ("park", 1),
        ("resume", 1),
        ("span_begin", 1),
        ("span_end", 1),
        ("switch", 3),
        ("thread", 3),
        ("wake", 2),
    ];
    assert_eq!(kinds, expected.into());
    let of = |kind: &str| events.iter().find(|event| event["kind"] == kind).expect("counted");
    let args = &of("event")["args"];
    assert_eq!((&args["half"], &args["third"]), (&0.5.into(), &0.25.into()), "{args}");
    assert_eq!((&args["low"], &args["none"]), (&i64::MIN.into(), &"".into()), "{args}");
    assert_eq!(args["high"].as_u64(), Some(u64::MAX), "{args}");
    assert_eq!((&of("log")["thread_name"], &of("span_end")["thread_name"]), (&"one".into(), &"two".into()));
    assert!(of("gauge").to_string().contains("-1.5"), "{}", of("gauge"));

    let heap: Value = serde_json::from_str(&core(&["heap"])).expect("JSON");
    assert_matches_its_schema(&heap);
    assert_eq!((&heap["totals"]["live_blocks"], &heap["sampled"]["blocks"]), (&50.into(), &50.into()));
    assert_eq!(heap["sites"][0]["function"], "allocate", "{heap}");
    let report: Value = serde_json::from_str(&core(&["report"])).expect("JSON");
    assert_matches_its_schema(&report);
    let verdict = &report["verdict"];
    assert_eq!((&verdict["kind"], &verdict["function"]), (&"panic".into(), &"main".into()), "{verdict}");
    assert!(verdict["reason"].as_str().is_some_and(|reason| reason.ends_with("the end")), "{verdict}");
}
