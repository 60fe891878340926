//! Search, zoom, filter, sort, link: the figures that follow each.

use super::page::Page;

fn close_to(a: f64, b: f64) -> bool {
    (a - b).abs() < 0.01
}

#[test]
fn search_tells_the_matched_share() {
    let mut page = Page::known();
    page.browser.key("/");
    page.browser.type_text("INSERT");
    assert_eq!(page.browser.text("#share"), "33.6 % of samples · 30.0 % of time in 1 function");
    assert_eq!(page.rows().len(), 1);
    page.browser.key("Escape");
    assert_eq!(page.browser.text("#share"), "");
    // Nested matches count once.
    page.browser.type_text("kv::");
    assert_eq!(page.browser.text("#share"), "88.0 % of samples · 78.6 % of time in 4 functions");
    page.browser.key("Escape");
    page.browser.click_on("#regex");
    page.browser.click_on("#query");
    page.browser.type_text("^(memset|kernel::idle)$");
    assert_eq!(page.browser.text("#share"), "12.0 % of samples · 21.4 % of time in 2 functions");
    page.browser.type_text("(");
    assert_eq!(page.browser.text("#share"), "not a regular expression");
    assert_eq!(page.browser.complaints(), Vec::<String>::new());
}

#[test]
fn zoom_and_the_way_back() {
    let mut page = Page::known();
    assert_eq!(page.crumbs(), ["all"]);
    page.click_frame("kv::tree::insert");
    let path = ["all", "kv-worker", "kernel::thread::entry", "kv::serve", "kv::tree::insert"];
    assert_eq!(page.crumbs(), path);
    assert!(close_to(page.share("kv::tree::insert"), 1.0));
    assert!(close_to(page.share("alloc::vec::Vec<T>::push"), 260.0 / 272.0));
    assert!(page.browser.text("#crumbs").ends_with("272 samples · 33.6 %"));
    page.click_frame("alloc::vec::Vec<T>::push");
    page.browser.key("Escape");
    assert_eq!(page.crumbs(), path);
    page.browser.click_on(".crumb:nth-child(2)");
    assert_eq!(page.crumbs(), ["all", "kv-worker"]);
    page.browser.key("Backspace");
    page.browser.key("Backspace");
    assert_eq!(page.crumbs(), ["all"]);

    let (x, y) = page.frame("kernel::idle");
    page.browser.wheel(x, y, -400.0);
    page.browser.wait_for("uniprof.state.to - uniprof.state.from < 0.9");
    assert!(page.share("kernel::idle") > 90.0 / 810.0 * 1.1);
    page.browser.click(x, y, 2);
    assert_eq!(page.browser.eval("uniprof.state.to - uniprof.state.from"), 1);

    page.click_frame("kv::serve");
    for key in ["ArrowUp", "Enter"] {
        page.browser.key(key);
    }
    // Up in a flame graph is to the widest callee.
    assert_eq!(page.crumbs().last().map(String::as_str), Some("kv::tree::insert"));
    assert!(
        page.browser.text("#live").starts_with("kv::tree::insert, depth 4, 272 samples, 33.6 % of samples")
    );
}

#[test]
fn threads_and_vcpus_change_every_figure() {
    let mut page = Page::known();
    page.browser.click_on("#threads summary");
    page.browser.click_on("#threads .item:nth-child(2) .only");
    assert_eq!(page.samples(), 97);
    assert_eq!(page.browser.text("#facts dd"), "97 of 810");
    assert_eq!(page.browser.text("#threads .count"), "1 of 2");
    assert_eq!(page.rows()[0], ["92.8 %", "92.8 %", "kernel::idle"]);
    page.browser.click_on("#threads .tools button");
    assert_eq!(page.samples(), 810);
    page.browser.key("Escape");
    page.browser.click_on("#vcpus summary");
    // The busiest comes first: vCPU 0.
    page.browser.click_on("#vcpus .item:nth-child(1) input");
    assert_eq!(page.samples(), 369);
    page.browser.click_on("#vcpus .item:nth-child(2) input");
    assert_eq!(page.samples(), 0);
    assert_eq!(page.browser.eval("document.querySelector('#empty').hidden"), false);
    page.browser.click_on("#empty-reset");
    assert_eq!(page.samples(), 810);
    assert_eq!(page.browser.complaints(), Vec::<String>::new());
}

#[test]
fn direction_measure_and_layout() {
    let mut page = Page::known();
    page.browser.key("c");
    assert!(close_to(page.share("alloc::vec::Vec<T>::push"), 260.0 / 810.0));
    let depth = "uniprof.frames().find((frame) => frame.name === 'kv::tree::insert').depth";
    assert_eq!(page.browser.eval(depth), 2);
    page.browser.key("c");
    assert_eq!(page.browser.eval(depth), 4);
    assert!(close_to(page.share("kernel::idle"), 90.0 / 810.0));
    page.browser.key("m");
    assert!(close_to(page.share("kernel::idle"), 180.0 / 907.0));
    assert_eq!(page.rows()[0], ["28.7 %", "28.7 %", "alloc::vec::Vec<T>::push"]);
    let top = "uniprof.frames()[0].top";
    assert!(page.browser.eval(top).as_f64().expect("a place") > 300.0);
    page.browser.key("i");
    assert_eq!(page.browser.eval(top), 0);
}

#[test]
fn the_table_sorts_and_highlights() {
    let mut page = Page::known();
    let names = |page: &mut Page| page.rows().into_iter().map(|[_, _, name]| name).collect::<Vec<_>>();
    assert_eq!(page.rows()[0], ["32.1 %", "32.1 %", "alloc::vec::Vec<T>::push"]);
    assert_eq!(names(&mut page)[1], "core::str::from_utf8");
    assert_eq!(names(&mut page).len(), 10, "threads are not listed");
    page.browser.click_on("[data-sort=total]");
    assert_eq!(page.rows()[0], ["5.1 %", "88.0 %", "kv::serve"]);
    page.browser.click_on("[data-sort=name]");
    assert_eq!(names(&mut page)[0], "<[u8; 16] as kv::Hash>::hash");
    page.browser.click_on("[data-sort=name]");
    assert_eq!(names(&mut page)[0], "memset");
    page.browser.click_on("#rows tr[data-fn]");
    assert_eq!(page.browser.text("#share"), "0.86 % of samples · 1.5 % of time in memset");
    assert_eq!(page.browser.text("#rows tr[aria-selected] bdi"), "memset");
    page.browser.key("Escape");
    assert_eq!(page.browser.text("#share"), "");
}

#[test]
fn a_link_opens_the_same_view() {
    let mut page = Page::known();
    page.click_frame("kv::tree::insert");
    for key in ["i", "m", "/"] {
        page.browser.key(key);
    }
    page.browser.type_text("push");
    page.browser.click_on("#threads summary");
    page.browser.click_on("#threads .item:nth-child(1) .only");
    page.browser.wait_for("location.hash.includes('threads=1') && location.hash.includes('search=push')");
    let link = page.browser.eval("location.hash");
    let file = page.file.clone();
    page.browser.open(&file, link.as_str().expect("a link"));
    assert_eq!(page.samples(), 713);
    assert_eq!(page.crumbs().last().map(String::as_str), Some("kv::tree::insert"));
    assert_eq!(page.browser.text("#share"), "36.5 % of samples · 36.5 % of time in 1 function");
    assert_eq!(page.browser.eval("[uniprof.state.layout, uniprof.state.measure].join()"), "icicle,time");
    // What means nothing is left out.
    page.browser.open(&file, "#at=99999&threads=x&part=2,1&function=-3&measure=length&search=%");
    assert_eq!(page.samples(), 810);
    assert_eq!(page.crumbs(), ["all"]);
    assert_eq!(page.browser.complaints(), Vec::<String>::new());
}

#[test]
fn a_tooltip_tells_what_is_known() {
    let mut page = Page::known();
    let (x, y) = page.frame("kv::parse");
    page.browser.point(x, y);
    page.browser.wait_for("!document.querySelector('#tooltip').hidden");
    let text = page.browser.eval("document.querySelector('#tooltip').innerText");
    let text = text.as_str().expect("a text");
    for part in [
        "kv::parse",
        "inlined",
        "src/kv.rs:120",
        "kv.elf",
        "inline record",
        "220",
        "27.2 %",
        "220 ms",
        "24.3 %",
    ] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
    page.click_frame("kv::tree::insert");
    let (x, y) = page.frame("[unknown: outside the image]");
    page.browser.point(x, y);
    page.browser.wait_for("document.querySelector('#tooltip').innerText.includes('no name')");
    assert!(page.browser.text("#tooltip").contains("0x100000"));
}
