//! Strings, stored once.

use std::sync::Arc;

use rustc_hash::FxHashMap;

/// The index of an interned string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct StringId(pub(crate) u32);

#[derive(Debug, Clone, Default)]
pub(crate) struct Strings {
    text: Vec<Arc<str>>,
    index: FxHashMap<Arc<str>, StringId>,
}

impl Strings {
    pub(crate) fn intern(&mut self, text: &str) -> StringId {
        if let Some(&id) = self.index.get(text) {
            return id;
        }
        let id = StringId(self.text.len() as u32);
        let text: Arc<str> = text.into();
        self.text.push(Arc::clone(&text));
        self.index.insert(text, id);
        id
    }

    pub(crate) fn get(&self, id: StringId) -> &str {
        &self.text[id.0 as usize]
    }
}
