//! Which module has which colour, for as long as one looks.

use rustc_hash::FxHashMap;

use crate::tables::{Functions, Tree};

/// Modules beyond these share a colour: their names come from a guest.
const MOST: usize = 1024;

/// Modules by the order in which they take colours: the heaviest of the first picture first, later ones after them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Palette {
    places: FxHashMap<String, usize>,
}

impl Palette {
    /// Gives colours to modules that have none.
    pub(crate) fn learn_tree(&mut self, tree: &Tree) {
        let mut own = vec![0; tree.labels.len()];
        for node in &tree.nodes {
            own[node.label as usize] += node.own;
        }
        self.learn(tree.labels.iter().zip(own).map(|(label, own)| (label.module.as_str(), own)));
    }

    pub(crate) fn learn_functions(&mut self, functions: &Functions) {
        self.learn(functions.rows.iter().map(|row| (row.module.as_str(), row.own)));
    }

    fn learn<'a>(&mut self, weights: impl Iterator<Item = (&'a str, u64)>) {
        let mut new: FxHashMap<&str, u64> = FxHashMap::default();
        for (module, own) in weights {
            if !module.is_empty() && !self.places.contains_key(module) {
                *new.entry(module).or_default() += own;
            }
        }
        let mut new: Vec<(&str, u64)> = new.into_iter().collect();
        new.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
        for (module, _) in new {
            if self.places.len() < MOST {
                self.places.insert(module.to_owned(), self.places.len());
            }
        }
    }

    /// `None` for what belongs to no module.
    pub(crate) fn place(&self, module: &str) -> Option<usize> {
        (!module.is_empty()).then(|| self.places.get(module).copied().unwrap_or(MOST))
    }
}
