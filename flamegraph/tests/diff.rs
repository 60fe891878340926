//! Whether a difference that is called sure is one: many pairs of profiles whose truth is known, from fixed seeds.

use uniprof_flamegraph::diff::{
    Basis, Change, Comparison, DiffOptions, FunctionChange, Method, Verdict, compare,
};
use uniprof_flamegraph::{Amount, Frame, FrameId, Owner, Profile, ProfileBuilder, TimedSample};

/// What of many comparisons without a difference may be called one.
const FALSE_SHARE: f64 = 0.05;

/// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
struct Random(u64);

impl Random {
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((word ^ (word >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// An index, as often as its share says.
    fn pick(&mut self, shares: &[f64]) -> usize {
        let mut left = self.unit() * shares.iter().sum::<f64>();
        for (index, share) in shares.iter().enumerate() {
            left -= share;
            if left < 0.0 {
                return index;
            }
        }
        shares.len() - 1
    }
}

/// How samples follow one another.
#[derive(Clone, Copy, Debug)]
enum Program {
    /// Each sample by itself.
    Independent,
    /// On average as many samples in a row are of the same function.
    Bursts(f64),
    /// Two mixtures take turns; each lasts as many samples, up to half more or less.
    Phases(f64),
}

/// Functions of very different shares: from a third of all down to a thousandth.
fn shares() -> Vec<f64> {
    (1..=30).map(|rank| 1.0 / f64::from(rank).powf(1.3)).collect()
}

fn record(program: Program, shares: &[f64], samples: usize, random: &mut Random) -> Profile {
    let mut builder = ProfileBuilder::new();
    let main = builder.frame(Frame::function("main"));
    let groups = ["parse", "store", "send"].map(|name| builder.frame(Frame::function(name)));
    let functions: Vec<FrameId> = (0..shares.len())
        .map(|number| builder.frame(Frame::function(&format!("function_{number}"))))
        .collect();
    let owner = Owner { thread: 1, vcpu: 0 };
    let (mut current, mut left, mut odd) = (random.pick(shares), 0.0, false);
    for number in 0..samples {
        match program {
            Program::Independent => current = random.pick(shares),
            Program::Bursts(length) if random.unit() < 1.0 / length => current = random.pick(shares),
            Program::Bursts(_) => {}
            Program::Phases(length) => {
                if left <= 0.0 {
                    (left, odd) = (length * (0.5 + random.unit()), !odd);
                }
                left -= 1.0;
                let weighed: Vec<f64> = shares
                    .iter()
                    .enumerate()
                    .map(|(index, share)| if (index % 2 == 1) == odd { share * 3.0 } else { *share })
                    .collect();
                current = random.pick(&weighed);
            }
        }
        let stack = [main, groups[current % 3], functions[current]];
        if let Some(stack) = builder.add(stack, owner, Amount::sample(1_000_000)) {
            builder.keep_time(TimedSample { at: number as u64 * 1_000_000, stack, owner, weight: 1_000_000 });
        }
    }
    builder.finish()
}

fn changed(comparison: &Comparison) -> Vec<(&str, Verdict)> {
    let functions = comparison.functions.iter();
    functions
        .filter(|function| function.own.verdict != Verdict::Same)
        .map(|function| (function.name.as_str(), function.own.verdict))
        .collect()
}

/// The same samples without their times.
fn timeless(profile: &Profile) -> Profile {
    let mut builder = ProfileBuilder::new();
    for leaf in profile.leaves() {
        let mut names: Vec<&str> = profile.stack(leaf.stack).map(|id| profile.frame(id).name).collect();
        names.reverse();
        let stack: Vec<FrameId> =
            names.into_iter().map(|name| builder.frame(Frame::function(name))).collect();
        builder.add(stack, leaf.owner, leaf.amount);
    }
    builder.finish()
}

/// A least change of next to nothing, so that only statistics keeps noise from being called a difference.
const ANY_CHANGE: DiffOptions =
    DiffOptions { basis: Basis::Samples, confidence: 1.0 - FALSE_SHARE, min_change: 0.0001 };

/// In how many of `pairs` of recordings of the same program a function is called changed, a share of 0 to 1.
fn false_alarms(program: Program, samples: [usize; 2], pairs: usize, adapt: fn(Profile) -> Profile) -> f64 {
    let mut random = Random(42);
    let mut alarms = 0;
    for _ in 0..pairs {
        let [before, after] = samples.map(|samples| adapt(record(program, &shares(), samples, &mut random)));
        alarms += usize::from(!changed(&compare(&before, &after, &ANY_CHANGE)).is_empty());
    }
    alarms as f64 / pairs as f64
}

const AS_IT_IS: fn(Profile) -> Profile = |profile| profile;

#[test]
fn noise_is_not_called_a_difference() {
    for program in [Program::Independent, Program::Bursts(5.0), Program::Bursts(20.0), Program::Phases(50.0)]
    {
        for samples in [[1_000, 1_000], [500, 2_000]] {
            let rate = false_alarms(program, samples, 100, AS_IT_IS);
            assert!(rate <= FALSE_SHARE, "{program:?}, {samples:?}: {rate}");
        }
    }
}

#[test]
fn without_times_samples_are_taken_for_independent_ones() {
    let without_times = |profile: Profile| timeless(&profile);
    let rate = false_alarms(Program::Independent, [1_000, 1_000], 150, without_times);
    assert!(rate <= FALSE_SHARE, "{rate}");
    // What the times are good for.
    let rate = false_alarms(Program::Bursts(20.0), [1_000, 1_000], 50, without_times);
    assert!(rate > 0.5, "{rate}");
}

#[test]
fn five_points_are_found() {
    let mut random = Random(7);
    for (program, samples) in [(Program::Independent, 3_000), (Program::Bursts(5.0), 30_000)] {
        let pairs = 40;
        let [mut found, mut called, mut wrong] = [0; 3];
        for _ in 0..pairs {
            let before = shares();
            let all: f64 = before.iter().sum();
            let mut after: Vec<f64> = before.iter().map(|share| share / all * 0.95).collect();
            after[3] += 0.05;
            let before = record(program, &before, samples, &mut random);
            let after = record(program, &after, samples, &mut random);
            let comparison = compare(&before, &after, &DiffOptions::default());
            assert_eq!(comparison.method, Method::Blocks);
            let changed = changed(&comparison);
            found += usize::from(changed.contains(&("function_3", Verdict::Grown)));
            called += changed.len();
            // All the others shrank a little.
            let is_false = |(name, verdict): &&(&str, Verdict)| {
                *name != "function_3" && matches!(verdict, Verdict::Grown | Verdict::New)
            };
            wrong += changed.iter().filter(is_false).count();
        }
        assert!(found * 100 >= pairs * 95, "{program:?}: {found} of {pairs}");
        assert!(wrong * 20 <= called, "{program:?}: {wrong} of {called}");
    }
}

fn profile(stacks: &[(&[&str], u64)]) -> Profile {
    let mut builder = ProfileBuilder::new();
    for (stack, samples) in stacks {
        let frames: Vec<FrameId> = stack.iter().map(|name| builder.frame(Frame::function(name))).collect();
        let amount = Amount { samples: *samples, weight: samples * 1_000_000 };
        builder.add(frames, Owner { thread: 1, vcpu: 0 }, amount);
    }
    builder.finish()
}

fn function<'a>(comparison: &'a Comparison, name: &str) -> &'a FunctionChange {
    comparison.functions.iter().find(|function| function.name == name).expect(name)
}

#[test]
fn functions_and_stacks_are_matched_by_name() {
    let before = profile(&[(&["main", "walk", "walk"], 600), (&["main", "old"], 400)]);
    let after = profile(&[(&["main", "walk", "fresh"], 1_000), (&["main", "walk"], 1_000)]);
    let comparison = compare(&before, &after, &DiffOptions::default());
    assert_eq!(comparison.method, Method::Independent);
    let shares = |name: &str| {
        let function = function(&comparison, name);
        let pair = |change: &Change| (change.evidence.before.value, change.evidence.after.value);
        (pair(&function.own), pair(&function.total))
    };
    assert_eq!(shares("walk"), ((0.6, 0.5), (0.6, 1.0)), "recursion counts once");
    assert_eq!(shares("main"), ((0.0, 0.0), (1.0, 1.0)));
    let verdict = |name: &str| function(&comparison, name).total.verdict;
    assert_eq!(
        ["walk", "main", "old", "fresh"].map(verdict),
        [Verdict::Grown, Verdict::Same, Verdict::Gone, Verdict::New]
    );
    let stacks: Vec<_> =
        comparison.stacks.iter().map(|stack| (stack.frames.join(";"), stack.own.verdict)).collect();
    for stack in [
        ("main;walk;walk", Verdict::Gone),
        ("main;old", Verdict::Gone),
        ("main;walk;fresh", Verdict::New),
        ("main;walk", Verdict::New),
    ] {
        assert!(stacks.contains(&(stack.0.to_owned(), stack.1)), "{stacks:?}");
    }
    assert_eq!(
        compare(&before, &after, &DiffOptions::default()),
        comparison,
        "the same input, the same output"
    );
}

#[test]
fn growth_elsewhere_shrinks_shares_of_samples_but_not_of_time() {
    let before = profile(&[(&["main", "kept"], 5_000)]);
    let after = profile(&[(&["main", "kept"], 5_000), (&["main", "added"], 5_000)]);
    let verdict = |basis: Basis| {
        let options = DiffOptions { basis, ..DiffOptions::default() };
        function(&compare(&before, &after, &options), "kept").total.verdict
    };
    assert_eq!(verdict(Basis::Samples), Verdict::Shrunk);
    assert_eq!(verdict(Basis::Busy), Verdict::Shrunk);
    assert_eq!(verdict(Basis::Elapsed([10_000_000_000, 10_000_000_000])), Verdict::Same);
    // Twice as much in the same time of a recording that is half as long.
    assert_eq!(verdict(Basis::Elapsed([20_000_000_000, 10_000_000_000])), Verdict::Grown);
}

#[test]
fn empty_profiles_have_no_differences() {
    let (empty, some) = (profile(&[]), profile(&[(&["main"], 3)]));
    for basis in [Basis::Samples, Basis::Busy, Basis::Elapsed([0, 0])] {
        let options = DiffOptions { basis, ..DiffOptions::default() };
        assert!(compare(&empty, &empty, &options).functions.is_empty());
        let comparison = compare(&empty, &some, &options);
        assert_eq!(
            function(&comparison, "main").total.verdict,
            Verdict::Same,
            "of nothing, nothing is known"
        );
    }
}
