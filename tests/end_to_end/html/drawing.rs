//! What is drawn: colours and blocks against a golden, light and dark, on paper, and 100,000 nodes and functions.
//!
//! Not glyphs: machines have different fonts. `UNIPROF_BLESS=1` writes the golden anew.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

use serde_json::Value;
use uniprof_flamegraph::{Amount, Frame, Owner, Profile, ProfileBuilder, Title};

use super::page::{Page, strings};

/// How much a channel of a colour may differ, of 255: anti-aliasing and rounding.
const TOLERANCE: i32 = 6;

/// Draws, and gives a copy of the picture to read pixels from; reading the picture itself often would make it slow.
const COPY: &str = "(() => {
  uniprof.draw();
  const canvas = document.querySelector('canvas');
  const copy = Object.assign(document.createElement('canvas'), { width: canvas.width, height: canvas.height });
  const context = copy.getContext('2d', { willReadFrequently: true });
  context.drawImage(canvas, 0, 0);
  return context;
})()";

/// A line for each frame that is drawn: depth, left edge and width in thousandths of the window's, colour, name. The
/// colour is read from the picture, beside the text.
const FRAMES: &str = "((context) => {
  const canvas = document.querySelector('canvas');
  const ratio = canvas.width / canvas.clientWidth;
  const part = (value) => Math.round(value / canvas.clientWidth * 1000);
  return uniprof.frames(4).map((frame) => {
    // The lines of hatched frames lie where the window begins.
    const hatched = frame.name.startsWith('[unknown');
    const [r, g, b] = hatched ? [0, 0, 0] : context.getImageData((frame.left + 2) * ratio, (frame.top + 17) * ratio, 1, 1).data;
    const color = [r, g, b].map((byte) => byte.toString(16).padStart(2, '0')).join('');
    return `${frame.depth} ${part(frame.left)} ${part(frame.width)} ${color} ${frame.name}`;
  });
})";

fn fields(line: &str) -> Vec<&str> {
    line.splitn(5, ' ').collect()
}

fn channels(color: &str) -> [i32; 3] {
    [0, 2, 4].map(|at| i32::from_str_radix(&color[at..at + 2], 16).expect("a colour"))
}

/// The same frames in the same places in the same colours, nearly.
fn look_alike(golden: &str, made: &str) -> bool {
    let [golden, made] = [fields(golden), fields(made)];
    let near = |at: usize| {
        let [a, b] = [golden[at], made[at]].map(|text| text.parse::<i32>().expect("a number"));
        (a - b).abs() <= 2
    };
    let colors = channels(golden[3]).into_iter().zip(channels(made[3]));
    golden[0] == made[0]
        && near(1)
        && near(2)
        && golden[4] == made[4]
        && colors.into_iter().all(|(a, b)| (a - b).abs() <= TOLERANCE)
}

fn check(name: &str, made: &[String]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("end_to_end/html/goldens").join(name);
    if env::var_os("UNIPROF_BLESS").is_some() {
        fs::write(&path, made.join("\n") + "\n").expect("the golden is writable");
        return;
    }
    let golden = fs::read_to_string(&path).unwrap_or_else(|error| {
        panic!("golden {}: {error}; UNIPROF_BLESS=1 writes it, then look at the page", path.display())
    });
    let golden: Vec<&str> = golden.lines().collect();
    let mut different = String::new();
    for (golden, made) in golden.iter().zip(made).filter(|(golden, made)| !look_alike(golden, made)) {
        let _ = writeln!(different, "golden: {golden}\n  made: {made}");
    }
    assert!(
        different.is_empty() && golden.len() == made.len(),
        "{name}: {} lines, made {}\n{different}UNIPROF_BLESS=1 writes it anew",
        golden.len(),
        made.len()
    );
}

#[test]
fn the_picture_is_that_of_the_golden() {
    let mut page = Page::known();
    let mut draw = |name: &str, keys: &[&str]| {
        keys.iter().for_each(|key| page.browser.key(key));
        let lines = strings(&page.browser.eval(&format!("{FRAMES}({COPY})")));
        check(name, &lines);
    };
    draw("light.txt", &[]);
    draw("dark-icicle.txt", &["t", "i"]);
    draw("kinds-callers.txt", &["t", "k", "c"]);
    page.browser.resize(1000, 700, 2.0);
    page.browser.wait_for(
        "document.querySelector('canvas').width === document.querySelector('canvas').clientWidth * 2",
    );
    page.browser.key("c");
    page.browser.key("/");
    page.browser.type_text("insert");
    let lines = strings(&page.browser.eval(&format!("{FRAMES}({COPY})")));
    check("search-fine.txt", &lines);
}

fn paper(page: &mut Page) -> Value {
    page.browser.eval("getComputedStyle(document.body).backgroundColor")
}

#[test]
fn light_and_dark() {
    let mut page = Page::known();
    let light = paper(&mut page);
    page.browser.prefer(&[("prefers-color-scheme", "dark")]);
    page.browser.wait_for("getComputedStyle(document.body).backgroundColor === 'rgb(22, 25, 29)'");
    let pixel = format!("[...{COPY}.getImageData(3, 3, 1, 1).data].join()");
    page.browser.wait_for(&format!("{pixel} === '22,25,29,255'"));
    page.browser.click_on("#theme");
    assert_eq!(paper(&mut page), light);
    assert_eq!(page.browser.eval(&pixel), "255,255,255,255");
}

#[test]
fn on_paper_it_is_light_and_whole() {
    let mut page = Page::known();
    page.browser.prefer(&[("prefers-color-scheme", "dark")]);
    page.browser.key("/");
    page.browser.key("Escape");
    page.browser.show_as_printed();
    page.browser.wait_for("document.querySelector('#print-table').textContent.includes('memset')");
    assert_eq!(paper(&mut page), "rgb(255, 255, 255)");
    let hidden = page.browser.eval(
        "['#bar', '#panel', '.corner', '#tooltip'].every((one) => getComputedStyle(document.querySelector(one)).display === 'none')",
    );
    assert_eq!(hidden, true);
    // Six levels, root to leaf, all of them on the paper.
    assert_eq!(page.browser.eval("document.querySelector('canvas').clientHeight >= 6 * 19"), true);
    let rows = "document.querySelectorAll('#print-table tr').length";
    // Ten functions and the heading.
    assert_eq!(page.browser.eval(rows), 11);
    assert_eq!(page.browser.complaints(), Vec::<String>::new());
}

/// 8,000 stacks of 24 threads, about 110,000 nodes; `rare::needle` is in one sample.
fn large() -> Profile {
    let mut builder = ProfileBuilder::new();
    let frames: Vec<_> = (0..3_000)
        .map(|n| builder.frame(Frame::function(&format!("part_{}::Type{}::function_{n}", n % 16, n % 7))))
        .collect();
    let mut state = 1u64;
    let mut random = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    for number in 0..8_000 {
        let thread = random(24).min(random(24)) as u32;
        let mut stack = vec![builder.thread(thread, &format!("worker-{thread}"))];
        for depth in 0..6 + random(26) {
            let spread = 1 + depth * depth * depth / 3;
            let pick = random(spread).min(random(spread));
            stack.push(frames[((depth * 131 + pick * 7) % 3_000) as usize]);
        }
        if number == 4_321 {
            stack.push(builder.frame(Frame::function("rare::needle")));
        }
        builder.add(stack, Owner { thread, vcpu: thread % 4 }, Amount::sample(1_000_000));
    }
    builder.finish()
}

#[test]
fn a_hundred_thousand_nodes_and_none_is_lost() {
    let profile = large();
    let mut page = Page::of(&profile, &Title { guest: "large".into(), ..Title::default() });
    assert!(page.browser.eval("uniprof.nodes").as_u64().is_some_and(|nodes| nodes > 100_000));
    assert_eq!(page.samples(), 8_000);
    // Far narrower than a pixel, it is found, in the sums, and seen in its colour.
    page.browser.key("/");
    page.browser.type_text("needle");
    assert_eq!(page.browser.text("#share"), "0.01 % of samples · 0.01 % of time in 1 function");
    let marked = format!(
        "((context) => {{
          const {{ data }} = context.getImageData(0, 0, context.canvas.width, context.canvas.height);
          let marked = 0;
          for (let at = 0; at < data.length; at += 4) {{
            if (data[at] > 230 && data[at + 1] < 150 && data[at + 2] > 150) marked++;
          }}
          return marked;
        }})({COPY})"
    );
    assert!(page.browser.eval(&marked).as_u64().is_some_and(|pixels| (10..100).contains(&pixels)));
    page.browser.key("Escape");
    assert_eq!(page.browser.eval(&marked), 0);
    let figures = page.browser.eval(
        "(() => { const zooms = Array.from({ length: 20 }, () => uniprof.draw()).sort((a, b) => a - b);
          return `ready ${uniprof.timings.ready.toFixed(0)} ms after navigation, redraw ${zooms[10].toFixed(1)} ms`; })()",
    );
    println!("100k nodes: {figures}");
    assert_eq!(page.browser.complaints(), Vec::<String>::new());
}

/// 20,000 stacks of six frames: 100,000 functions that are each in one stack only, below one of 500.
fn of_many_functions() -> Profile {
    let mut builder = ProfileBuilder::new();
    let main = builder.thread(1, "main");
    let groups: Vec<_> =
        (0..500).map(|n| builder.frame(Frame::function(&format!("group::Group{n}::run")))).collect();
    for stack in 0..20_000u32 {
        let mut frames = vec![main, groups[stack as usize % groups.len()]];
        for level in 0..5 {
            let name = format!("unit_{}::Type{level}::function_{stack:05}_{level}", stack % 40);
            let file = format!("src/unit_{}.rs", stack % 40);
            frames.push(builder.frame(Frame::function(&name).at(&file, stack % 900 + 1)));
        }
        let samples = 1 + u64::from(stack % 7);
        builder.add(
            frames,
            Owner { thread: 1, vcpu: stack % 4 },
            Amount { samples, weight: samples * 1_000_000 },
        );
    }
    builder.finish()
}

#[test]
fn a_hundred_thousand_distinct_functions() {
    let profile = of_many_functions();
    let total = profile.total().samples;
    let mut page = Page::of(&profile, &Title { guest: "many".into(), ..Title::default() });
    assert_eq!(page.samples(), total);
    // The page holds only the rows that are in view.
    assert!(page.rows().len() < 200);
    page.browser.click_on("[data-sort=name]");
    assert_eq!(page.rows()[0][2], "group::Group0::run");
    page.browser.key("/");
    page.browser.type_text("type4::function_");
    let share = page.browser.text("#share");
    assert!(share.ends_with("in 20,000 functions"), "{share}");
    page.browser.key("Escape");
    page.browser.type_text("function_12345_");
    let share = page.browser.text("#share");
    assert!(share.ends_with("in 5 functions"), "{share}");
    assert_eq!(page.rows().len(), 5);
    page.browser.key("Enter");
    page.browser.key("Escape");
    page.browser.key("Escape");
    page.browser.click_on("#vcpus summary");
    page.browser.click_on("#vcpus .item:nth-child(1) .only");
    assert!(page.samples().as_u64().is_some_and(|samples| samples < total / 3));
    let figures = page.browser.eval(
        "(() => { const draws = Array.from({ length: 20 }, () => uniprof.draw()).sort((a, b) => a - b);
          return `ready ${uniprof.timings.ready.toFixed(0)} ms after navigation, redraw ${draws[10].toFixed(1)} ms`; })()",
    );
    println!("100,500 functions: {figures}");
    assert_eq!(page.browser.complaints(), Vec::<String>::new());
}
