//! The table of functions.

use rustc_hash::FxHashMap;
use uniprof_flamegraph::{CallTree, Direction, Kind, Order, Profile};

use super::module::module_of;

/// Whether a function was inlined where it was sampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Inlined {
    Never,
    Sometimes,
    Always,
}

/// One function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FunctionRow {
    pub(crate) name: String,
    pub(crate) module: String,
    pub(crate) unknown: bool,
    pub(crate) inlined: Inlined,
    pub(crate) own: u64,
    pub(crate) total: u64,
}

/// The functions of a profile, in no order that means anything.
#[derive(Debug, Clone, Default)]
pub(crate) struct Functions {
    pub(crate) rows: Vec<FunctionRow>,
    pub(crate) total: u64,
}

struct Open {
    row: FunctionRow,
    /// How often it is on the path to the current node: recursion counts once.
    times: u32,
}

impl Functions {
    pub(crate) fn new(profile: &Profile) -> Self {
        let measure = profile.measured().measure();
        let tree = CallTree::new(profile, Direction::Callees, Order::Name);
        let mut index: FxHashMap<(&str, Kind), usize> = FxHashMap::default();
        let mut rows: Vec<Open> = Vec::new();
        let mut path: Vec<Option<usize>> = Vec::new();
        for node in tree.nodes() {
            for row in path.drain(node.depth as usize..).flatten() {
                rows[row].times -= 1;
            }
            let frame = node.frame.map(|id| profile.frame(id));
            if frame.is_some_and(|frame| frame.kind == Kind::Note)
                && let Some(row) = path.iter().rev().flatten().next()
            {
                rows[*row].row.own += measure.of(node.own);
            }
            let frame = frame.filter(|frame| !matches!(frame.kind, Kind::Thread | Kind::Note));
            let place = frame.map(|frame| {
                *index.entry((frame.name, frame.kind)).or_insert_with(|| {
                    rows.push(Open { row: row(frame), times: 0 });
                    rows.len() - 1
                })
            });
            path.push(place);
            let (Some(place), Some(frame)) = (place, frame) else { continue };
            let open = &mut rows[place];
            open.row.own += measure.of(node.own);
            if open.times == 0 {
                open.row.total += measure.of(node.total);
            }
            open.times += 1;
            open.row.inlined = match (open.row.inlined, frame.inlined) {
                (Inlined::Always, true) => Inlined::Always,
                (Inlined::Never, false) => Inlined::Never,
                _ => Inlined::Sometimes,
            };
        }
        Self { rows: rows.into_iter().map(|open| open.row).collect(), total: measure.of(tree.total()) }
    }
}

fn row(frame: uniprof_flamegraph::Frame<'_>) -> FunctionRow {
    FunctionRow {
        name: frame.name.to_owned(),
        module: module_of(frame.name, frame.file).to_owned(),
        unknown: frame.kind == Kind::Unknown,
        inlined: if frame.inlined { Inlined::Always } else { Inlined::Never },
        own: 0,
        total: 0,
    }
}
