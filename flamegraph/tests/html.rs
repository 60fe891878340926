//! The page that holds a profile and its viewer, as bytes; `tests/` opens it in a browser.

use std::time::Duration;

use uniprof_flamegraph::{
    Amount, Frame, HtmlOptions, Owner, Profile, ProfileBuilder, RenderError, Title, html,
};

const HOSTILE: [&str; 5] = [
    "</script><img src=x onerror=alert(1)>",
    "<!--<script>",
    "\"},{{data}}{{script}}",
    "]]>&lt;&quot;\u{2028}\\",
    "\u{202e}gpj.exe",
];

fn profile() -> Profile {
    let mut builder = ProfileBuilder::new();
    for (thread, name) in HOSTILE.iter().enumerate() {
        let thread = thread as u32;
        let frames = [builder.thread(thread, name), builder.frame(Frame::function(name).at(name, u32::MAX))];
        builder.add(frames, Owner { thread, vcpu: 0 }, Amount { samples: 10, weight: u64::MAX / 8 });
    }
    builder.finish()
}

fn title() -> Title {
    let text = HOSTILE.concat();
    Title {
        guest: text.clone(),
        build_id: Some(text.clone()),
        rate: Some(f64::NAN),
        duration: Some(Duration::MAX),
        samples: 50,
        loss: Some(vec![(text.clone(), u64::MAX)]),
        own_cost: Some(f64::INFINITY),
        notes: vec![text],
        ..Title::default()
    }
}

fn page(profile: &Profile) -> String {
    let mut made = Vec::new();
    html(profile, &title(), &HtmlOptions::default(), &mut made).expect("it writes");
    String::from_utf8(made).expect("a page is text")
}

#[test]
fn no_name_becomes_markup() {
    let made = page(&profile());
    // Five elements of data and the viewer.
    assert_eq!(made.matches("<script").count(), 6);
    assert_eq!(made.matches("</script>").count(), 6);
    assert!(!made.contains("<img") && !made.contains("<!--"));
    assert!(made.contains("\\u003c/script\\u003e\\u003cimg"));
}

#[test]
fn the_same_profile_is_the_same_page() {
    assert!(page(&profile()) == page(&profile()));
}

#[test]
fn only_what_the_samples_need_is_written() {
    let all = page(&profile());
    let one = page(&profile().filter(|owner| owner.thread == 3));
    let strings = |page: &str| {
        let (_, rest) =
            page.split_once("<script id=\"data-strings\" type=\"application/json\">").expect("strings");
        rest.split_once("</script>").expect("an end").0.matches("\",\"").count() + 1
    };
    assert_eq!((strings(&all), strings(&one)), (HOSTILE.len(), 1));
}

#[test]
fn no_samples_no_bytes() {
    let mut made = Vec::new();
    let empty = profile().filter(|_| false);
    let error = html(&empty, &title(), &HtmlOptions::default(), &mut made).expect_err("nothing to show");
    assert!(matches!(error, RenderError::NoSamples), "{error}");
    assert!(made.is_empty());
}

#[test]
fn a_full_disk_is_told() {
    struct Full(usize);
    impl std::io::Write for Full {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(std::io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    for room in [0, 1000, page(&profile()).len() - 1] {
        let error = html(&profile(), &title(), &HtmlOptions::default(), Full(room)).expect_err("no room");
        assert!(matches!(error, RenderError::Write(_)), "{error}");
    }
}
