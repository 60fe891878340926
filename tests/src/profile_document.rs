//! A `uniprof.profile/1` document, with the sums that other formats are compared with.

use std::collections::BTreeMap;

use serde_json::Value;

/// What `uniprof export --format json` wrote.
#[derive(Debug)]
pub struct ProfileDocument(pub Value);

/// Own and total samples.
pub type Counts = (u64, u64);

impl ProfileDocument {
    /// A list of the document.
    #[must_use]
    pub fn list(&self, name: &str) -> &[Value] {
        self.0[name].as_array().unwrap_or_else(|| panic!("no list `{name}`"))
    }

    /// A number of one of its entries.
    #[must_use]
    pub fn number(entry: &Value, name: &str) -> u64 {
        entry[name].as_u64().unwrap_or_else(|| panic!("no number `{name}` in {entry}"))
    }

    /// The frames of the stack of a sum or a sample, from the root to the leaf, the thread first.
    #[must_use]
    pub fn stack(&self, entry: &Value) -> Vec<&Value> {
        let mut frames = Vec::new();
        let mut next = entry["stack"].as_u64();
        while let Some(index) = next {
            let node = &self.list("stacks")[index as usize];
            frames.push(&self.list("frames")[Self::number(node, "frame") as usize]);
            next = node["parent"].as_u64();
            assert!(next.is_none_or(|parent| parent < index), "a parent comes before its children");
        }
        frames.reverse();
        frames
    }

    /// The names of threads by their ids.
    #[must_use]
    pub fn threads(&self) -> BTreeMap<u64, String> {
        let name = |thread: &Value| thread["name"].as_str().unwrap_or_default().to_owned();
        self.list("threads").iter().map(|thread| (Self::number(thread, "id"), name(thread))).collect()
    }

    /// Samples and time by thread and vCPU.
    #[must_use]
    pub fn owners(&self) -> BTreeMap<(u64, u64), Counts> {
        let mut owners: BTreeMap<(u64, u64), Counts> = BTreeMap::new();
        for sum in self.list("sums") {
            let owner = (Self::number(sum, "thread"), Self::number(sum, "vcpu"));
            let counts = owners.entry(owner).or_default();
            counts.0 += Self::number(sum, "samples");
            counts.1 += Self::number(sum, "weight_ns");
        }
        owners
    }

    /// Own and total samples of each function, of one thread or of all, by what `key` makes of a frame.
    #[must_use]
    pub fn functions<K: Ord + Clone>(
        &self,
        thread: Option<u64>,
        key: impl Fn(&Value) -> K,
    ) -> BTreeMap<K, Counts> {
        let mut functions: BTreeMap<K, Counts> = BTreeMap::new();
        let sums = self.list("sums").iter();
        for sum in sums.filter(|sum| thread.is_none_or(|id| sum["thread"] == id)) {
            let samples = Self::number(sum, "samples");
            let stack = self.stack(sum);
            let mut keys: Vec<K> =
                stack.iter().filter(|frame| frame["kind"] != "thread").map(|frame| key(frame)).collect();
            if let Some(leaf) = keys.last() {
                functions.entry(leaf.clone()).or_default().0 += samples;
            }
            keys.sort();
            keys.dedup();
            for key in keys {
                functions.entry(key).or_default().1 += samples;
            }
        }
        functions
    }
}
