//! `kv`.
use crate::time::Deadline;
use core::num::NonZeroU64;
pub(super) fn run(_vcpus: u32, _requests: Option<NonZeroU64>, _end: Deadline) {}
