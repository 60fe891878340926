//! What the writers write, against files. `UNIPROF_BLESS=1 cargo test -p uniprof-flamegraph` writes the files anew.

use std::path::Path;
use std::time::Duration;
use std::{env, fs};

use uniprof_flamegraph::{
    Amount, Direction, Frame, Measure, Owner, Profile, ProfileBuilder, RenderError, SvgOptions, Title, Width,
    folded, svg,
};

fn profile() -> Profile {
    let mut builder = ProfileBuilder::new();
    let mut add = |thread: u32, frames: &[Frame<'_>], samples: u64| {
        let ids: Vec<_> = frames.iter().map(|frame| builder.frame(*frame)).collect();
        let owner = Owner { thread, vcpu: thread % 2 };
        builder.add(ids, owner, Amount { samples, weight: samples * 1_000_000 });
    };
    let worker = [
        Frame::thread("kv-worker"),
        Frame::function("kernel::thread::entry").at("src/thread.rs", 40),
        Frame::function("kv::serve").at("src/kv.rs", 88),
    ];
    let with = |more: &[Frame<'static>]| [&worker[..], more].concat();
    let parse = Frame::function("kv::parse").at("src/kv.rs", 120).inlined();
    add(1, &with(&[parse, Frame::function("core::str::from_utf8")]), 220);
    add(1, &with(&[Frame::function("<[u8; 16] as kv::Hash>::hash").inlined()]), 180);
    add(1, &with(&[Frame::function("kv::tree::insert"), Frame::function("alloc::vec::Vec<T>::push")]), 260);
    add(1, &with(&[Frame::function("kv::tree::insert"), Frame::unknown("[unknown: outside the image]")]), 12);
    add(1, &with(&[]), 41);
    add(2, &[Frame::thread("idle\nhands"), Frame::function("kernel::idle <&> \"wait\"")], 90);
    add(2, &[Frame::thread("idle\nhands"), Frame::function("memset"), Frame::function("")], 7);
    builder.finish()
}

/// Every frame of a drawing with its width, as inferno notes them.
fn drawn(profile: &Profile, options: &SvgOptions) -> Vec<(String, u64)> {
    let mut made = Vec::new();
    svg(profile, &title(), options, &mut made).expect("it draws");
    let made = String::from_utf8(made).expect("SVG is text");
    let mut found: Vec<_> = made
        .split("<title>")
        .skip(1)
        .map(|rest| {
            let (text, rest) = rest.split_once("</title>").expect("a title ends");
            let (_, width) = rest.split_once("fg:w=\"").expect("a frame has a width");
            let name = text.rsplit_once(" (").expect("a title has a count").0;
            (name.to_owned(), width.split('"').next().expect("quoted").parse().expect("a number"))
        })
        .collect();
    found.sort();
    found
}

#[test]
fn names_that_look_like_counts_or_sort_between() {
    let mut builder = ProfileBuilder::new();
    let owner = Owner { thread: 1, vcpu: 0 };
    let [worker, comment] = ["worker 7", "# 1"].map(|name| builder.frame(Frame::thread(name)));
    let [f, g] = ["f", "g"].map(|name| builder.frame(Frame::function(name)));
    let f_inlined = builder.frame(Frame::function("f").inlined());
    for stack in
        [&[worker][..], &[worker, f], &[worker, f, g], &[worker, f_inlined, g], &[comment], &[comment, f]]
    {
        builder.add(stack.iter().copied(), owner, Amount { samples: 100, weight: 1 });
    }
    let frames = [
        ("#\u{a0}1", 200),
        ("all", 600),
        ("f", 100),
        ("f", 200),
        ("f (inlined)", 100),
        ("g", 100),
        ("g", 100),
        ("worker\u{a0}7", 400),
    ];
    let frames: Vec<_> = frames.map(|(name, width)| (name.to_owned(), width)).into();
    assert_eq!(drawn(&builder.finish(), &SvgOptions::default()), frames);
}

fn title() -> Title {
    Title {
        guest: "sample <kernel>".into(),
        build_id: Some("5f0c1d7a9be2".into()),
        rate: Some(999.0),
        booted_ns: None,
        duration: Some(Duration::from_millis(2_500)),
        samples: 810,
        loss: Some(vec![("overwritten".into(), 120), ("refused".into(), 0)]),
        own_cost: Some(0.0042),
        notes: vec!["emulated CPU (TCG)".into()],
        ..Title::default()
    }
}

fn check(name: &str, made: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens").join(name);
    if env::var_os("UNIPROF_BLESS").is_some() {
        fs::write(&path, made).expect("the golden is writable");
        return;
    }
    let golden = fs::read_to_string(&path).unwrap_or_else(|error| {
        panic!("golden {}: {error}; UNIPROF_BLESS=1 writes it, then look at it", path.display())
    });
    assert!(golden == made, "{name} differs from its golden; UNIPROF_BLESS=1 writes it anew. Made:\n{made}");
}

/// The picture without inferno's own script and style sheet, which are not ours to pin, one element a line.
fn drawing(options: &SvgOptions) -> String {
    let mut made = Vec::new();
    svg(&profile(), &title(), options, &mut made).expect("it draws");
    let mut made = String::from_utf8(made).expect("SVG is text");
    for element in ["script", "style"] {
        let start = made.find(&format!("<{element}")).expect(element);
        let close = format!("</{element}>");
        let end = start + made[start..].find(&close).expect(element) + close.len();
        made.replace_range(start..end, "");
    }
    made.replace("><", ">\n<")
}

#[test]
fn folded_text() {
    for (name, measure) in [("samples.folded", Measure::Samples), ("weight.folded", Measure::Weight)] {
        let mut made = Vec::new();
        folded(&profile(), measure, &mut made).expect("it writes");
        check(name, &String::from_utf8(made).expect("it is text"));
    }
}

#[test]
fn pictures() {
    check("samples.svg", &drawing(&SvgOptions::default()));
    check(
        "icicle.svg",
        &drawing(&SvgOptions { width: Width::Time, inverted: true, ..SvgOptions::default() }),
    );
    let callers = SvgOptions { direction: Direction::Callers, min_share: 0.05, ..SvgOptions::default() };
    check("callers.svg", &drawing(&callers));
}

#[test]
fn no_samples_no_bytes() {
    let mut made = Vec::new();
    let empty = profile().filter(|owner| owner.thread == 99);
    let error = svg(&empty, &title(), &SvgOptions::default(), &mut made).expect_err("nothing to draw");
    assert!(matches!(error, RenderError::NoSamples), "{error}");
    let error = folded(&empty, Measure::Samples, &mut made).expect_err("nothing to write");
    assert!(error.to_string().starts_with("no samples"), "{error}");
    assert!(made.is_empty());
}

#[test]
fn a_full_disk_is_told() {
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    assert!(matches!(svg(&profile(), &title(), &SvgOptions::default(), Full), Err(RenderError::Write(_))));
    assert!(matches!(folded(&profile(), Measure::Samples, &mut Full), Err(RenderError::Write(_))));
}

#[test]
fn a_picture_has_a_bound() {
    let mut builder = ProfileBuilder::new();
    for n in 0..3000u64 {
        let frames =
            [builder.frame(Frame::function("main")), builder.frame(Frame::function(&format!("leaf_{n}")))];
        let samples = if n < 10 { 100 } else { 1 };
        builder.add(frames, Owner { thread: 1, vcpu: 0 }, Amount { samples, weight: 0 });
    }
    let profile = builder.finish();
    let rectangles = |options: &SvgOptions| {
        let mut made = Vec::new();
        svg(&profile, &title(), options, &mut made).expect("it draws");
        String::from_utf8_lossy(&made).matches("<title>").count()
    };
    // With the frame of the whole: `all`.
    assert_eq!(rectangles(&SvgOptions { max_frames: 100, ..SvgOptions::default() }), 12);
    assert_eq!(rectangles(&SvgOptions { max_frames: 4000, ..SvgOptions::default() }), 3002);
}

/// What a damaged recording has to say is longer than a picture is wide.
#[test]
fn no_line_leaves_the_picture() {
    let title = Title { guest: "g".repeat(500), notes: vec!["n".repeat(500)], ..title() };
    let mut made = Vec::new();
    svg(&profile(), &title, &SvgOptions::default(), &mut made).expect("it draws");
    let made = String::from_utf8(made).expect("SVG is text");
    for (id, length) in [("title", 116), ("subtitle", 164)] {
        let (_, rest) = made.split_once(&format!("<text id=\"{id}\"")).expect(id);
        let (_, text) = rest.split_once('>').expect("an element");
        let text = text.split_once("</text>").expect("its end").0.replace("&apos;", "'");
        assert_eq!((text.chars().count(), text.ends_with('…')), (length, true), "{text}");
    }
}
