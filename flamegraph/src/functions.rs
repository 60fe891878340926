//! The table of functions: how much was sampled in each, and in all that it called.

use rustc_hash::FxHashMap;

use crate::frame::Kind;
use crate::intern::StringId;
use crate::profile::{Amount, Profile};
use crate::tree::{CallTree, Direction, Measure, Order};

/// One line of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// The name, or the reason why there is none.
    pub name: String,
    /// The source file, where one is known.
    pub file: Option<String>,
    /// Whether `name` is a reason.
    pub unknown: bool,
    /// Samples whose leaf it was. Of a stack with a note in it: samples whose last function before the first note it was.
    pub own: Amount,
    /// Samples in whose stack it was, each counted once however often the function recurs in it.
    pub total: Amount,
}

struct Row {
    function: Function,
    open: u32,
}

/// A frame of the path that is looked at.
#[derive(Clone, Copy, Default)]
struct Step {
    /// Its row, where it is a function.
    row: Option<usize>,
    /// The row of whoever owns what was measured in it.
    owner: Option<usize>,
    /// Whether it is above a note, or one: what follows tells of the stack below it.
    is_told: bool,
}

impl Profile {
    /// The functions in the order of what was sampled in them (then in total, then by name). A function and its inlined
    /// copies are one line; threads and notes are not functions.
    #[must_use]
    pub fn functions(&self, measure: Measure) -> Vec<Function> {
        let tree = CallTree::new(self, Direction::Callees, Order::Name);
        let mut index: FxHashMap<(StringId, Kind), usize> = FxHashMap::default();
        let mut rows: Vec<Row> = Vec::new();
        let mut path: Vec<Step> = Vec::new();
        for node in tree.nodes() {
            for row in path.drain(node.depth as usize..).filter_map(|step| step.row) {
                rows[row].open -= 1;
            }
            let kind = node.frame.map(|id| self.frames[id.0 as usize].kind);
            let below = path.last().copied().unwrap_or_default();
            let is_told = below.is_told || kind == Some(Kind::Note);
            let frame = node.frame.filter(|_| !matches!(kind, Some(Kind::Thread | Kind::Note)));
            let row = frame.map(|id| {
                let stored = self.frames[id.0 as usize];
                *index.entry((stored.name, stored.kind)).or_insert_with(|| {
                    rows.push(Row { function: self.function(id), open: 0 });
                    rows.len() - 1
                })
            });
            let owner = if is_told { below.owner } else { row };
            path.push(Step { row, owner, is_told });
            if let Some(owner) = owner {
                rows[owner].function.own += node.own;
            }
            let Some(row) = row else { continue };
            if rows[row].open == 0 {
                rows[row].function.total += node.total;
            }
            rows[row].open += 1;
        }
        let mut functions: Vec<Function> = rows.into_iter().map(|row| row.function).collect();
        functions.sort_by(|a, b| {
            let key = |f: &Function| (measure.of(f.own), measure.of(f.total));
            key(b).cmp(&key(a)).then_with(|| a.name.cmp(&b.name))
        });
        functions
    }

    fn function(&self, id: crate::FrameId) -> Function {
        let frame = self.frame(id);
        Function {
            name: frame.name.to_owned(),
            file: frame.file.map(str::to_owned),
            unknown: frame.kind == Kind::Unknown,
            own: Amount::default(),
            total: Amount::default(),
        }
    }
}
