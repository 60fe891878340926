//! The first command that anybody runs.

use uniprof_tests::{Scene, assert_matches_its_schema};

#[test]
fn demo_leaves_a_recording_and_a_flame_graph() {
    let scene = Scene::with_guest();
    let ended = scene.run(&["demo", "-d", "3"]).ok();
    let picture = std::fs::read_to_string(scene.path("uniprof-demo/flame.svg")).unwrap();
    assert!(picture.starts_with("<?xml"), "{picture:.100}");
    for part in ["http::server::", "smoltcp::", "http::store::", "net::thread"] {
        assert!(picture.contains(part), "nothing of {part} in the picture");
    }
    let served = ended
        .stderr
        .split_once("answered ")
        .and_then(|(_, rest)| rest.split(' ').next()?.parse::<u64>().ok());
    assert!(served.is_some_and(|served| served > 100), "{}", ended.stderr);
    let report = scene.run(&["report", "uniprof-demo/demo.uniprof", "--json"]).ok().json();
    assert_matches_its_schema(&report);
    assert!(report["samples"].as_u64().unwrap() > 50, "{report}");
    assert!(report["named_share"].as_f64().unwrap() >= 0.95, "{report}");
    // It says what was found, and what to try next.
    assert!(ended.stdout.contains("FUNCTION") && ended.stdout.contains("uniprof report"), "{}", ended.stdout);
    assert_eq!(scene.files(), ["uniprof-demo"]);
}

#[test]
fn demo_goes_where_it_is_told() {
    let scene = Scene::with_guest();
    scene.run(&["demo", "-d", "1", "-o", "elsewhere"]).ok();
    assert!(scene.path("elsewhere/demo.uniprof").is_file() && scene.path("elsewhere/flame.svg").is_file());
}

#[test]
fn a_profile_worth_looking_at() {
    let scene = Scene::with_guest();
    scene.run(&["record", "-F", "499", "-d", "3", "-o", "kv.uniprof", "--", "bundled", "workload=kv"]).ok();
    let folded = scene.run(&["export", "kv.uniprof", "--format", "folded"]).ok().stdout;
    let deepest = folded.lines().map(|line| line.matches(';').count() + 1).max().unwrap();
    assert!(deepest >= 10, "only {deepest} frames deep");
    assert!(folded.contains(" (inlined)"), "no inlined frame");
    assert!(folded.contains('<'), "no generic function");
}

#[test]
fn the_embedded_sample_needs_no_qemu() {
    let scene = Scene::new();
    let without = |args: &[&str]| {
        let mut command = scene.command(args);
        scene.run_command(command.env("PATH", "/nonexistent")).ok()
    };
    let report = without(&["report", "sample", "--json"]).json();
    assert_matches_its_schema(&report);
    assert!(report["named_share"].as_f64().unwrap() >= 0.95, "{report}");
    without(&["flame", "sample", "-o", "sample.svg"]);
    assert!(std::fs::read_to_string(scene.path("sample.svg")).unwrap().contains("kv::"));
    assert!(without(&["flame", "sample", "-o", "-"]).stdout.starts_with("<?xml"));
    assert!(without(&["export", "sample", "--format", "folded"]).stdout.contains("kv::"));
    assert!(without(&["logs", "sample"]).stdout.contains("uniprof-sample-kernel: "));
    for line in without(&["logs", "sample", "--from", "ring", "--json"]).stdout.lines() {
        assert_matches_its_schema(&line.parse().unwrap());
    }
    let symbols = without(&["symbols", "sample", "--json"]).json();
    assert_matches_its_schema(&symbols);
    assert_eq!(symbols["images"][0]["dwarf"], true);
    assert!(without(&["report", "sample", "--tree"]).stdout.contains("CALL TREE"));
}
