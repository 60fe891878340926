//! What is written as folded stacks reads back as the same stacks, whatever the names; and any bytes end in an answer.

use proptest::collection::vec;
use proptest::prelude::*;
use uniprof_flamegraph::{
    Amount, Frame, FrameId, Measure, Owner, Profile, ProfileBuilder, folded, read_folded,
};

/// Names as languages and people make them: blanks, numbers, `;`, marks of the format itself, no-break spaces.
fn name() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        Just("serve".to_owned()),
        Just("<kv::Tree as core::ops::Drop>::drop".to_owned()),
        Just("operator new(unsigned long, int)".to_owned()),
        Just("worker 7".to_owned()),
        Just("# 1".to_owned()),
        Just("a;b".to_owned()),
        Just("[unknown: outside the image]".to_owned()),
        Just("\u{a0}3".to_owned()),
        "[ -~\u{a0}-\u{ff}]{0,12}",
        "\\PC{0,8}",
    ];
    vec(part, 1..3).prop_map(|parts| parts.concat())
}

fn text(profile: &Profile) -> String {
    let mut out = Vec::new();
    folded(profile, Measure::Samples, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

proptest! {
    #[test]
    fn what_was_written_reads_back(stacks in vec((vec((name(), any::<bool>()), 1..6), 1..1_000_000u64), 1..20)) {
        let mut builder = ProfileBuilder::new();
        for (index, (names, samples)) in stacks.iter().enumerate() {
            let frames: Vec<FrameId> = names.iter().map(|(name, inlined)| {
                let frame = Frame::function(name);
                builder.frame(if *inlined { frame.inlined() } else { frame })
            }).collect();
            let owner = Owner { thread: index as u32 % 3, vcpu: index as u32 % 2 };
            builder.add(frames, owner, Amount { samples: *samples, weight: 0 });
        }
        let written = text(&builder.finish());
        let read = read_folded(written.as_bytes()).unwrap();
        prop_assert_eq!(read.skipped, 0, "{:?}", read.first_skipped);
        let again = text(&read.profile);
        // Names that become equal once their marks are read (`f (inlined)` and the inlined `f`) are one line then.
        let lines = |text: &str| {
            let mut sums = std::collections::BTreeMap::<String, u64>::new();
            for line in text.lines() {
                let (stack, count) = line.rsplit_once(' ').unwrap();
                *sums.entry(stack.to_owned()).or_default() += count.parse::<u64>().unwrap();
            }
            sums
        };
        prop_assert_eq!(lines(&again), lines(&written));
    }

    #[test]
    fn any_bytes_end_in_an_answer(bytes in vec(any::<u8>(), 0..400)) {
        let _ = read_folded(&bytes[..]);
    }

    #[test]
    fn any_text_ends_in_an_answer(lines in vec("[a-c; #\t\r0-9]{0,20}", 0..20)) {
        let text = lines.join("\n");
        if let Ok(read) = read_folded(text.as_bytes()) {
            let counts = lines.iter().filter_map(|line| line.trim().rsplit([' ', '\t']).next()?.parse::<u64>().ok());
            prop_assert!(read.profile.total().samples <= counts.fold(0, u64::saturating_add));
        }
    }
}
