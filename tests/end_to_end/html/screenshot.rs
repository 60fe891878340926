//! The whole page as a reader sees it: screenshots, in blocks of 20 by 20 pixels, against goldens.
//!
//! A block is its mean colour: what a font of another machine changes is little, what is in another place, missing or in
//! another colour is much. `UNIPROF_BLESS=1` writes the goldens anew.

use std::path::Path;
use std::{env, fs};

use uniprof_flamegraph::{Amount, Frame, Owner, Profile, ProfileBuilder, Title};

use super::page::Page;

/// The side of a block, in CSS pixels.
const BLOCK: u32 = 20;
/// How much a channel of a block may differ, of 255.
const TOLERANCE: i32 = 12;
/// Of a thousand blocks as many may differ by more: text in another font.
const OTHERS: usize = 20;

/// Blocks in rows, each as six hexadecimal digits.
fn blocks(text: &str) -> Vec<Vec<[i32; 3]>> {
    let channel = |block: &str, at: usize| i32::from_str_radix(&block[at..at + 2], 16).expect("a colour");
    let block = |block: &str| [0, 2, 4].map(|at| channel(block, at));
    text.lines().map(|line| line.split(' ').map(block).collect()).collect()
}

fn differ(one: &[i32; 3], other: &[i32; 3]) -> bool {
    one.iter().zip(other).any(|(one, other)| (one - other).abs() > TOLERANCE)
}

fn check(page: &mut Page, name: &str) {
    let made = page.browser.screenshot(BLOCK);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("end_to_end/html/goldens").join(name);
    if env::var_os("UNIPROF_BLESS").is_some() {
        fs::write(&path, made + "\n").expect("the golden is writable");
        return;
    }
    let golden = fs::read_to_string(&path).unwrap_or_else(|error| {
        panic!("golden {}: {error}; UNIPROF_BLESS=1 writes it, then look at the page", path.display())
    });
    let (golden, made) = (blocks(&golden), blocks(&made));
    let sizes = |rows: &[Vec<[i32; 3]>]| rows.iter().map(Vec::len).collect::<Vec<_>>();
    assert_eq!(sizes(&golden), sizes(&made), "{name}: another size");
    let pairs = || golden.iter().zip(&made).map(|(golden, made)| golden.iter().zip(made));
    let all: usize = golden.iter().map(Vec::len).sum();
    let different = pairs().flatten().filter(|(golden, made)| differ(golden, made)).count();
    let mark = |(golden, made)| if differ(golden, made) { '#' } else { '.' };
    let map: Vec<String> = pairs().map(|row| row.map(mark).collect()).collect();
    assert!(
        different * 1000 <= all * OTHERS,
        "{name}: {different} of {all} blocks differ; UNIPROF_BLESS=1 writes it anew\n{}",
        map.join("\n")
    );
}

#[test]
fn the_page_looks_as_it_did() {
    let mut page = Page::known();
    check(&mut page, "page-light.blocks");
    let (x, y) = page.frame("kv::parse");
    page.browser.point(x, y);
    page.browser.wait_for("!document.querySelector('#tooltip').hidden");
    check(&mut page, "page-tooltip.blocks");
    page.browser.point(1.0, 1.0);
    for key in ["t", "i", "/"] {
        page.browser.key(key);
    }
    page.browser.type_text("kv::");
    page.browser.wait_for("document.querySelector('#share').textContent !== ''");
    check(&mut page, "page-dark-search.blocks");
    for key in ["Escape", "Escape", "t"] {
        page.browser.key(key);
    }
    page.click_frame("kv::tree::insert");
    page.browser.key("l");
    page.browser.point(1.0, 1.0);
    page.browser.wait_for("document.querySelector('#tooltip').hidden");
    check(&mut page, "page-zoomed.blocks");
}

/// Two stacks, forty frames deep and ten: higher than the window.
fn high() -> Profile {
    let mut builder = ProfileBuilder::new();
    let thread = builder.thread(1, "main");
    for (name, levels) in [("deep", 40), ("flat", 10)] {
        let names: Vec<String> = (0..levels).map(|level| format!("{name}::level_{level}")).collect();
        let frames: Vec<_> = names.iter().map(|name| builder.frame(Frame::function(name))).collect();
        let owner = Owner { thread: 1, vcpu: u32::from(name == "flat") };
        builder.add([thread].into_iter().chain(frames), owner, Amount::sample(1_000_000));
    }
    builder.finish()
}

#[test]
fn the_root_stays_in_view() {
    let mut page = Page::of(&high(), &Title::default());
    let hidden = "(() => { const stage = document.querySelector('#stage');
      return stage.scrollHeight - stage.clientHeight - stage.scrollTop; })()";
    for height in [500, 900, 700, 1000] {
        page.browser.resize(1440, height, 1.0);
        page.browser.wait_for(
            "document.querySelector('canvas').clientHeight === document.querySelector('#stage').clientHeight",
        );
        assert_eq!(page.browser.eval(hidden), 0, "{height}");
    }
    page.browser.resize(1440, 700, 1.0);
    page.browser.click_on("#vcpus summary");
    // Without the deep stack the graph is lower than the window; with it again the root is still there.
    for _ in 0..2 {
        page.browser.click_on("#vcpus .item:nth-child(1) input");
        page.browser.wait_for(&format!("{hidden} === 0"));
    }
}

#[test]
fn what_is_printed_fits_a_page() {
    let mut page = Page::of(&high(), &Title::default());
    let printed = "document.querySelector('canvas').clientHeight";
    page.browser.show_as_printed();
    page.browser.wait_for("document.querySelector('#print-table').textContent.includes('flat::level_9')");
    // Landscape A4 less margins is 718 pixels high.
    let whole = page.browser.eval(printed).as_u64().expect("pixels");
    assert!((400..600).contains(&whole), "{whole}");
    page.browser.prefer(&[]);
    page.browser.wait_for("document.querySelector('#print-table').textContent === ''");
    page.click_frame("flat::level_0");
    page.browser.show_as_printed();
    page.browser.wait_for("document.querySelector('#print-table').textContent !== ''");
    // Of levels that are not in view nothing is printed: `all`, the thread and ten more.
    assert_eq!(page.browser.eval(printed), 12 * 20 + 8);
}

#[test]
fn the_print_looks_as_it_did() {
    let mut page = Page::known();
    page.browser.show_as_printed();
    page.browser.wait_for("document.querySelector('#print-table').textContent.includes('memset')");
    check(&mut page, "page-print.blocks");
}
