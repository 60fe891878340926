//! `uniprof heap`: what fills the memory of a guest that died for want of it, and which part of that is lost.

use serde_json::Value;
use uniprof_tests::{Scene, Stopped, assert_matches_its_schema};

/// What `crash-oom` allocates for each entry of its cache, and what it forgets.
const PAGE: u64 = 64 << 10;
const BUFFER: u64 = 16 << 10;
/// How many of the buffers that are lost may hide behind pointers that nobody uses any more.
const STALE: u64 = 2;

#[test]
fn what_filled_the_memory_and_what_was_lost_is_named_with_its_share() {
    let scene = Scene::with_guest();
    let mut guest = Stopped::run(&scene, "crash-oom", &["-smp", "2"]);
    guest.dump("oom.core", "elf", false);
    guest.end();
    let words = ["heap", "oom.core", "--kernel", "kernel.elf"];
    let heap = scene.run(&[&words[..], &["--json"]].concat()).ok().json();
    assert_matches_its_schema(&heap);
    let live = number(&heap["totals"]["live_bytes"]);
    assert!(live > 90_000_000, "{live}");

    // The estimates add up to what was counted, within what 200 samples allow: four standard deviations are under 30 %.
    let estimated = number(&heap["sampled"]["estimated_bytes"]);
    assert!(estimated.abs_diff(live) * 100 < live * 30, "{estimated} of {live}");
    let [pages, buffers] = ["load_page", "decode_page"].map(|name| site(&heap["sites"], name));
    let shares = number(&pages["estimated_bytes"]) as f64 / number(&buffers["estimated_bytes"]) as f64;
    let wanted = PAGE as f64 / BUFFER as f64;
    assert!((wanted / 2.0..wanted * 2.0).contains(&shares), "{shares}");
    assert_eq!(buffers["examples"][0]["bytes"], BUFFER);

    // All buffers that were sampled are lost: nobody points to them, or at most by chance to their insides. No page is.
    // The frame of the allocation that failed may hold what it held a moment ago: a stale pointer to the newest buffer.
    let leaks = &heap["leaks"];
    let lost = |kind: &str, name: &str| {
        let sites = leaks[kind].as_array().expect("sites").iter();
        let those =
            sites.filter(|site| site["function"].as_str().is_some_and(|function| function.ends_with(name)));
        those.map(|site| number(&site["sampled_blocks"])).sum::<u64>()
    };
    let found = lost("sites", "decode_page") + lost("inside_sites", "decode_page");
    let sampled = number(&buffers["sampled_blocks"]);
    assert!((sampled - STALE..=sampled).contains(&found), "{found} of {sampled}: {leaks:#}");
    assert_eq!(lost("sites", "load_page"), 0, "{leaks:#}");
    assert!(lost("sites", "decode_page") > 0, "{leaks:#}");
    assert!(number(&leaks["scanned_bytes"]) >= 128 << 20);

    let text = scene.run(&words).ok().stdout;
    assert!(text.contains("nobody points to") && text.contains("decode_page"), "{text}");
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

fn site<'a>(sites: &'a Value, name: &str) -> &'a Value {
    let mut sites = sites.as_array().expect("sites").iter();
    let found = sites.find(|site| site["function"].as_str().is_some_and(|function| function.ends_with(name)));
    found.unwrap_or_else(|| panic!("no site {name}"))
}
