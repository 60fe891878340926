//! Folded stacks of any bytes: read in bounded memory, and what is written of them reads back as the same sums. Every export
//! that needs no times takes the profile, whatever names are in it.
#![no_main]

use std::collections::BTreeMap;
use std::io::{Write, sink};

use libfuzzer_sys::fuzz_target;
use uniprof_flamegraph::{Measure, Profile, Title, firefox, folded, json, pprof, read_folded, speedscope};

fn text(profile: &Profile) -> String {
    let mut out = Vec::new();
    folded(profile, Measure::Samples, &mut out).expect("a profile that was read has samples");
    String::from_utf8(out).expect("folded text is UTF-8")
}

fn sums(text: &str) -> BTreeMap<&str, u64> {
    let mut sums = BTreeMap::<&str, u64>::new();
    for line in text.lines() {
        let (stack, count) = line.rsplit_once(' ').expect("a line ends in a count");
        let sum = sums.entry(stack).or_default();
        *sum = sum.saturating_add(count.parse().expect("a count is a number"));
    }
    sums
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(read) = read_folded(bytes) else { return };
    assert!(read.profile.total().samples > 0);
    assert!(read.skipped <= bytes.len() as u64);
    let written = text(&read.profile);
    let again = read_folded(written.as_bytes()).expect("what was written reads");
    assert_eq!(again.skipped, 0, "{:?}", again.first_skipped);
    let once_more = text(&again.profile);
    assert_eq!(sums(&once_more), sums(&written));
    let title = Title::default();
    let mut out: Box<dyn Write> = Box::new(sink());
    json(&read.profile, &title, &mut out).expect("json takes any profile");
    pprof(&read.profile, &title, &mut out).expect("pprof takes any profile");
    firefox(&read.profile, &title, &mut out).expect("firefox takes any profile");
    speedscope(&read.profile, &title, &mut out).expect("speedscope takes any profile");
});
