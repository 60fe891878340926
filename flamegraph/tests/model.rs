//! The profile model, against sums made by hand or by slower means.

use proptest::collection::vec;
use proptest::prelude::*;
use uniprof_flamegraph::{
    Amount, CallTree, Direction, Frame, FrameId, Image, Limits, Measure, Order, Owner, Profile,
    ProfileBuilder, Pruned, TimedSample, widest,
};

const NAMES: [&str; 6] = ["main", "serve", "parse", "hash", "insert", "walk"];

fn profile(stacks: &[(&[&str], u64)]) -> Profile {
    let mut builder = ProfileBuilder::new();
    for (index, (stack, samples)) in stacks.iter().enumerate() {
        let frames: Vec<FrameId> = stack.iter().map(|name| builder.frame(Frame::function(name))).collect();
        let owner = Owner { thread: 1, vcpu: index as u32 % 2 };
        builder.add(frames, owner, Amount { samples: *samples, weight: samples * 10 });
    }
    builder.finish()
}

fn shape(profile: &Profile, tree: &CallTree) -> Vec<String> {
    tree.nodes()
        .iter()
        .map(|node| {
            let name = node.frame.map_or("[others]", |id| profile.frame(id).name);
            format!("{}{name} {}/{}", " ".repeat(node.depth as usize), node.own.samples, node.total.samples)
        })
        .collect()
}

#[test]
fn recursion_counts_once_in_the_total() {
    let profile = profile(&[(&["main", "walk", "walk", "walk"], 3), (&["main", "walk", "hash", "walk"], 2)]);
    let table = profile.functions(Measure::Samples);
    let line = |name: &str| {
        let row = table.iter().find(|row| row.name == name).expect(name);
        (row.own.samples, row.total.samples)
    };
    assert_eq!(line("walk"), (5, 5));
    assert_eq!(line("hash"), (0, 2));
    assert_eq!(line("main"), (0, 5));
}

#[test]
fn a_thread_is_no_function() {
    let mut builder = ProfileBuilder::new();
    let frames = [builder.frame(Frame::thread("worker")), builder.frame(Frame::function("main"))];
    builder.add(frames, Owner { thread: 1, vcpu: 0 }, Amount::sample(1));
    let names: Vec<_> =
        builder.finish().functions(Measure::Samples).into_iter().map(|function| function.name).collect();
    assert_eq!(names, ["main"]);
}

#[test]
fn lines_do_not_divide_the_tree_but_inlining_does() {
    let mut builder = ProfileBuilder::new();
    let owner = Owner { thread: 1, vcpu: 0 };
    let main = builder.frame(Frame::function("main"));
    for line in [3, 4] {
        let hash = builder.frame(Frame::function("hash").at("hash.rs", line));
        builder.add([main, hash], owner, Amount::sample(1));
    }
    let inlined = builder.frame(Frame::function("hash").at("hash.rs", 3).inlined());
    builder.add([main, inlined], owner, Amount::sample(1));
    let profile = builder.finish();
    let tree = CallTree::new(&profile, Direction::Callees, Order::Name);
    assert_eq!(shape(&profile, &tree), ["main 0/3", " hash 2/2", " hash 1/1"]);
    assert_eq!(profile.functions(Measure::Samples)[0].total.samples, 3);
}

#[test]
fn the_tree_has_an_order() {
    let profile = profile(&[(&["main", "hash"], 1), (&["main", "parse"], 5), (&["main"], 2)]);
    let tree = CallTree::new(&profile, Direction::Callees, Order::Name);
    assert_eq!(shape(&profile, &tree), ["main 2/8", " hash 1/1", " parse 5/5"]);
    let tree = CallTree::new(&profile, Direction::Callees, Order::Heaviest(Measure::Weight));
    assert_eq!(shape(&profile, &tree), ["main 2/8", " parse 5/5", " hash 1/1"]);
    let tree = CallTree::new(&profile, Direction::Callers, Order::Heaviest(Measure::Samples));
    assert_eq!(shape(&profile, &tree), ["parse 0/5", " main 5/5", "main 2/2", "hash 0/1", " main 1/1"]);
}

#[test]
fn pruning_says_what_it_took() {
    let profile = profile(&[
        (&["main", "serve", "parse"], 90),
        (&["main", "serve", "hash", "walk"], 4),
        (&["main", "serve", "insert"], 3),
        (&["walk", "hash"], 3),
    ]);
    let mut tree = CallTree::new(&profile, Direction::Callees, Order::Name);
    let report = tree.prune(Measure::Samples, 0.05, Pruned::Others);
    assert_eq!((report.nodes, report.amount.samples), (5, 10));
    let expected = ["main 0/97", " serve 0/97", "  parse 90/90", "  [others] 7/7", "[others] 3/3"];
    assert_eq!(shape(&profile, &tree), expected);

    let mut tree = CallTree::new(&profile, Direction::Callees, Order::Name);
    tree.prune(Measure::Samples, 0.05, Pruned::IntoParent);
    assert_eq!(shape(&profile, &tree), ["main 0/97", " serve 7/97", "  parse 90/90"]);
}

#[test]
fn a_filter_keeps_what_was_sampled_there() {
    let profile = profile(&[(&["main", "hash"], 1), (&["main", "parse"], 5)]);
    let second = profile.filter(|owner| owner.vcpu == 1);
    assert_eq!(second.total(), Amount { samples: 5, weight: 50 });
    let tree = CallTree::new(&second, Direction::Callees, Order::Name);
    assert_eq!(shape(&second, &tree), ["main 0/5", " parse 5/5"]);
    assert_eq!(profile.owners().len(), 2);
}

proptest! {
    /// Sums of the tree and of the table, against the stacks that they were made of.
    #[test]
    fn sums_agree(stacks in vec((vec(0..NAMES.len(), 1..8), 1u64..50), 1..40), share in 0.0f64..0.5) {
        let named: Vec<(Vec<&str>, u64)> =
            stacks.iter().map(|(stack, samples)| (stack.iter().map(|i| NAMES[*i]).collect(), *samples)).collect();
        let lent: Vec<(&[&str], u64)> = named.iter().map(|(stack, samples)| (&stack[..], *samples)).collect();
        let profile = profile(&lent);
        let all: u64 = stacks.iter().map(|(_, samples)| samples).sum();
        prop_assert_eq!(profile.total().samples, all);
        for row in profile.functions(Measure::Samples) {
            let holds = |wanted: &dyn Fn(&[&str]) -> bool| -> u64 {
                named.iter().filter(|(stack, _)| wanted(stack)).map(|(_, samples)| samples).sum()
            };
            prop_assert_eq!(row.own.samples, holds(&|stack| stack.last() == Some(&row.name.as_str())));
            prop_assert_eq!(row.total.samples, holds(&|stack| stack.contains(&row.name.as_str())));
        }
        for direction in [Direction::Callees, Direction::Callers] {
            for how in [Pruned::Others, Pruned::IntoParent] {
                let mut tree = CallTree::new(&profile, direction, Order::Name);
                let roots: u64 = tree.nodes().iter().filter(|n| n.depth == 0).map(|n| n.total.samples).sum();
                prop_assert_eq!(roots, all);
                let before = tree.nodes().len();
                let report = tree.prune(Measure::Samples, share, how);
                let own: u64 = tree.nodes().iter().map(|n| n.own.samples).sum();
                let kept = tree.nodes().iter().filter(|n| n.frame.is_some()).count();
                prop_assert_eq!(kept + report.nodes, before);
                let roots: u64 = tree.nodes().iter().filter(|n| n.depth == 0).map(|n| n.total.samples).sum();
                prop_assert_eq!(own, roots);
                if how == Pruned::Others {
                    prop_assert_eq!(own, all);
                }
            }
        }
    }

    /// The widest paths, against the whole tree with the narrow ones taken out.
    #[test]
    fn the_widest_paths_are_those_of_the_tree(
        stacks in vec((vec(0..NAMES.len(), 1..8), 1u64..50, 1u32..4), 1..40),
        min_share in 0.0f64..0.3,
        max_paths in 1usize..60,
        callers in any::<bool>(),
    ) {
        let mut builder = ProfileBuilder::new();
        for (stack, samples, line) in &stacks {
            let frames: Vec<FrameId> =
                stack.iter().map(|name| builder.frame(Frame::function(NAMES[*name]).at("f", *line))).collect();
            let owner = Owner { thread: *line, vcpu: 0 };
            builder.add(frames, owner, Amount { samples: *samples, weight: samples << 33 });
        }
        let profile = builder.finish();
        let direction = if callers { Direction::Callers } else { Direction::Callees };
        for measure in [Measure::Samples, Measure::Weight] {
            let mut tree = CallTree::new(&profile, direction, Order::Name);
            let all = measure.of(tree.total()) as f64;
            let mut totals: Vec<u64> = tree.nodes().iter().map(|node| measure.of(node.total)).collect();
            totals.sort_unstable();
            let too_many = totals.iter().rev().nth(max_paths);
            let share = min_share.max(too_many.map_or(0.0, |total| (*total as f64 + 0.5) / all));
            let cut = tree.prune(measure, share, Pruned::IntoParent);
            let expected: Vec<_> = tree
                .nodes()
                .iter()
                .map(|node| (node.depth, profile.frame(node.frame.unwrap()).name, measure.of(node.own), measure.of(node.total)))
                .collect();
            let found = widest(&profile, direction, measure, Limits { min_share, max_paths });
            let paths: Vec<_> = found
                .paths
                .iter()
                .map(|path| (path.depth, profile.frame(path.frame).name, path.own, path.total))
                .collect();
            prop_assert_eq!(paths, expected);
            prop_assert_eq!(found.left_out, measure.of(cut.amount));
        }
    }
}

#[test]
fn times_are_kept_in_order_and_filtered_with_their_samples() {
    let mut builder = ProfileBuilder::new();
    let image = builder.image(Image { name: "kernel".into(), range: 0x1000..0x2000, ..Image::default() });
    let root = builder.thread(7, "worker");
    let leaf = builder.frame(Frame::function("serve").located(Some(image), 0x1234));
    for (at, vcpu) in [(30, 0), (10, 1), (20, 0)] {
        let owner = Owner { thread: 7, vcpu };
        let stack = builder.add([root, leaf], owner, Amount::sample(5)).unwrap();
        builder.keep_time(TimedSample { at, stack, owner, weight: 5 });
    }
    let profile = builder.finish();
    let times =
        |profile: &Profile| -> Vec<u64> { profile.timeline().iter().map(|sample| sample.at).collect() };
    assert_eq!(times(&profile), [10, 20, 30]);
    assert_eq!(times(&profile.filter(|owner| owner.vcpu == 0)), [20, 30]);
    assert_eq!(profile.thread_name(7), Some("worker"));
    assert_eq!(profile.thread_name(8), None);
    assert_eq!(profile.frame(leaf).image.map(|id| profile.image(id).name.as_str()), Some("kernel"));
}
