//! Control: what collectors ask for, checked, merged and put into effect.
//!
//! The highest live rate and the longest snapshot win, classes and patterns unite, so two collectors each get what they asked for; the
//! smallest budget holds for all of them. A request whose renewal counter stands still for its lease is dropped: a collector that
//! was killed leaves nothing switched on.
//!
//! Whichever vCPU finds time looks at the requests, every [`LOOKS_PER_SECOND`]th of a second, on its tick or in its idle loop. What it
//! finds is told in the vCPU table, and every vCPU goes by it from its next tick on.

mod budget;
mod requests;
mod wishes;

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use uniprof_wire::layout::Geometry;
use uniprof_wire::record::{Class, MAX_PACKET_BYTES, MAX_SNAPSHOT_BYTES, PACKET_HEAD, SNAPSHOT_HEAD};
use uniprof_wire::tables::{ControlRequest, VcpuField};

use self::budget::{Budget, Said};
use self::requests::Requests;
use self::wishes::Wishes;
use crate::platform::Pinned;
use crate::region::{Region, writer};
use crate::vcpu::Vcpu;
use crate::{log, sites};

/// How often the requests are looked at. With a vCPU that has time [`TICKS_PER_SECOND`] times a second, a request is in effect
/// after at most 25 ms, and known to be after 50.
const LOOKS_PER_SECOND: u64 = 50;
/// How often a vCPU must find time to look, also while it idles and nothing is sampled.
pub(crate) const TICKS_PER_SECOND: u64 = 40;

/// What is in effect. Changed by whichever vCPU finds time to look; every vCPU reads it on its tick.
static RATE: AtomicU32 = AtomicU32::new(0);
pub(crate) static CLASSES_ON: AtomicU64 = AtomicU64::new(0);
static SNAPSHOT_BYTES: AtomicU32 = AtomicU32::new(0);
static PACKET_BYTES: AtomicU32 = AtomicU32::new(0);
/// A collector has asked for a flush, and nobody has taken note yet.
static FLUSH: AtomicBool = AtomicBool::new(false);
/// TSC at which to look again; `u64::MAX` while a vCPU looks.
static NEXT_LOOK: AtomicU64 = AtomicU64::new(0);
/// TSC at which an observer came or the classes changed, the latest.
static LAST_CHANGE: AtomicU64 = AtomicU64::new(0);
static LOOKER: Looker = Looker(UnsafeCell::new(State {
    requests: Requests::new(),
    budget: Budget::new(),
    sites_by: 0,
    counted: [0; uniprof_wire::record::CLASSES],
}));

/// What a look remembers until the next.
struct State {
    requests: Requests,
    budget: Budget,
    /// What the sites were last switched by: a hash of all classes and patterns.
    sites_by: u64,
    /// Records of each class when the budget last asked for them.
    counted: [u64; uniprof_wire::record::CLASSES],
}

struct Looker(UnsafeCell<State>);

// SAFETY: only whoever has claimed `NEXT_LOOK` touches it.
unsafe impl Sync for Looker {}

/// Samples per second and vCPU now; 0 for none.
pub(crate) fn rate() -> u32 {
    RATE.load(Ordering::Relaxed)
}

/// Classes that are on now.
#[inline(always)]
pub(crate) fn classes() -> u64 {
    CLASSES_ON.load(Ordering::Relaxed) & Class::RECORDED
}

/// Among the classes that are on: the heap is watched, whoever asks for what.
pub(crate) const HEAP_WATCHED: u64 = 1 << 30;
const _: () = assert!(Class::RECORDED < HEAP_WATCHED);

/// The heap is watched from now on.
pub(crate) fn watch_heap() {
    CLASSES_ON.fetch_or(HEAP_WATCHED, Ordering::Release);
}

/// When an observer came or the classes changed, the latest: what was to be recorded before may be unknown to somebody.
pub(crate) fn last_change() -> u64 {
    LAST_CHANGE.load(Ordering::Relaxed)
}

/// Bytes of stack that a sample takes along now, whole words; 0 while frame pointers are walked.
pub(crate) fn snapshot_bytes() -> u32 {
    SNAPSHOT_BYTES.load(Ordering::Relaxed)
}

/// Bytes of a packet that its record takes along now.
pub(crate) fn packet_bytes() -> u32 {
    PACKET_BYTES.load(Ordering::Relaxed)
}

/// Whether ticks sample now.
pub(crate) fn sampling() -> bool {
    rate() != 0 && classes() & Class::Sample.bit() != 0
}

/// Whether a collector has asked, since the last call, that records be handed over at once: for what pushes them to the host. (A host that
/// reads the region has them anyway.)
pub fn flush_wanted() -> bool {
    FLUSH.load(Ordering::Relaxed) && FLUSH.swap(false, Ordering::Relaxed)
}

/// Looks at the requests if the last look is old enough and no vCPU is looking. The first look, by `init`, puts the kernel's own wishes
/// into effect.
pub(crate) fn check(region: &Region, now: u64) {
    if now < NEXT_LOOK.load(Ordering::Relaxed) {
        return;
    }
    // Not to be switched out with the look claimed: nobody else could look then.
    let _pinned = Pinned::new();
    let due = NEXT_LOOK.load(Ordering::Relaxed);
    // Nobody else looks until this look is over, however long the host keeps this vCPU from ending it: two that overlap
    // could leave sites and classes contradicting each other.
    if now < due || NEXT_LOOK.compare_exchange(due, u64::MAX, Ordering::Acquire, Ordering::Relaxed).is_err() {
        return;
    }
    // SAFETY: claimed.
    look(region, now, unsafe { &mut *LOOKER.0.get() });
    NEXT_LOOK.store(now.saturating_add(region.tsc_hz / LOOKS_PER_SECOND), Ordering::Release);
}

fn look(region: &Region, now: u64, state: &mut State) {
    let State { requests, budget, sites_by, counted } = state;
    requests.read(region, now);
    requests.take_marks(log::mark);
    if requests.take_flush() {
        FLUSH.store(true, Ordering::Relaxed);
    }
    let longest = (longest_snapshot(region.geometry), longest_packet(region.geometry));
    let wishes = Wishes::of(&region.own, requests.live(), longest);
    let sparing = budget.judge(region, now, &wishes, || records_since(region, counted));
    RATE.store(sparing.rate, Ordering::Relaxed);
    SNAPSHOT_BYTES.store(wishes.snapshot_bytes, Ordering::Relaxed);
    PACKET_BYTES.store(wishes.packet_bytes, Ordering::Relaxed);
    let classes = wishes.classes & !sparing.shed;
    // Changed and not stored: whether the heap is watched stays what it is.
    let before = CLASSES_ON.fetch_xor((self::classes() ^ classes) & Class::RECORDED, Ordering::Relaxed);
    if (before ^ classes) & Class::RECORDED != 0 || requests.newest() == now {
        LAST_CHANGE.store(now, Ordering::Relaxed);
    }
    switch_sites(&region.own, requests.live(), sparing.shed, sites_by);
    for vcpu in (0..region.geometry.vcpus()).filter_map(Vcpu::of) {
        vcpu.set(VcpuField::Rate, sparing.rate.into());
        vcpu.set(VcpuField::RateAsked, wishes.rate.into());
        vcpu.set(VcpuField::Classes, classes);
        vcpu.set(VcpuField::Budget, wishes.budget_ppm.into());
        vcpu.set(VcpuField::Throttled, sparing.throttled);
        vcpu.set(VcpuField::ClassesShed, sparing.shed);
        vcpu.set(VcpuField::PacketBytes, wishes.packet_bytes.into());
        vcpu.add(VcpuField::Looks, 1);
    }
    if let Some(said) = sparing.said {
        tell(&said);
    }
}

/// The budget's decisions are told where the records are that they explain.
fn tell(said: &Said) {
    let mut line = log::Line::new();
    // A line that is too long is cut.
    let _ = core::fmt::Write::write_fmt(&mut line, format_args!("{said}"));
    log::mark(line.bytes());
}

/// Switches each site on that the kernel or a collector wants, and whose class has not been shed.
fn switch_sites(own: &ControlRequest, requests: &[ControlRequest], shed: u64, sites_by: &mut u64) {
    let all = || core::iter::once(own).chain(requests);
    let words =
        all().flat_map(|request| core::iter::once(request.classes).chain(request.patterns.to_words()));
    // FNV-1a, word by word; never 0, so that the first look switches.
    let by = words
        .fold(shed ^ 0xcbf2_9ce4_8422_2325, |hash, word| (hash ^ word).wrapping_mul(0x100_0000_01b3))
        | 1;
    if *sites_by == by {
        return;
    }
    *sites_by = by;
    for site in sites::entries() {
        let Some(kind) = site.kind() else { continue };
        let class = kind.class().bit();
        let name = site.name();
        site.enable(shed & class == 0 && all().any(|request| request.wants(name, class)));
    }
}

/// Records of each class that all vCPUs have written since the last call.
fn records_since(
    region: &Region,
    counted: &mut [u64; uniprof_wire::record::CLASSES],
) -> [u64; uniprof_wire::record::CLASSES] {
    let mut now = [0u64; uniprof_wire::record::CLASSES];
    let rings = (0..region.geometry.vcpus())
        .flat_map(|vcpu| uniprof_wire::layout::RingKind::ALL.map(|kind| writer(vcpu, kind)));
    rings.flatten().for_each(|writer| writer.add_committed(&mut now));
    let before = core::mem::replace(counted, now);
    core::array::from_fn(|class| now[class].saturating_sub(before[class]))
}

/// Bytes of stack that fit a sub-buffer beside the rest of their record.
const fn longest_snapshot(geometry: Geometry) -> u32 {
    let room = geometry.sub_buffer_bytes() - 8 * (2 + SNAPSHOT_HEAD as u32);
    if room < MAX_SNAPSHOT_BYTES { room } else { MAX_SNAPSHOT_BYTES }
}

/// Bytes of a packet that fit a sub-buffer beside the rest of their record.
const fn longest_packet(geometry: Geometry) -> u32 {
    let room = geometry.sub_buffer_bytes() - 8 * (1 + PACKET_HEAD as u32);
    if room < MAX_PACKET_BYTES as u32 { room } else { MAX_PACKET_BYTES as u32 }
}
