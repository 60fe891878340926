//! Profiles of what is no sample: their figures have the right names and units everywhere.

use uniprof_flamegraph::diff::{Basis, DiffOptions, Verdict, compare};
use uniprof_flamegraph::{
    Amount, Frame, HtmlOptions, Measure, Measured, Owner, Profile, ProfileBuilder, SvgOptions, TimedSample,
    Title, Width, html, pprof, speedscope, svg,
};

fn waits() -> Profile {
    let mut builder = ProfileBuilder::of(Measured::OffCpu);
    let thread = builder.thread(1, "worker");
    let wait = builder.frame(Frame::function("wait"));
    let timer = builder.frame(Frame::note("[woken by an interrupt]"));
    let other = builder.frame(Frame::note("[woken by kv-0]"));
    let owner = Owner { thread: 1, vcpu: 0 };
    builder.add([thread, wait, timer], owner, Amount { samples: 3, weight: 30_000_000 });
    builder.add([thread, wait, other], owner, Amount { samples: 1, weight: 2_000_000 });
    builder.finish()
}

fn title(profile: &Profile) -> Title {
    let total = profile.total();
    let measured = profile.measured();
    let loss = Some(vec![("overwritten".to_owned(), 0)]);
    Title {
        guest: "kv".into(),
        measured,
        samples: total.samples,
        weight: total.weight,
        rate: Some(99.0),
        loss,
        ..Title::default()
    }
}

#[test]
fn a_title_says_what_was_measured() {
    let title = title(&waits());
    assert_eq!(title.heading(), "kv: 32.0 ms blocked time in 4 waits");
    assert_eq!(title.details(), "no record lost");
}

#[test]
fn what_is_measured_in_a_note_is_its_callers() {
    let functions = waits().functions(Measure::Weight);
    assert_eq!(functions.len(), 1);
    let wait = &functions[0];
    assert_eq!((wait.name.as_str(), wait.own.weight, wait.total.weight), ("wait", 32_000_000, 32_000_000));
}

/// Above the note is who ended the wait, and that takes nothing away from the function that waited.
#[test]
fn what_is_told_above_a_note_belongs_to_the_function_below_the_first() {
    let mut builder = ProfileBuilder::of(Measured::Wakeups);
    let [thread, note] = [builder.thread(1, "worker"), builder.frame(Frame::note("[woken by kv-0]"))];
    let [wait, wake, entry] = ["wait", "wake", "entry"].map(|name| builder.frame(Frame::function(name)));
    let owner = Owner { thread: 1, vcpu: 0 };
    builder.add([thread, entry, wait, note, wake, entry], owner, Amount { samples: 1, weight: 5 });
    let functions = builder.finish().functions(Measure::Weight);
    let own: Vec<_> =
        functions.iter().map(|one| (one.name.as_str(), one.own.weight, one.total.weight)).collect();
    assert_eq!(own, [("wait", 5, 5), ("entry", 0, 5), ("wake", 0, 5)]);
}

#[test]
fn differences_are_of_the_function_that_waited_and_of_its_time() {
    let profile = |weights: [u64; 2]| {
        let mut builder = ProfileBuilder::of(Measured::OffCpu);
        let [one, other] = ["one", "other"].map(|name| builder.frame(Frame::function(name)));
        let note = builder.frame(Frame::note("[woken by an interrupt]"));
        let owner = Owner { thread: 1, vcpu: 0 };
        for at in 0..400 {
            for (function, weight) in [(one, weights[0]), (other, weights[1])] {
                let weight = weight + at % 7;
                let stack = builder.add([function, note], owner, Amount { samples: 1, weight }).unwrap();
                builder.keep_time(TimedSample { at, stack, owner, weight });
            }
        }
        builder.finish()
    };
    let options = DiffOptions { basis: Basis::Busy, ..DiffOptions::default() };
    let (before, after) = (profile([100, 300]), profile([300, 100]));
    let changed = compare(&before, &after, &options);
    let verdicts: Vec<_> = changed.functions.iter().map(|one| (one.name.as_str(), one.own.verdict)).collect();
    assert_eq!(verdicts.len(), 2);
    assert!(verdicts.contains(&("one", Verdict::Grown)) && verdicts.contains(&("other", Verdict::Shrunk)));
    let same = compare(&before, &before, &options);
    assert!(same.functions.iter().all(|one| one.own.verdict == Verdict::Same));
    // By their number nothing has changed.
    let counted = compare(&before, &after, &DiffOptions::default());
    assert!(counted.functions.iter().all(|one| one.own.verdict == Verdict::Same));
}

#[test]
fn pictures_and_files_name_the_unit() {
    let profile = waits();
    let title = title(&profile);
    let mut picture = Vec::new();
    svg(&profile, &title, &SvgOptions { width: Width::Time, ..SvgOptions::default() }, &mut picture).unwrap();
    let picture = String::from_utf8(picture).unwrap();
    assert!(picture.contains("[woken by an interrupt] (30,000 µs, 93.75%)"), "{picture}");
    let mut page = Vec::new();
    html(&profile, &title, &HtmlOptions::default(), &mut page).unwrap();
    let page = String::from_utf8(page).unwrap();
    assert!(page.contains(r#""one":"wait","several":"waits","weight":"blocked time","unit":"nanoseconds""#));
    let mut file = Vec::new();
    pprof(&profile, &title, &mut file).unwrap();
    let mut text = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&file[..]), &mut text).unwrap();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(text.contains("off_cpu") && text.contains("nanoseconds") && text.contains("waits"));
    assert!(!text.contains("samples") && !text.contains("cpu\0"));
    // Who ended a wait is a label, not the function at the end of the stack.
    assert!(text.contains("woken by kv-0") && !text.contains("[woken by"), "{text}");
}

#[test]
fn bytes_are_bytes() {
    let mut builder = ProfileBuilder::of(Measured::LiveHeap);
    let grow = builder.frame(Frame::function("grow"));
    builder.add([grow], Owner { thread: 1, vcpu: 0 }, Amount { samples: 2, weight: 1 << 20 });
    let profile = builder.finish();
    let title = title(&profile);
    assert_eq!(title.heading(), "kv: 1.05 MB live bytes in 2 sampled blocks");
    let mut picture = Vec::new();
    svg(&profile, &title, &SvgOptions { width: Width::Time, ..SvgOptions::default() }, &mut picture).unwrap();
    assert!(String::from_utf8(picture).unwrap().contains("grow (1,048,576 bytes, 100.00%)"));
    let mut file = Vec::new();
    speedscope(&profile, &title, &mut file).unwrap();
    assert!(String::from_utf8(file).unwrap().contains(r#""unit":"bytes""#));
}
