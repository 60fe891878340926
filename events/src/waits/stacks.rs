//! The stacks that come with records, each kept once.

use std::{collections::HashMap, sync::Arc};

use uniprof_wire::record::{Callers, WalkEnd};

/// Words of all stacks together, at most: 64 MiB.
const MOST_WORDS: usize = 8 << 20;

/// Which of [`Stacks`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StackId(u32);

/// Stacks of return addresses, the innermost first.
#[derive(Debug, Default)]
pub struct Stacks {
    known: HashMap<(u8, Arc<[u64]>), StackId>,
    all: Vec<(WalkEnd, Arc<[u64]>)>,
    words: usize,
}

impl Stacks {
    /// The number of a stack; `None` where nobody asked for one, or where no more are kept.
    pub fn keep(&mut self, callers: &Callers<'_>) -> Option<StackId> {
        if callers.frames.is_empty() {
            return None;
        }
        let key = (callers.end as u8, Arc::from(callers.frames));
        if let Some(known) = self.known.get(&key) {
            return Some(*known);
        }
        if self.words + callers.frames.len() > MOST_WORDS {
            return None;
        }
        self.words += callers.frames.len();
        let id = StackId(u32::try_from(self.all.len()).ok()?);
        self.all.push((callers.end, Arc::clone(&key.1)));
        self.known.insert(key, id);
        Some(id)
    }

    /// A stack that is kept here.
    #[must_use]
    pub fn get(&self, id: StackId) -> Callers<'_> {
        match self.all.get(id.0 as usize) {
            Some((end, frames)) => Callers { end: *end, frames },
            None => Callers::NONE,
        }
    }
}
