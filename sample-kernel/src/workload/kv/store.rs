//! The store: a row of trees, each behind its own lock, so that workers seldom meet. Its interface is what applications call here: each
//! such call is one to the probes.

use alloc::string::String;

use super::hash::hash;
use super::tree::Tree;
use crate::probes;
use crate::sync::Mutex;

const SHARDS: usize = 8;

type Shard = Mutex<Tree<String, String>>;

pub(super) struct Store {
    shards: [Shard; SHARDS],
}

impl Store {
    pub(super) fn new() -> Self {
        Self { shards: [const { Mutex::new(Tree::new()) }; SHARDS] }
    }

    #[inline(always)]
    fn shard(&self, key: &str) -> &Shard {
        &self.shards[hash(key.as_bytes()) as usize % SHARDS]
    }

    /// Shows the value to `found`; false when there is none.
    #[inline(never)]
    pub(super) fn get(&self, key: &str, found: impl FnOnce(&str)) -> bool {
        let call = probes::call!("kv.get" -> bool, key_bytes = key.len());
        let tree = self.shard(key).lock();
        call.returned(tree.get(key).map(|value| found(value)).is_some())
    }

    #[inline(never)]
    pub(super) fn put(&self, key: &str, value: &str) {
        let _call = probes::call!("kv.put", key_bytes = key.len(), bytes = value.len());
        self.shard(key).lock().insert(String::from(key), String::from(value));
    }

    /// False when the key was not there.
    #[inline(never)]
    pub(super) fn delete(&self, key: &str) -> bool {
        let call = probes::call!("kv.delete" -> bool, key_bytes = key.len());
        call.returned(self.shard(key).lock().remove(key).is_some())
    }

    /// The most levels that a lookup has gone down in the first shard.
    pub(super) fn depth(&self) -> u32 {
        self.shards[0].lock().depth()
    }

    /// Up to `limit` pairs from `from` on, of the shard that `from` lies in.
    #[inline(never)]
    pub(super) fn scan(&self, from: &str, limit: usize, mut pair: impl FnMut(&str, &str)) {
        let call = probes::call!("kv.scan" -> usize, limit = limit);
        let tree = self.shard(from).lock();
        let mut left = limit;
        tree.scan(from, |key, value| {
            pair(key, value);
            left -= 1;
            left > 0
        });
        call.returned(limit - left);
    }
}
