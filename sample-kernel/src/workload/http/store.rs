//! The keys and values: the trees of the `kv` workload, a row of them, each behind its own lock. Bounded: who fills it is told so.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};

use super::super::kv::hash::hash;
use super::super::kv::tree::Tree;
use crate::sync::Mutex;
use crate::{heap, probes};

const SHARDS: usize = 8;
/// What a pair takes beside its bytes: its part of a node, and of the heap's own accounts.
const PAIR_BYTES: usize = 192;
/// Of the heap: as much as all values may take.
const SHARE: usize = 4;

pub(super) type Value = Arc<[u8]>;
type Shard = Mutex<Tree<String, Value>>;

pub(super) struct Store {
    shards: [Shard; SHARDS],
    keys: AtomicUsize,
    bytes: AtomicUsize,
    most: usize,
}

/// What became of a value that was to be kept.
pub(super) enum Put {
    New,
    Replaced,
    NoRoom,
}

impl Store {
    pub(super) fn new() -> Self {
        Self {
            shards: [const { Mutex::new(Tree::new()) }; SHARDS],
            keys: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            most: heap::bytes() as usize / SHARE,
        }
    }

    #[inline(always)]
    fn shard(&self, key: &str) -> &Shard {
        &self.shards[hash(key.as_bytes()) as usize % SHARDS]
    }

    #[inline(never)]
    pub(super) fn get(&self, key: &str) -> Option<Value> {
        let call = probes::call!("http.store.get" -> bool, key_bytes = key.len());
        let value = self.shard(key).lock().get(key).cloned();
        call.returned(value.is_some());
        value
    }

    #[inline(never)]
    pub(super) fn put(&self, key: String, value: &[u8]) -> Put {
        let _call = probes::call!("http.store.put", key_bytes = key.len(), bytes = value.len());
        let bytes = key.len() + value.len() + PAIR_BYTES;
        if self.bytes.load(Ordering::Relaxed) + bytes > self.most {
            return Put::NoRoom;
        }
        let key_bytes = key.len();
        // Memory is asked for before the lock is taken.
        let value = Value::from(value);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let old = self.shard(&key).lock().insert(key, value);
        match old {
            None => {
                self.keys.fetch_add(1, Ordering::Relaxed);
                Put::New
            }
            Some(old) => {
                self.bytes.fetch_sub(key_bytes + old.len() + PAIR_BYTES, Ordering::Relaxed);
                Put::Replaced
            }
        }
    }

    /// False when the key was not there.
    #[inline(never)]
    pub(super) fn delete(&self, key: &str) -> bool {
        let call = probes::call!("http.store.delete" -> bool, key_bytes = key.len());
        let old = self.shard(key).lock().remove(key);
        if let Some(old) = &old {
            self.bytes.fetch_sub(key.len() + old.len() + PAIR_BYTES, Ordering::Relaxed);
            self.keys.fetch_sub(1, Ordering::Relaxed);
        }
        call.returned(old.is_some())
    }

    /// The first pairs from `from` on, in order, from all trees.
    #[inline(never)]
    pub(super) fn scan(&self, from: &str, count: usize) -> Vec<(String, Value)> {
        let call = probes::call!("http.store.scan" -> usize, count = count);
        let mut pairs = Vec::new();
        for shard in &self.shards {
            let mut left = count;
            shard.lock().scan(from, |key: &String, value| {
                if left == 0 {
                    return false;
                }
                pairs.push((key.clone(), Arc::clone(value)));
                left -= 1;
                left > 0
            });
        }
        pairs.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        pairs.truncate(count);
        call.returned(pairs.len());
        pairs
    }

    /// Keys, their bytes, and how many bytes there may be.
    pub(super) fn figures(&self) -> (usize, usize, usize) {
        (self.keys.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed), self.most)
    }
}
