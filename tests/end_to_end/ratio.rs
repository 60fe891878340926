//! A profile whose right answer is known.

use serde_json::Value;
use uniprof_tests::{Scene, assert_matches_its_schema};

/// Percentage points that a share may be off.
const TOLERANCE: f64 = 3.0;

fn record(machine: &[&str]) -> (Value, String) {
    let scene = Scene::with_guest();
    let mut args = vec!["record", "-F", "999", "-d", "10", "--vcpus", "2", "-o", "r.uniprof"];
    args.extend(machine);
    args.extend(["--", "bundled", "workload=ratio"]);
    scene.run(&args).ok();
    let report = scene.run(&["report", "r.uniprof", "--json"]).ok().json();
    let folded = scene.run(&["export", "r.uniprof", "--format", "folded"]).ok().stdout;
    (report, folded)
}

/// What each of the three functions has of what all three have, in per cent.
fn shares(report: &Value) -> [f64; 3] {
    let functions = report["functions"].as_array().unwrap();
    let total = |name: &str| -> f64 {
        let of = |row: &&Value| row["name"].as_str().unwrap().rsplit("::").next() == Some(name);
        functions.iter().filter(of).map(|row| row["total"].as_f64().unwrap()).sum()
    };
    let totals = ["ratio_sixty", "ratio_thirty", "ratio_ten"].map(total);
    let samples = report["samples"].as_f64().unwrap();
    totals.map(|total| total * 100.0 / samples)
}

fn check(report: &Value, folded: &str) -> [f64; 3] {
    assert_matches_its_schema(report);
    let shares = shares(report);
    for (share, wanted) in shares.iter().zip([60.0, 30.0, 10.0]) {
        assert!((share - wanted).abs() <= TOLERANCE, "{shares:?}");
    }
    let vcpus = report["vcpus"].as_array().unwrap();
    assert_eq!(vcpus.len(), 2);
    for vcpu in vcpus {
        assert!(vcpu["samples"].as_u64().unwrap() > 500, "{vcpu}");
        let [emitted, received, lost] =
            ["emitted", "received", "lost"].map(|key| vcpu[key].as_u64().unwrap());
        assert_eq!(emitted, received + lost);
    }
    assert!(report["named_share"].as_f64().unwrap() >= 0.95, "{}", report["named_share"]);
    let cost = report["own_cost"].as_f64().unwrap();
    assert!(cost > 0.0 && cost < 0.10, "own cost {cost}");
    assert_eq!(report["emulated"], report["accelerator"] == "tcg");
    // From the thread's entry down to the inlined leaf.
    let (stack, _) =
        folded.lines().find(|line| line.contains("ratio_sixty")).unwrap().rsplit_once(' ').unwrap();
    let frames: Vec<&str> = stack.split(';').collect();
    assert!(frames[0].starts_with("ratio-"), "{stack}");
    let at = |name: &str| frames.iter().position(|frame| frame.contains(name));
    assert!(at("work") < at("round") && at("round") < at("ratio_sixty"), "{stack}");
    let inlined = folded.lines().any(|line| line.contains("ratio_sixty;") && line.contains("unit (inlined)"));
    assert!(inlined, "no inlined frame below ratio_sixty");
    shares
}

#[test]
fn shares_are_right_and_the_same_on_both_machines_and_placements() {
    let (report, folded) = record(&["--machine", "q35", "--placement", "ivshmem"]);
    let q35 = check(&report, &folded);
    let (report, folded) = record(&["--machine", "microvm", "--placement", "ram"]);
    let microvm = check(&report, &folded);
    for (one, other) in q35.iter().zip(microvm) {
        assert!((one - other).abs() <= TOLERANCE, "{q35:?} {microvm:?}");
    }
}
