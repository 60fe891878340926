//! What frames are called, each told once.

use rustc_hash::FxHashMap;
use uniprof_flamegraph::{FrameId, Kind, Profile};

use super::module::module_of;

/// What frames are called that look alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Label {
    pub(crate) name: String,
    pub(crate) module: String,
    pub(crate) kind: Kind,
    pub(crate) inlined: bool,
}

impl Label {
    /// Stands for frames that were too light to be told apart.
    fn others() -> Self {
        Self { name: "[others]".into(), module: String::new(), kind: Kind::Note, inlined: false }
    }
}

/// Labels by frame.
pub(crate) struct Labels {
    pub(crate) labels: Vec<Label>,
    of_frame: FxHashMap<Option<FrameId>, u32>,
    index: FxHashMap<(String, Kind, bool), u32>,
}

impl Labels {
    pub(crate) fn new() -> Self {
        Self { labels: Vec::new(), of_frame: FxHashMap::default(), index: FxHashMap::default() }
    }

    /// The label of a frame; of none, that of the others.
    pub(crate) fn of(&mut self, profile: &Profile, id: Option<FrameId>) -> u32 {
        if let Some(known) = self.of_frame.get(&id) {
            return *known;
        }
        let label = match id {
            None => Label::others(),
            Some(id) => {
                let frame = profile.frame(id);
                Label {
                    name: frame.name.to_owned(),
                    module: module_of(frame.name, frame.file).to_owned(),
                    kind: frame.kind,
                    inlined: frame.inlined,
                }
            }
        };
        let key = (label.name.clone(), label.kind, label.inlined);
        let place = *self.index.entry(key).or_insert_with(|| {
            self.labels.push(label);
            (self.labels.len() - 1) as u32
        });
        self.of_frame.insert(id, place);
        place
    }
}
