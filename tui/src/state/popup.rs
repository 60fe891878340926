//! What lies over a pane, and takes the keys.

use std::sync::Arc;

use crate::picture::Switch;
use crate::talk::SaveAs;

/// What a line of input is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Search,
    Filter,
    Rate,
    Save(SaveAs),
}

/// A line of input at the bottom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Prompt {
    pub(crate) purpose: Purpose,
    pub(crate) text: String,
    /// Why it can't be taken.
    pub(crate) mistake: Option<String>,
}

impl Prompt {
    /// More is no search.
    const LONGEST: usize = 1000;

    pub(crate) fn new(purpose: Purpose, text: &str) -> Self {
        Self { purpose, text: text.to_owned(), mistake: None }
    }

    pub(crate) fn push(&mut self, text: &str) {
        self.mistake = None;
        for c in text.chars().filter(|c| !c.is_control()) {
            if self.text.len() < Self::LONGEST {
                self.text.push(c);
            }
        }
    }
}

/// What can be recorded, to be switched.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Switches {
    /// What has been typed: part of a name, or a pattern after `+` or `-`.
    pub(crate) typed: String,
    /// The name of the selected one; `None`: the first.
    pub(crate) selected: Option<String>,
    pub(crate) offset: usize,
    pub(crate) page: usize,
}

impl Switches {
    /// The switches that what was typed leaves.
    pub(crate) fn shown<'a>(&self, all: &'a Arc<[Switch]>) -> Vec<&'a Switch> {
        let part = self.typed.trim_start_matches(['+', '-']).trim_end_matches('*').to_lowercase();
        all.iter().filter(|switch| switch.name.to_lowercase().contains(&part)).collect()
    }

    pub(crate) fn cursor(&self, shown: &[&Switch]) -> usize {
        let selected = self.selected.as_ref();
        selected.and_then(|name| shown.iter().position(|switch| switch.name == *name)).unwrap_or(0)
    }

    /// The pattern that was typed, and whether it is to be recorded.
    pub(crate) fn pattern(&self) -> Option<(&str, bool)> {
        let on = self.typed.starts_with('+');
        let pattern = self.typed.strip_prefix(['+', '-'])?.trim();
        (!pattern.is_empty()).then_some((pattern, on))
    }
}

/// What lies over a pane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Popup {
    /// All keys, from this line on.
    Help { offset: usize },
    /// What can be recorded.
    Switches(Switches),
    /// As what to save.
    Save,
    /// Whether really to take a core.
    Core,
}
