//! Text that is no expression, debug information and memory that are damaged: a sentence or a value, in bounded time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::oracle;
use proptest::prelude::*;
use uniprof_postmortem::print::{self, Limits};
use uniprof_postmortem::{LoadedImage, Program};
use uniprof_symbolizer::{Image, LoadBias, Tables};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn any_text_is_understood_or_refused(text in ".{0,80}") {
        refuse_or_understand(&text);
    }

    #[test]
    fn any_words_are_understood_or_refused(words in prop::collection::vec(
        prop::sample::select(vec!["a", "::", "<", ">", "(", ")", "[", "]", "..", "*", "&", "-", ".", "->", "as", "u8", "1", "0x", "'", "$rip", "{", "}", "const", "unsigned"]),
        0..24,
    )) {
        refuse_or_understand(&words.concat());
        refuse_or_understand(&words.join(" "));
    }
}

fn refuse_or_understand(text: &str) {
    if let Err(error) = print::check(text) {
        assert!(error.to_string().starts_with("the expression is not understood at column "), "{error}");
    }
}

#[test]
fn nesting_has_an_end() {
    for (open, inner, close) in
        [("(", "1", ")"), ("*", "a", ""), ("a[", "1", "]"), ("-", "1", ""), ("&[", "u8", "]")]
    {
        let text = [open.repeat(1000).as_str(), inner, close.repeat(1000).as_str()].concat();
        assert!(print::check(&text).is_err(), "{open}");
    }
    assert!(print::check(&"1".repeat(5000)).is_err());
    assert!(print::check(&"a.b".repeat(1000)).is_err());
}

/// Numbers that look random, the same in every run.
fn numbers(mut seed: u64) -> impl FnMut() -> u64 {
    move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    }
}

/// Whoever overwrites debug information gets other values, or sentences.
#[test]
fn damaged_debug_information_costs_no_more_than_time() {
    let mut session = oracle::c_program(&["-g"], &[]);
    let frame = session.frame(1);
    let file = std::fs::read(&session.program).unwrap();
    let sections = [".debug_info", ".debug_abbrev", ".debug_str", ".debug_loclists", ".debug_rnglists"];
    let places: Vec<_> = sections.iter().filter_map(|name| oracle::section(&file, name)).collect();
    assert!(places.len() >= 3);
    let mut next = numbers(0x1234_5678_9abc_def1);
    let mut different = 0;
    for round in 0..150 {
        let mut bytes = file.clone();
        for _ in 0..1 + round % 20 {
            let place = &places[next() as usize % places.len()];
            // What a compiler wrote of this program, not of the C library behind it.
            let near = (place.len() as u64).min(6000);
            bytes[place.start + (next() % near) as usize] = next() as u8;
        }
        let Ok(image) = Image::parse(bytes) else { continue };
        let image = LoadedImage { name: String::new(), image: Arc::new(image), bias: LoadBias::NONE };
        session.subject.program = Program::new(vec![image], &Tables::default());
        let begun = Instant::now();
        for text in ["listener", "last.next", "*packet", "matrix[1]", "(struct packet*)4096", "mode"] {
            let found = print::evaluate(&mut session.subject, Some(&frame), text);
            let text = found.map_or_else(|error| error.to_string(), |value| value.to_string());
            assert!(!text.is_empty());
        }
        let found = print::locals_within(&mut session.subject, &frame, Limits::FULL);
        different += usize::from(found.map_or(0, |found| found.len()) != 8);
        assert!(begun.elapsed() < Duration::from_secs(20), "round {round}");
    }
    assert!(different > 10, "hardly anything was damaged: {different}");
}
