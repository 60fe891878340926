//! Code without frame pointers: what a walk along them loses, unwinding on the host finds.

use serde_json::Value;
use uniprof_tests::Scene;

/// Percentage points that a share may be off.
const TOLERANCE: f64 = 3.0;

/// From the thread's entry down, as the workload's source has them.
const CHAIN: [&str; 8] =
    ["work", "call_c", "nofp_enter", "nofp_second", "nofp_third", "nofp_fourth", "nofp_fifth", "nofp_sixth"];

fn record(scene: &Scene, call_graph: &str) -> (Value, String) {
    let file = format!("{call_graph}.uniprof");
    let args = ["record", "-F", "999", "-d", "5", "--call-graph", call_graph, "-o", &file];
    scene.run(&[&args[..], &["--", "bundled", "workload=nofp"]].concat()).ok();
    let report = scene.run(&["report", &file, "--json"]).ok().json();
    let folded = scene.run(&["export", &file, "--format", "folded"]).ok().stdout;
    (report, folded)
}

/// The share of samples, in per cent, in whose stack all of `names` occur, one after the other.
fn share(folded: &str, names: &[&str]) -> f64 {
    let (mut all, mut with) = (0, 0);
    for line in folded.lines() {
        let (stack, count) = line.rsplit_once(' ').unwrap();
        let count: u64 = count.parse().unwrap();
        let functions = stack.split(';').map(|frame| frame.trim_end_matches(" (inlined)"));
        let functions: Vec<&str> = functions.map(|frame| frame.rsplit("::").next().unwrap()).collect();
        let has = functions.windows(names.len()).any(|part| part == names);
        all += count;
        with += if has { count } else { 0 };
    }
    with as f64 * 100.0 / all as f64
}

#[test]
fn callers_without_frame_pointers_are_found_from_snapshots() {
    let scene = Scene::with_guest();
    let (report, folded) = record(&scene, "dwarf,8192");
    assert!(report["named_share"].as_f64().unwrap() >= 0.95, "{}", report["named_share"]);
    for (leaf, wanted) in [("nofp_sixty", 60.0), ("nofp_thirty", 30.0), ("nofp_ten", 10.0)] {
        let chain = [&CHAIN[..], &[leaf]].concat();
        let share = share(&folded, &chain);
        assert!((share - wanted).abs() <= TOLERANCE, "{leaf} below its eight callers: {share} %");
    }
    // The same guest, its frame pointers followed: nothing above the leaf's caller is right, and that is said.
    let (report, folded) = record(&scene, "fp");
    assert!(share(&folded, &["call_c", "nofp_enter"]) < 5.0, "{folded}");
    assert!(report["named_share"].as_f64().unwrap() < 0.5, "{}", report["named_share"]);
    let notes = report["notes"].to_string();
    assert!(notes.contains("--call-graph dwarf"), "{notes}");
}

#[test]
fn a_snapshot_that_is_too_short_says_so() {
    let scene = Scene::with_guest();
    let (report, folded) = record(&scene, "dwarf,256");
    assert!(report["samples"].as_u64().unwrap() > 500, "{}", report["samples"]);
    assert!(folded.contains(";[unknown: beyond the sampled part of the stack];"), "{folded}");
    assert!(share(&folded, &["nofp_fifth", "nofp_sixth"]) > 90.0, "what was sampled is unwound: {folded}");
}
