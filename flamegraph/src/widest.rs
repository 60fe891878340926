//! The widest call paths of a profile, found without making a tree of all of them.
//!
//! A picture has room for some thousand frames, a profile may have millions of call paths. Sums are made over the interned
//! stacks, then the widest path is taken again and again, and only what was taken is opened: a callee is never wider than
//! its caller, so this takes exactly the widest ones. Paths that look alike are merged as they are opened, as
//! [`CallTree`](crate::CallTree) merges them.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use rustc_hash::FxHashMap;

use crate::profile::{FrameId, Node, Profile};
use crate::tree::{Direction, Measure};

/// How many call paths are wanted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Paths with less than this share (0 to 1) of all are left out.
    pub min_share: f64,
    /// No more paths than this; of several that are as wide, none or all.
    pub max_paths: usize,
}

/// One call path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WidePath {
    /// 0 at the root of a stack.
    pub depth: u32,
    /// A frame with the name at the end of the path; its line is that of one of the merged frames.
    pub frame: FrameId,
    /// What was sampled at its end, and in all that it led to and that was left out.
    pub own: u64,
    /// What was sampled in it and all that it led to.
    pub total: u64,
}

/// What [`widest`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Widest {
    /// Depth first, siblings by name: a path's callees follow it and are deeper.
    pub paths: Vec<WidePath>,
    /// What was sampled in the paths that were left out; those at the root of a stack are in no other path.
    pub left_out: u64,
}

/// The widest call paths of `profile`, in the figure that `measure` says.
#[must_use]
pub fn widest(profile: &Profile, direction: Direction, measure: Measure, limits: Limits) -> Widest {
    match direction {
        // Samples fit 32 bits, nanoseconds of more than four seconds do not; half the memory is a third of the time.
        Direction::Callees if u32::try_from(measure.of(profile.total())).is_ok() => {
            search(profile, &Callees::<u32>::new(profile, measure), limits)
        }
        Direction::Callees => search(profile, &Callees::<u64>::new(profile, measure), limits),
        Direction::Callers => search(profile, &Callers { profile, measure }, limits),
    }
}

/// A part of a path's value: a place among the interned stacks, and how much of it counts here.
#[derive(Debug, Clone, Copy)]
struct Part {
    place: u32,
    value: u64,
}

/// Where paths begin, and how they go on.
trait Paths {
    /// Hands on the parts of all paths of one frame.
    fn roots(&self, visit: impl FnMut(Part));
    /// Hands on the parts of all paths that go one frame further than `part`.
    fn further(&self, part: Part, visit: impl FnMut(Part));
}

const NONE: u32 = u32::MAX;

/// A total in as many bytes as the largest one needs.
trait Total: Copy + Default {
    fn plus(self, value: u64) -> Self;
    fn value(self) -> u64;
}

impl Total for u32 {
    fn plus(self, value: u64) -> Self {
        u32::try_from(value).map_or(u32::MAX, |value| self.saturating_add(value))
    }

    fn value(self) -> u64 {
        self.into()
    }
}

impl Total for u64 {
    fn plus(self, value: u64) -> Self {
        self.saturating_add(value)
    }

    fn value(self) -> u64 {
        self
    }
}

/// From the threads' entries to the leaves.
///
/// A stack that is added brings its new frames one after the other, so most places are children of the place before. Only
/// the others are listed.
struct Callees<'a, T> {
    profile: &'a Profile,
    totals: Vec<T>,
    /// Parent and child, sorted; the parent of a root is [`NONE`].
    branches: Vec<(u32, u32)>,
}

impl<'a, T: Total> Callees<'a, T> {
    fn new(profile: &'a Profile, measure: Measure) -> Self {
        let mut totals = vec![T::default(); profile.nodes.len()];
        for leaf in &profile.leaves {
            let total = &mut totals[leaf.stack.0 as usize];
            *total = total.plus(measure.of(leaf.amount));
        }
        let mut branches = Vec::new();
        // A parent lies before its children: from the back, a place is whole when it is reached.
        for place in (0..totals.len()).rev() {
            let total = totals[place].value();
            let parent = profile.nodes[place].parent.map_or(NONE, |parent| parent.0);
            if let Some(sum) = totals.get_mut(parent as usize) {
                *sum = sum.plus(total);
            }
            if total > 0 && parent.wrapping_add(1) != place as u32 {
                branches.push((parent, place as u32));
            }
        }
        branches.sort_unstable();
        Self { profile, totals, branches }
    }

    fn branches(&self, parent: u32, mut visit: impl FnMut(Part)) {
        let first = self.branches.partition_point(|(other, _)| *other < parent);
        let of_parent = self.branches[first..].iter().take_while(|(other, _)| *other == parent);
        of_parent.for_each(|(_, place)| visit(self.part(*place)));
    }

    fn part(&self, place: u32) -> Part {
        Part { place, value: self.totals[place as usize].value() }
    }
}

impl<T: Total> Paths for Callees<'_, T> {
    fn roots(&self, mut visit: impl FnMut(Part)) {
        // The place after `NONE` is the first.
        if self.totals.first().is_some_and(|total| total.value() > 0) {
            visit(self.part(0));
        }
        self.branches(NONE, visit);
    }

    fn further(&self, part: Part, mut visit: impl FnMut(Part)) {
        let next = part.place + 1;
        let is_child = |node: &Node| node.parent.is_some_and(|parent| parent.0 == part.place);
        if self.profile.nodes.get(next as usize).is_some_and(is_child) && self.part(next).value > 0 {
            visit(self.part(next));
        }
        self.branches(part.place, visit);
    }
}

/// From the leaves to the threads' entries.
struct Callers<'a> {
    profile: &'a Profile,
    measure: Measure,
}

impl Paths for Callers<'_> {
    fn roots(&self, mut visit: impl FnMut(Part)) {
        for leaf in &self.profile.leaves {
            visit(Part { place: leaf.stack.0, value: self.measure.of(leaf.amount) });
        }
    }

    fn further(&self, part: Part, mut visit: impl FnMut(Part)) {
        if let Some(parent) = self.profile.nodes[part.place as usize].parent {
            visit(Part { place: parent.0, value: part.value });
        }
    }
}

/// A path that was found, and is opened if its turn comes.
struct Open {
    total: u64,
    parent: u32,
    frame: FrameId,
    parts: Vec<Part>,
}

impl PartialEq for Open {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Open {}

impl PartialOrd for Open {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Open {
    fn cmp(&self, other: &Self) -> Ordering {
        self.total.cmp(&other.total)
    }
}

/// A path that was taken. `own` is what was sampled at its very end.
struct Taken {
    parent: u32,
    frame: FrameId,
    own: u64,
    total: u64,
}

fn search(profile: &Profile, source: &impl Paths, limits: Limits) -> Widest {
    let mut groups = Groups::new(profile);
    source.roots(|part| groups.add(part));
    let all = groups.all;
    let floor = ((all as f64 * limits.min_share).ceil() as u64).max(1);
    let mut pending = BinaryHeap::new();
    groups.open(NONE, floor, &mut pending);
    let mut taken: Vec<Taken> = Vec::new();
    while let Some(path) = pending.pop() {
        if taken.len() == limits.max_paths {
            // One more than there is room for: it goes, and with it those that are no wider.
            taken.truncate(taken.partition_point(|other| other.total > path.total));
            break;
        }
        for part in &path.parts {
            source.further(*part, |part| groups.add(part));
        }
        let own = path.total.saturating_sub(groups.all);
        groups.open(taken.len() as u32, floor, &mut pending);
        taken.push(Taken { parent: path.parent, frame: path.frame, own, total: path.total });
    }
    let shown = taken.iter().fold(0u64, |sum, path| sum.saturating_add(path.own));
    Widest { paths: depth_first(profile, &taken), left_out: all.saturating_sub(shown) }
}

/// The parts of the paths that go on from one path, sorted out by what their last frame looks like.
struct Groups<'a> {
    profile: &'a Profile,
    /// For each frame a number that is equal for frames that look alike.
    classes: Vec<u32>,
    /// By class: the sum of its parts, and where the path is that is made of them.
    groups: Vec<(u64, u32)>,
    parts: Vec<(Part, u32)>,
    /// The sum over all classes.
    all: u64,
}

impl<'a> Groups<'a> {
    fn new(profile: &'a Profile) -> Self {
        let mut known = FxHashMap::default();
        let mut classes = Vec::with_capacity(profile.frames.len());
        for frame in &profile.frames {
            let next = known.len() as u32;
            classes.push(*known.entry((frame.name, frame.inlined, frame.kind)).or_insert(next));
        }
        Self { profile, classes, groups: vec![(0, NONE); known.len()], parts: Vec::new(), all: 0 }
    }

    fn add(&mut self, part: Part) {
        let class = self.classes[self.profile.nodes[part.place as usize].frame.0 as usize];
        let sum = &mut self.groups[class as usize].0;
        *sum = sum.saturating_add(part.value);
        self.all = self.all.saturating_add(part.value);
        self.parts.push((part, class));
    }

    /// Makes a path of each class whose sum reaches `floor`, and starts anew.
    fn open(&mut self, parent: u32, floor: u64, pending: &mut BinaryHeap<Open>) {
        let mut found: Vec<Open> = Vec::new();
        for (part, class) in &self.parts {
            let (total, at) = &mut self.groups[*class as usize];
            if *total < floor {
                continue;
            }
            if *at == NONE {
                *at = found.len() as u32;
                let frame = self.profile.nodes[part.place as usize].frame;
                found.push(Open { total: *total, parent, frame, parts: Vec::new() });
            }
            found[*at as usize].parts.push(*part);
        }
        for (_, class) in self.parts.drain(..) {
            self.groups[class as usize] = (0, NONE);
        }
        self.all = 0;
        pending.extend(found);
    }
}

fn depth_first(profile: &Profile, taken: &[Taken]) -> Vec<WidePath> {
    let mut children: Vec<Vec<u32>> = vec![Vec::new(); taken.len()];
    let mut roots = Vec::new();
    for (index, path) in taken.iter().enumerate() {
        children.get_mut(path.parent as usize).unwrap_or(&mut roots).push(index as u32);
    }
    // From the last name to the first: the last of those that wait comes next.
    let sort = |siblings: &mut Vec<u32>| {
        siblings.sort_unstable_by(|a, b| {
            let key = |index: u32| {
                let frame = profile.frame(taken[index as usize].frame);
                (frame.name, frame.inlined, frame.kind)
            };
            key(*b).cmp(&key(*a))
        });
    };
    sort(&mut roots);
    let mut waiting: Vec<(u32, u32)> = roots.into_iter().map(|index| (index, 0)).collect();
    let mut paths = Vec::with_capacity(taken.len());
    while let Some((index, depth)) = waiting.pop() {
        let Taken { frame, total, .. } = taken[index as usize];
        let mut below = std::mem::take(&mut children[index as usize]);
        sort(&mut below);
        let shown = below.iter().fold(0u64, |sum, child| sum.saturating_add(taken[*child as usize].total));
        paths.push(WidePath { depth, frame, own: total.saturating_sub(shown), total });
        waiting.extend(below.into_iter().map(|child| (child, depth + 1)));
    }
    paths
}
