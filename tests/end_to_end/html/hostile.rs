//! Names that would like to be markup, code, or another name; and a page that asks for nothing.

use uniprof_flamegraph::{Amount, Frame, Image, Owner, ProfileBuilder, Title};
use uniprof_tests::Scene;

use super::page::Page;

#[test]
fn a_page_asks_for_nothing_and_complains_of_nothing() {
    let mut page = Page::known();
    for key in ["?", "Escape", "t", "k", "c", "i", "m", "n", "ArrowUp", "0", "+", "-", "l", "l"] {
        page.browser.key(key);
    }
    assert_eq!(page.browser.requests(), [format!("file://{}", page.file.display())]);
    assert_eq!(page.browser.complaints(), Vec::<String>::new());
    let policy = "document.querySelector('meta[http-equiv]').content";
    assert!(
        page.browser.eval(policy).as_str().is_some_and(|policy| policy.starts_with("default-src 'none'; "))
    );
    let facts = page.browser.eval("document.querySelector('header').innerText");
    let facts = facts.as_str().expect("a text");
    for part in [
        "kv",
        "810",
        "999 Hz",
        "2.5 s",
        "120 (12.9 %): overwritten 120",
        "0.42 %",
        "5f0c1d7a9be2",
        "emulated",
    ] {
        assert!(facts.contains(part), "{part} is missing in {facts}");
    }
}

#[test]
fn hostile_names_stay_text() {
    let long = format!("</script>{}", "x".repeat(64 << 10));
    let names = [
        "</script><script>window.hostile = 1</script><img src=x onerror=\"window.hostile = 1\">",
        "\"'`${window.hostile = 1}\\",
        "javascript:window.hostile=1//&lt;b&gt;",
        "\u{202e}gpj.exe\u{2066}",
        "__proto__",
        "constructor",
        &long,
        "",
    ];
    let mut builder = ProfileBuilder::new();
    for (index, name) in names.iter().enumerate() {
        let thread = index as u32;
        let image = builder.image(Image { name: (*name).to_owned(), ..Image::default() });
        let frames = [
            builder.thread(thread, name),
            builder.frame(Frame::function(name).at(name, 1).located(Some(image), 1)),
            builder.frame(Frame::unknown(name)),
        ];
        builder.add(frames, Owner { thread, vcpu: thread }, Amount { samples: 10, weight: u64::MAX / 100 });
    }
    let text = names[..4].concat();
    let title = Title {
        guest: text.clone(),
        build_id: Some(text.clone()),
        loss: Some(vec![(text.clone(), 1)]),
        notes: vec![text],
        ..Title::default()
    };
    let mut page = Page::of(&builder.finish(), &title);
    assert_eq!(page.samples(), 80);
    // Look at each: tooltips, menus, crumbs, search, print.
    page.browser.click_on("#threads summary");
    for index in 0..names.len() {
        let frames = "uniprof.frames().filter((frame) => frame.depth === 2)";
        let at = page.browser.eval(&format!("{frames}[{index}].left + {frames}[{index}].width / 2"));
        let top = page.browser.eval(&format!(
            "document.querySelector('canvas').getBoundingClientRect().top + {frames}[{index}].top + 9"
        ));
        let (x, y) = (at.as_f64().expect("x"), top.as_f64().expect("y"));
        page.browser.point(x, y);
        page.browser.click(x, y, 1);
        page.browser.key("0");
    }
    for name in names {
        page.browser.key("/");
        page.browser.type_text(&name[..name.len().min(100)]);
        page.browser.key("Escape");
        page.browser.key("Escape");
    }
    page.browser.key("c");
    page.browser.show_as_printed();
    assert_eq!(page.browser.eval("String(window.hostile)"), "undefined");
    assert_eq!(page.browser.eval("document.querySelectorAll('img').length"), 0);
    assert_eq!(page.browser.eval("document.querySelectorAll('script').length"), 1);
    let shown = page.browser.eval("document.body.innerText");
    let shown = shown.as_str().expect("a text");
    assert!(shown.contains("</script><script>window.hostile = 1</script>"), "{shown}");
    assert!(shown.contains("\\u{202e}gpj.exe") && !shown.contains('\u{202e}'), "{shown}");
    assert_eq!(page.browser.complaints(), Vec::<String>::new());
}

#[test]
fn a_recording_becomes_a_page() {
    let scene = Scene::new();
    let said = scene.run(&["flame", "sample", "-o", "sample.html", "--inverted", "--time"]).ok().stderr;
    let report = scene.run(&["report", "sample", "--json"]).ok().json();
    let mut browser = uniprof_tests::Browser::start();
    browser.open(&scene.path("sample.html"), "");
    let samples = browser.eval("uniprof.total.samples");
    assert!(said.contains(&format!("wrote sample.html: {samples} samples")), "{said}");
    assert!(report.to_string().contains(&format!("\"samples\":{samples}")), "{samples}: {report}");
    assert_eq!(browser.eval("[uniprof.state.layout, uniprof.state.measure].join()"), "icicle,time");
    assert_eq!(browser.complaints(), Vec::<String>::new());
    // Nothing is written where there is nothing to draw.
    scene.run(&["flame", "sample", "-o", "none.html", "--thread", "nobody"]).failed_with(1);
    assert!(!scene.files().contains(&"none.html".to_owned()));
}
