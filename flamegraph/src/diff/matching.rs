//! What two profiles have in common: functions by name, call paths by the names along them.

use rustc_hash::FxHashMap;

use super::effective::Counted;
use crate::frame::Kind;
use crate::profile::{FrameId, Profile};

pub(super) const NONE: u32 = u32::MAX;

/// A frame of either profile.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin {
    pub(super) side: usize,
    pub(super) frame: FrameId,
}

/// A call path of either profile or both. Its parent lies before it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Path {
    pub(super) parent: u32,
    pub(super) origin: Origin,
    /// Which function its last frame is; [`NONE`] for a thread.
    pub(super) function: u32,
    /// Which function owns what was measured at its end: that one, or where there is a note on the path, the one below the first.
    owner: u32,
    is_told: bool,
}

/// The functions and call paths of two profiles, numbered.
pub(super) struct Matching {
    pub(super) functions: Vec<Origin>,
    pub(super) paths: Vec<Path>,
    /// For each path, whether it is all of some sample's stack.
    is_sampled: Vec<bool>,
    /// For each profile and each of its stacks that was sampled, the path.
    pub(super) path_of_stack: [Vec<u32>; 2],
}

#[derive(Default)]
struct Matcher<'a> {
    classes: FxHashMap<(&'a str, bool, Kind), u32>,
    function_numbers: FxHashMap<(&'a str, Kind), u32>,
    /// By class.
    function_of: Vec<u32>,
    functions: Vec<Origin>,
    path_numbers: FxHashMap<(u32, u32), u32>,
    paths: Vec<Path>,
}

impl Matching {
    pub(super) fn new(profiles: [&Profile; 2]) -> Self {
        let mut matcher = Matcher::default();
        let path_of_stack = [0, 1].map(|side| matcher.add(profiles[side], side));
        let mut is_sampled = vec![false; matcher.paths.len()];
        for (profile, path_of_stack) in profiles.iter().zip(&path_of_stack) {
            for leaf in &profile.leaves {
                is_sampled[path_of_stack[leaf.stack.0 as usize] as usize] = true;
            }
        }
        Self { functions: matcher.functions, paths: matcher.paths, is_sampled, path_of_stack }
    }

    /// The functions on each path that was sampled, each once however often it recurs; nothing for the other paths.
    pub(super) fn functions_on_paths(&self) -> Lists {
        let mut lists = Lists::default();
        let mut seen_on = vec![NONE; self.functions.len()];
        for number in 0..self.paths.len() as u32 {
            let mut next = if self.is_sampled[number as usize] { number } else { NONE };
            while let Some(path) = self.paths.get(next as usize) {
                if path.function != NONE && seen_on[path.function as usize] != number {
                    seen_on[path.function as usize] = number;
                    lists.items.push(path.function);
                }
                next = path.parent;
            }
            lists.ends.push(lists.items.len());
        }
        lists
    }

    /// The function that owns what was measured at the end of each path.
    pub(super) fn functions_at_ends(&self) -> Lists {
        let mut lists = Lists::default();
        for path in &self.paths {
            lists.items.extend((path.owner != NONE).then_some(path.owner));
            lists.ends.push(lists.items.len());
        }
        lists
    }

    /// Each path by itself.
    pub(super) fn paths_themselves(&self) -> Lists {
        let count = self.paths.len();
        Lists { items: (0..count as u32).collect(), ends: (1..=count).collect() }
    }
}

impl<'a> Matcher<'a> {
    fn add(&mut self, profile: &'a Profile, side: usize) -> Vec<u32> {
        let classes: Vec<u32> = (0..profile.frames.len() as u32)
            .map(|frame| self.class(profile, Origin { side, frame: FrameId(frame) }))
            .collect();
        let mut is_used = vec![false; profile.nodes.len()];
        for leaf in &profile.leaves {
            is_used[leaf.stack.0 as usize] = true;
        }
        for index in (0..is_used.len()).rev() {
            if let (true, Some(parent)) = (is_used[index], profile.nodes[index].parent) {
                is_used[parent.0 as usize] = true;
            }
        }
        let mut path_of_stack = vec![NONE; profile.nodes.len()];
        for (index, node) in profile.nodes.iter().enumerate().filter(|(index, _)| is_used[*index]) {
            let parent = node.parent.map_or(NONE, |parent| path_of_stack[parent.0 as usize]);
            let class = classes[node.frame.0 as usize];
            let Self { path_numbers, paths, function_of, .. } = self;
            path_of_stack[index] = *path_numbers.entry((parent, class)).or_insert_with(|| {
                let origin = Origin { side, frame: node.frame };
                let function = function_of[class as usize];
                let (owner, is_told) = paths
                    .get(parent as usize)
                    .map_or((NONE, false), |below: &Path| (below.owner, below.is_told));
                let is_told = is_told || profile.frame(node.frame).kind == Kind::Note;
                let owner = if is_told { owner } else { function };
                paths.push(Path { parent, origin, function, owner, is_told });
                (paths.len() - 1) as u32
            });
        }
        path_of_stack
    }

    fn class(&mut self, profile: &'a Profile, origin: Origin) -> u32 {
        let frame = profile.frame(origin.frame);
        let Self { classes, function_numbers, function_of, functions, .. } = self;
        *classes.entry((frame.name, frame.inlined, frame.kind)).or_insert_with(|| {
            let function = match frame.kind {
                Kind::Thread | Kind::Note => NONE,
                kind => *function_numbers.entry((frame.name, kind)).or_insert_with(|| {
                    functions.push(origin);
                    (functions.len() - 1) as u32
                }),
            };
            function_of.push(function);
            (function_of.len() - 1) as u32
        })
    }
}

/// For each path the numbers of the things that it counts for.
#[derive(Debug, Default)]
pub(super) struct Lists {
    items: Vec<u32>,
    ends: Vec<usize>,
}

impl Lists {
    pub(super) fn of_path(&self, path: u32) -> &[u32] {
        let path = path as usize;
        let start = if path == 0 { 0 } else { self.ends[path - 1] };
        &self.items[start..self.ends[path]]
    }
}

/// What the stacks of one of the profiles count for.
pub(super) struct StackThings<'a> {
    pub(super) lists: &'a Lists,
    pub(super) path_of_stack: &'a [u32],
    pub(super) things: usize,
}

impl Counted for StackThings<'_> {
    fn things(&self) -> usize {
        self.things
    }

    fn of(&self, stack: u32) -> &[u32] {
        match self.path_of_stack.get(stack as usize) {
            Some(&path) if path != NONE => self.lists.of_path(path),
            _ => &[],
        }
    }
}
