//! The control page: what collectors ask for, checked and merged.
//!
//! The highest live rate and the longest snapshot win, classes and patterns unite, so two collectors each get what they asked for. A request
//! whose renewal counter stands still for its lease is dropped: a collector that was killed leaves nothing
//! switched on.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use uniprof_wire::layout::{CONTROL_OFFSET, Geometry};
use uniprof_wire::record::{Class, MAX_SNAPSHOT_BYTES, SNAPSHOT_HEAD};
use uniprof_wire::ring::WriterWords;
use uniprof_wire::tables::{CONTROL_SLOTS, CONTROL_WORDS, ControlRequest, Slot, VcpuField};

use crate::region::Region;
use crate::sites;
use crate::vcpu::Vcpu;

/// Highest rate that a guest grants.
const MAX_RATE: u32 = 100_000;
/// Longest lease that a guest grants.
const MAX_LEASE_MS: u64 = 60_000;

/// What is in effect. Changed by whichever vCPU finds time to look; every vCPU reads it on its tick.
static RATE: AtomicU32 = AtomicU32::new(0);
static CLASSES_ON: AtomicU64 = AtomicU64::new(0);
static SNAPSHOT_BYTES: AtomicU32 = AtomicU32::new(0);
/// What the sites were last switched by: a hash of all classes and patterns.
static SITES_BY: AtomicU64 = AtomicU64::new(0);
/// TSC at which the page is to be looked at again; `u64::MAX` while a vCPU looks.
static NEXT_LOOK: AtomicU64 = AtomicU64::new(0);
/// What each slot showed, and when that was new.
static SEEN: [Seen; CONTROL_SLOTS] =
    [const { Seen { renewals: AtomicU64::new(0), owner: AtomicU64::new(0), since: AtomicU64::new(0) } };
        CONTROL_SLOTS];

struct Seen {
    owner: AtomicU64,
    renewals: AtomicU64,
    since: AtomicU64,
}

/// Samples per second and vCPU now; 0 for none.
pub(crate) fn rate() -> u32 {
    RATE.load(Ordering::Relaxed)
}

/// Classes that are on now.
pub(crate) fn classes() -> u64 {
    CLASSES_ON.load(Ordering::Relaxed)
}

/// Bytes of stack that a sample takes along now, whole words; 0 while frame pointers are walked.
pub(crate) fn snapshot_bytes() -> u32 {
    SNAPSHOT_BYTES.load(Ordering::Relaxed)
}

/// Whether ticks sample now.
pub(crate) fn sampling() -> bool {
    rate() != 0 && classes() & Class::Sample.bit() != 0
}

/// Looks at the control page if the last look is 50 ms old and no vCPU is looking. The first look, by `init`, puts the kernel's
/// own wishes into effect.
pub(crate) fn check(region: &Region, now: u64) {
    let due = NEXT_LOOK.load(Ordering::Relaxed);
    if now < due {
        return;
    }
    // Nobody else looks until this look is over, however long the host keeps this vCPU from ending it: two that overlap
    // could leave sites and classes contradicting each other.
    if NEXT_LOOK.compare_exchange(due, u64::MAX, Ordering::Acquire, Ordering::Relaxed).is_err() {
        return;
    }
    look(region, now);
    NEXT_LOOK.store(now.saturating_add(region.tsc_hz / 20), Ordering::Release);
}

fn look(region: &Region, now: u64) {
    let (mut rate, mut classes, mut bytes) = (region.sample_hz, region.classes, region.snapshot_bytes);
    let mut requests = [ControlRequest::default(); CONTROL_SLOTS];
    for (index, seen) in SEEN.iter().enumerate() {
        if let Some(request) = live_request(region, index, seen, now) {
            rate = rate.max(request.rate);
            classes |= request.classes;
            bytes = bytes.max(request.snapshot_bytes);
            requests[index] = request;
        }
    }
    let rate = rate.min(MAX_RATE);
    RATE.store(rate, Ordering::Relaxed);
    let bytes = bytes.min(longest_snapshot(region.geometry)) / 8 * 8;
    SNAPSHOT_BYTES.store(bytes, Ordering::Relaxed);
    CLASSES_ON.store(classes, Ordering::Relaxed);
    switch_sites(region.classes, &requests);
    for vcpu in (0..region.geometry.vcpus()).filter_map(Vcpu::of) {
        vcpu.set(VcpuField::Rate, rate.into());
        vcpu.set(VcpuField::RateAsked, rate.into());
        vcpu.set(VcpuField::Classes, classes);
        vcpu.add(VcpuField::Looks, 1);
    }
}

/// Switches each site on that the kernel or a collector wants.
fn switch_sites(own: u64, requests: &[ControlRequest]) {
    let words = requests
        .iter()
        .flat_map(|request| core::iter::once(request.classes).chain(request.patterns.to_words()));
    // FNV-1a, word by word; never 0, so that the first look switches.
    let by =
        words.fold(own ^ 0xcbf2_9ce4_8422_2325, |hash, word| (hash ^ word).wrapping_mul(0x100_0000_01b3)) | 1;
    if SITES_BY.swap(by, Ordering::Relaxed) == by {
        return;
    }
    for site in sites::entries() {
        let Some(kind) = site.kind() else { continue };
        let class = kind.class().bit();
        let name = site.name();
        site.enable(own & class != 0 || requests.iter().any(|request| request.wants(name, class)));
    }
}

/// Bytes of stack that fit a sub-buffer beside the rest of their record.
const fn longest_snapshot(geometry: Geometry) -> u32 {
    let room = geometry.sub_buffer_bytes() - 8 * (2 + SNAPSHOT_HEAD as u32);
    if room < MAX_SNAPSHOT_BYTES { room } else { MAX_SNAPSHOT_BYTES }
}

fn live_request(region: &Region, index: usize, seen: &Seen, now: u64) -> Option<ControlRequest> {
    let page = region.words.at_byte(CONTROL_OFFSET + index * CONTROL_WORDS * 8);
    let words = core::array::from_fn(|i| page.load(i));
    let Slot::Whole(request) = ControlRequest::from_words(&words) else { return None };
    fence(Ordering::Acquire);
    if page.load(0) != words[0] {
        return None;
    }
    let known = seen.owner.load(Ordering::Relaxed) == request.owner
        && seen.renewals.load(Ordering::Relaxed) == request.renewals;
    if !known {
        seen.owner.store(request.owner, Ordering::Relaxed);
        seen.renewals.store(request.renewals, Ordering::Relaxed);
        seen.since.store(now, Ordering::Relaxed);
        return Some(request);
    }
    let lease = u64::from(request.lease_ms).min(MAX_LEASE_MS) * (region.tsc_hz / 1000);
    (now.saturating_sub(seen.since.load(Ordering::Relaxed)) <= lease).then_some(request)
}
