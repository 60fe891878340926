//! `kv`: an ordered key-value store under a mix of requests. One worker on each vCPU makes requests as text, and serves them
//! as a server would: parse, hash to a shard, lock it, walk its tree, allocate, answer.

mod client;
pub(super) mod hash;
mod node;
mod request;
mod store;
pub(super) mod tree;
mod worker;

use alloc::sync::Arc;
use core::num::NonZeroU64;

use self::store::Store;
use self::worker::Worker;
use super::{join_all, one_per_vcpu};
use crate::time::Deadline;

pub(super) fn run(vcpus: u32, requests: Option<NonZeroU64>, end: Deadline) {
    let store = Arc::new(Store::new());
    let threads = one_per_vcpu(vcpus, "kv", |vcpu| {
        let store = Arc::clone(&store);
        move || Worker::new(vcpu, store).run(requests.map_or(u64::MAX, NonZeroU64::get), end)
    });
    join_all(threads);
}
