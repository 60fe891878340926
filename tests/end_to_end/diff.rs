//! What changed between two recordings: what was changed, and nothing else.

use std::fs;

use serde_json::Value;
use uniprof_tests::{Scene, assert_matches_its_schema};

fn record(scene: &Scene, name: &str, shares: &str) {
    let shares = format!("shares={shares}");
    let line = ["record", "-F", "499", "-d", "6", "-o", name, "--", "bundled", "workload=ratio", &shares];
    scene.run(&line).ok();
}

/// Which of the workload's parts, and of what calls them, changed. What is inlined into the parts is left out: each part is
/// compiled in its own way, so the shares of such code do change with the parts'.
fn changed(document: &Value) -> Vec<(String, String)> {
    let functions = document["functions"].as_array().unwrap();
    let of_interest = |name: &str| {
        let last = name.rsplit("::").next().unwrap_or_default();
        last.starts_with("ratio_") || ["work", "thread_entry", "call_once"].contains(&last)
    };
    let mut changed: Vec<(String, String)> = functions
        .iter()
        .map(|function| (function["name"].as_str().unwrap(), function["total"]["verdict"].as_str().unwrap()))
        .filter(|(name, verdict)| *verdict != "same" && of_interest(name))
        .map(|(name, verdict)| (name.to_owned(), verdict.to_owned()))
        .collect();
    changed.sort();
    changed
}

#[test]
fn recordings_differ_in_what_was_changed_and_in_nothing_else() {
    let scene = Scene::with_guest();
    record(&scene, "one.uniprof", "6:3:1");
    record(&scene, "same.uniprof", "6:3:1");
    record(&scene, "other.uniprof", "3:6:1");
    // One false alarm in a thousand runs: the rate at 95 % is what the library's own tests measure.
    let sure = ["--confidence", "99.9"];
    let diff = |words: &[&str]| scene.run(&[&["diff", "one.uniprof"], words, &sure[..]].concat());

    let same = diff(&["same.uniprof", "--json"]).ok().json();
    assert_matches_its_schema(&same);
    assert_eq!(same["method"], "blocks");
    assert_eq!(changed(&same), []);
    let other = diff(&["other.uniprof", "--json", "--stacks"]).ok().json();
    assert_matches_its_schema(&other);
    let expected = [("ratio_sixty", "shrunk"), ("ratio_thirty", "grown")];
    assert_eq!(changed(&other), expected.map(|(name, verdict)| (name.to_owned(), verdict.to_owned())));

    let text = diff(&["other.uniprof"]).ok().stdout;
    assert!(
        text.contains(" functions changed")
            && text.contains("uniprof flame other.uniprof --diff one.uniprof"),
        "{text}"
    );
    diff(&["other.uniprof", "--fail-if", "ratio_thirty>+20pp"]).failed_with(5).says(&[
        "ratio_thirty>+20pp",
        "is true",
        "surely between",
    ]);
    diff(&["same.uniprof", "--fail-if", "ratio_thirty>+20pp", "--fail-if", "ratio_*>+30%"]).ok();

    scene.run(&["flame", "other.uniprof", "--diff", "one.uniprof"]).ok();
    let picture = fs::read_to_string(scene.path("other.diff.svg")).unwrap();
    assert!(picture.contains("against one.uniprof"), "the picture says what it compares with");
}

/// Writes a profile as folded text.
fn fold(scene: &Scene, name: &str, shares: &[(&str, u32)]) {
    let lines: Vec<String> = shares.iter().map(|(stack, samples)| format!("{stack} {samples}\n")).collect();
    fs::write(scene.path(name), lines.concat()).unwrap();
}

#[test]
fn rules_decide_the_exit_code() {
    let scene = Scene::new();
    fold(&scene, "a.folded", &[("main;kv::insert", 1_000), ("main;kv::get", 8_960), ("main;rare", 40)]);
    fold(&scene, "b.folded", &[("main;kv::insert", 1_300), ("main;kv::get", 8_645), ("main;rare", 55)]);
    let diff = |rules: &[&str]| {
        let rules = rules.iter().flat_map(|rule| ["--fail-if", rule]);
        let words: Vec<&str> = ["diff", "a.folded", "b.folded"].into_iter().chain(rules).collect();
        scene.run(&words)
    };
    assert!(diff(&[]).ok().stdout.contains("independent"));
    for rule in ["kv::insert>+10%", "insert>+10%", "self:insert>+1pp", "*>+10%", "kv::*<-1pp", "kv::?et<-1%"]
    {
        diff(&[rule]).failed_with(5).says(&[rule, "is true"]);
    }
    for rule in ["insert>+100%", "insert>+10pp", "insert<-1%", "main>+1%", "rare>+5%"] {
        diff(&[rule]).ok();
    }
    // A third more, but of 40 samples.
    assert!(diff(&["rare>+5%"]).stderr.contains("not sure"));
    let words = ["diff", "a.folded", "b.folded", "--fail-on-estimate", "--fail-if", "rare>+5%"];
    scene.run(&words).failed_with(5);
    diff(&["kv::inzert>+5%"]).failed_with(2).says(&["kv::inzert", "kv::insert"]);
    assert!(diff(&["kv::insert>5%"]).failed_with(2).stderr.contains("no sign"));
    let elapsed = ["diff", "a.folded", "b.folded", "--of", "elapsed"];
    scene.run(&elapsed).failed_with(2).says(&["--of samples"]);
}
