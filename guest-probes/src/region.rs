//! The region's memory: where it is, how it is initialised, and the guest's hands on its words.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering, fence};

use uniprof_wire::address::{GuestPhysical, GuestVirtual};
use uniprof_wire::layout::{self, Geometry, LayoutError, RegionHeader, RingKind};
use uniprof_wire::record::Class;
use uniprof_wire::ring::{RingGeometry, Writer, WriterWords};
use uniprof_wire::tables::{
    ControlRequest, HEAP_SLOTS, IMAGE_WORDS, ImageEntry, MAX_CONNECTIONS, MAX_HISTOGRAMS, MIN_CONNECTIONS,
    MIN_HEAP_SLOTS,
};
use uniprof_wire::text::FixedText;

use crate::{arch, control, heap, histogram, net, platform, sites};

/// vCPUs that the probes serve; others run unobserved.
pub(crate) const MAX_VCPUS: usize = 64;

/// Memory for a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Where it is mapped; aligned to a page.
    pub base: *mut u8,
    /// How many bytes.
    pub bytes: usize,
    /// Its guest-physical address, which the header states so that a reader can check that it found the original.
    pub physical: u64,
}

/// The kernel's own ELF image, so that a host can tell whether it has the matching file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Image<'a> {
    /// The descriptor of `NT_GNU_BUILD_ID`, at most 32 bytes; empty where the linker wrote none.
    pub build_id: &'a [u8],
    /// Address of the first byte.
    pub start: usize,
    /// Address after the last byte.
    pub end: usize,
    /// Load bias: where it runs less where it was linked.
    pub bias: u64,
}

/// What [`init`] needs to know.
#[derive(Clone, Copy, Debug)]
pub struct Config<'a> {
    /// The guest's name for itself; the first 64 bytes count.
    pub name: &'a str,
    /// Ticks per second of `Platform::now`.
    pub tsc_hz: u64,
    /// How many vCPUs will run, at most 64.
    pub vcpus: u32,
    /// The region.
    pub memory: Memory,
    /// Bytes of each of the two rings of a vCPU: a power of two. Halved until the region holds all rings.
    pub ring_bytes: u32,
    /// Samples per second and vCPU while no collector asks for more; 0 for none.
    pub sample_hz: u32,
    /// Classes that are on while no collector asks for more: bits of [`Class::bit`](crate::Class::bit).
    pub classes: u64,
    /// Patterns over the names of sites that are on or, with a `-`, off while no collector asks for more, with commas between them:
    /// `http.*,-http.raw`. They go over the classes; the first 256 bytes count.
    pub patterns: &'a str,
    /// Bytes of stack that a sample takes along while no collector asks for more: the host then finds the callers by unwind
    /// tables, without frame pointers. 0: return addresses, found here by frame pointers. At most 32 KiB and what a
    /// sub-buffer takes; needs [`tick_with_registers`](crate::tick_with_registers), or a kernel that [polls](crate::poll()).
    pub snapshot_bytes: u32,
    /// Mean of the allocated bytes from one sample of the heap to the next; 0: the heap is not watched. Takes effect if the kernel tells of
    /// its heap ([`allocated`](crate::allocated), [`freed`](crate::freed)). The samples lie behind the rings, where there is room left.
    pub heap_interval: u64,
    /// Connections that the [network table](crate::net) shall have room for: rounded up to a power of two from 64 to 65536, and halved until
    /// it fits behind all the rest; 0: there is no such table.
    pub connections: u32,
    /// Wall clock in nanoseconds since the Unix epoch; 0 where the kernel has none.
    pub wall_ns: u64,
    /// The kernel's image.
    pub image: Image<'a>,
}

impl Config<'_> {
    /// One vCPU, rings of 1 MiB (or what fits), 10 Hz, the [light](Class::LIGHT) classes on, stacks by frame pointers, a sample of the heap every 512 KiB, no
    /// network.
    #[must_use]
    pub const fn new(memory: Memory) -> Self {
        Self {
            name: "",
            tsc_hz: 0,
            vcpus: 1,
            memory,
            ring_bytes: 1 << 20,
            sample_hz: 10,
            classes: Class::LIGHT,
            patterns: "",
            snapshot_bytes: 0,
            heap_interval: 512 << 10,
            connections: 0,
            wall_ns: 0,
            image: Image { build_id: &[], start: 0, end: 0, bias: 0 },
        }
    }
}

/// Whether the probes work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// They do.
    On,
    /// They do not, and the kernel goes on without: the reason, for its log.
    Off(Why),
}

/// Why the probes are off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// `init` was called before.
    AlreadyOn,
    /// The memory is null or not aligned to a page.
    Memory,
    /// `tsc_hz` is 0.
    NoClock,
    /// More vCPUs than the probes serve, or none.
    Vcpus(u32),
    /// No geometry fits; the smallest one does not either.
    Layout(LayoutError),
}

impl core::fmt::Display for Status {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::On => f.write_str("on"),
            Self::Off(Why::AlreadyOn) => f.write_str("off: init was called twice"),
            Self::Off(Why::Memory) => f.write_str("off: the region's memory is null or not page aligned"),
            Self::Off(Why::NoClock) => f.write_str("off: the clock's frequency is not known"),
            Self::Off(Why::Vcpus(n)) => write!(f, "off: {n} vCPUs, the probes serve 1 to {MAX_VCPUS}"),
            Self::Off(Why::Layout(e)) => write!(f, "off: {e}"),
        }
    }
}

/// Memory for a region in `.bss`: see [`region!`](crate::region).
#[repr(C, align(4096))]
pub struct StaticRegion<const BYTES: usize>(UnsafeCell<[u8; BYTES]>);

// SAFETY: only its address is ever taken; the probes' own protocol governs the bytes.
unsafe impl<const BYTES: usize> Sync for StaticRegion<BYTES> {}

impl<const BYTES: usize> StaticRegion<BYTES> {
    /// All zero, so that it costs nothing in the image.
    #[must_use]
    #[allow(clippy::new_without_default, reason = "only for statics")]
    pub const fn new() -> Self {
        Self(UnsafeCell::new([0; BYTES]))
    }

    /// As memory, in a kernel that maps itself one to one; others set `physical`.
    #[must_use]
    pub const fn memory(&'static self) -> *mut u8 {
        self.0.get().cast()
    }
}

/// Reserves memory for a region in the kernel's `.bss`, under the symbol `UNIPROF_REGION`, and defines
/// `fn region_memory() -> Memory` for it. Its physical address is taken to be its virtual one: a kernel that
/// is mapped elsewhere sets [`Memory::physical`] itself.
#[macro_export]
macro_rules! region {
    (bytes = $bytes:expr) => {
        #[unsafe(no_mangle)]
        static UNIPROF_REGION: $crate::expansion::StaticRegion<{ $bytes }> =
            $crate::expansion::StaticRegion::new();

        /// The kernel's static observation region.
        fn region_memory() -> $crate::Memory {
            let base = UNIPROF_REGION.memory();
            $crate::Memory { base, bytes: $bytes, physical: base as u64 }
        }
    };
}

/// Words of the region, or of one ring in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Words(*mut u64);

// SAFETY: the region belongs to no thread; its words are atomics, and what only one vCPU may do with them is said where it is done.
unsafe impl Send for Words {}
// SAFETY: as above.
unsafe impl Sync for Words {}

impl Words {
    fn word(self, index: usize) -> *mut u64 {
        // SAFETY: indexes come from a validated geometry whose region fits the memory given to `init`.
        unsafe { self.0.add(index) }
    }

    /// From what [`Words::as_ptr`] gave.
    #[inline(always)]
    pub(crate) const fn from_ptr(first: *mut u64) -> Self {
        Self(first)
    }

    pub(crate) const fn as_ptr(self) -> *mut u64 {
        self.0
    }

    pub(crate) fn at_byte(self, offset: usize) -> Self {
        Self(self.word(offset / 8))
    }

    /// The word as an atomic, for the few places that several vCPUs write.
    pub(crate) fn atomic(self, index: usize) -> &'static AtomicU64 {
        // SAFETY: as in `word`; the region lives as long as the kernel, and is only accessed as atomic words.
        unsafe { AtomicU64::from_ptr(self.word(index)) }
    }
}

impl WriterWords for Words {
    #[inline(always)]
    fn load(&self, index: usize) -> u64 {
        self.atomic(index).load(Ordering::Relaxed)
    }
    #[inline(always)]
    fn store(&self, index: usize, value: u64) {
        // Release: visible in program order, which is free on x86_64.
        self.atomic(index).store(value, Ordering::Release);
    }
    #[inline(always)]
    fn local_compare_exchange(&self, index: usize, old: u64, new: u64) -> bool {
        // SAFETY: rings and statistics have one writing vCPU.
        unsafe { arch::local_compare_exchange(self.word(index), old, new) }
    }
    #[inline(always)]
    fn local_add(&self, index: usize, value: u64) {
        // SAFETY: rings and statistics have one writing vCPU.
        unsafe { arch::local_add(self.word(index), value) }
    }
    #[inline(always)]
    fn local_increment(&self, index: usize) {
        // SAFETY: as above, and the index as in `word`.
        unsafe { arch::local_increment(self.0, index) }
    }
    #[inline(always)]
    fn reserve(writer: &Writer<Self>, nested_in: u64, class: usize, payload: usize) -> Option<u64> {
        let writer = core::ptr::from_ref(writer).expose_provenance() as u64;
        let start = arch::call_aside(reserve, [writer, nested_in, class as u64 | (payload as u64) << 8]);
        (start != NOT_RESERVED).then_some(start)
    }
}

/// No position: those are far lower.
const NOT_RESERVED: u64 = u64::MAX;

/// [`Writer::reserve`] for [`call_aside`](arch::call_aside).
extern "C" fn reserve(writer: u64, nested_in: u64, what: u64) -> u64 {
    // SAFETY: the address of the reference that the one caller above holds meanwhile.
    let writer = unsafe { &*core::ptr::with_exposed_provenance::<Writer<Words>>(writer as usize) };
    writer.reserve(nested_in, usize::from(what as u8), (what >> 8) as usize).unwrap_or(NOT_RESERVED)
}

/// Everything that is fixed once `init` has succeeded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Region {
    pub(crate) words: Words,
    /// Guest-physical address of the first.
    pub(crate) physical: u64,
    pub(crate) geometry: Geometry,
    /// The first histogram.
    pub(crate) histograms: Words,
    pub(crate) tsc_hz: u64,
    /// What the kernel itself asks for.
    pub(crate) own: ControlRequest,
}

/// One ring's end, in a cache line of its own: a shift finds it.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct End(Writer<Words>);

struct Shared {
    region: UnsafeCell<Region>,
    /// Two of each vCPU. In one row: of rows in a row the compiler keeps two pointers.
    ends: UnsafeCell<[End; 2 * MAX_VCPUS]>,
}

// SAFETY: written by `init` alone before `SERVED` is set, read only afterwards.
unsafe impl Sync for Shared {}

const NOWHERE: Words = Words(core::ptr::null_mut());

static SHARED: Shared = Shared {
    region: UnsafeCell::new(Region {
        words: NOWHERE,
        physical: 0,
        geometry: match Geometry::with_ring_bytes(1, layout::MIN_RING) {
            Ok(geometry) => geometry,
            Err(_) => unreachable!(),
        },
        histograms: NOWHERE,
        tsc_hz: 1,
        own: ControlRequest::NOTHING,
    }),
    ends: UnsafeCell::new([End(Writer::new(NOWHERE, RingGeometry::new(4, 1), 0)); 2 * MAX_VCPUS]),
};
static CLAIMED: AtomicBool = AtomicBool::new(false);
/// vCPUs that have rings; 0 until `init` has succeeded. One word, so that an event asks both questions with one compare.
static SERVED: AtomicU32 = AtomicU32::new(0);
static INTERRUPT_COST: AtomicU64 = AtomicU64::new(0);
/// Keeps the region reachable for leak checkers and debuggers: `p uniprof_probes::region::BASE`.
static BASE: AtomicPtr<u8> = AtomicPtr::new(core::ptr::null_mut());

/// The region, once there is one.
#[inline(always)]
pub(crate) fn region() -> Option<&'static Region> {
    // SAFETY: `SERVED` is set after the last write to it.
    (SERVED.load(Ordering::Acquire) != 0).then(|| unsafe { &*SHARED.region.get() })
}

/// The region, if it has a place for the vCPU.
#[inline(always)]
pub(crate) fn region_of(vcpu: u32) -> Option<&'static Region> {
    // SAFETY: as in `region`.
    (vcpu < SERVED.load(Ordering::Acquire)).then(|| unsafe { &*SHARED.region.get() })
}

/// One ring of a vCPU. `None` for a vCPU beyond the geometry, and before `init`.
#[inline(always)]
pub(crate) fn writer(vcpu: u32, kind: RingKind) -> Option<&'static Writer<Words>> {
    if vcpu >= SERVED.load(Ordering::Acquire) {
        return None;
    }
    // SAFETY: as in `region`; `init` accepts at most MAX_VCPUS, so those that are served have a place.
    let end = unsafe { (*SHARED.ends.get()).get_unchecked(2 * vcpu as usize + kind as usize) };
    Some(&end.0)
}

/// States what entering and leaving the sampling interrupt costs, in TSC ticks: the kernel measures it at
/// boot (the shortest of many round trips through the same path with an empty handler). It is
/// added to the measured time of the probes, so that the stated own cost has both.
pub fn set_interrupt_cost(ticks: u64) {
    INTERRUPT_COST.store(ticks, Ordering::Relaxed);
}

pub(crate) fn interrupt_cost() -> u64 {
    INTERRUPT_COST.load(Ordering::Relaxed)
}

/// Initialises the region and switches the probes on. Never panics: where it cannot, the kernel goes on without.
///
/// # Safety
/// `config.memory` stays mapped, readable and writable for the life of the kernel, and nothing else writes it
/// (a host may write the control page).
pub unsafe fn init(config: Config<'_>) -> Status {
    match claim(&config) {
        Ok(geometry) => publish(&config, geometry),
        Err(why) => return Status::Off(why),
    }
    Status::On
}

fn claim(config: &Config<'_>) -> Result<Geometry, Why> {
    let Memory { base, bytes, .. } = config.memory;
    if base.is_null() || !(base as usize).is_multiple_of(layout::PAGE) {
        return Err(Why::Memory);
    }
    if config.tsc_hz == 0 {
        return Err(Why::NoClock);
    }
    if config.vcpus == 0 || config.vcpus as usize > MAX_VCPUS {
        return Err(Why::Vcpus(config.vcpus));
    }
    let mut ring_bytes = config.ring_bytes;
    let geometry = loop {
        let geometry = Geometry::with_ring_bytes(config.vcpus, ring_bytes).map_err(Why::Layout)?;
        if geometry.region_bytes() <= bytes {
            let geometry =
                if config.heap_interval == 0 { geometry } else { with_heap_table(geometry, bytes) };
            break with_connections(with_histograms(geometry, bytes), config.connections, bytes);
        }
        if ring_bytes == layout::MIN_RING {
            let (needed, available) = (geometry.region_bytes() as u64, bytes as u64);
            return Err(Why::Layout(LayoutError::TooSmall { needed, available }));
        }
        ring_bytes /= 2;
    };
    if CLAIMED.swap(true, Ordering::AcqRel) {
        return Err(Why::AlreadyOn);
    }
    Ok(geometry)
}

/// The geometry with the largest heap table that what the rings leave has room for; rings come first.
fn with_heap_table(geometry: Geometry, bytes: usize) -> Geometry {
    let mut slots = HEAP_SLOTS;
    while slots >= MIN_HEAP_SLOTS {
        match geometry.with_heap_slots(slots) {
            Ok(with) if with.region_bytes() <= bytes => return with,
            _ => slots /= 2,
        }
    }
    geometry
}

/// The geometry with as many histograms as the kernel has sites for, and as what is left has room for.
fn with_histograms(geometry: Geometry, bytes: usize) -> Geometry {
    let mut histograms = (histogram::sites().count() as u32).min(MAX_HISTOGRAMS);
    while histograms > 0 {
        match geometry.with_histograms(histograms) {
            Ok(with) if with.region_bytes() <= bytes => return with,
            _ => histograms -= 1,
        }
    }
    geometry
}

/// The geometry with a network table for so many connections, or for as many as what is left has room for.
fn with_connections(geometry: Geometry, wanted: u32, bytes: usize) -> Geometry {
    if wanted == 0 {
        return geometry;
    }
    let mut connections = wanted.clamp(MIN_CONNECTIONS, MAX_CONNECTIONS).next_power_of_two();
    while connections >= MIN_CONNECTIONS {
        match geometry.with_connections(connections) {
            Ok(with) if with.region_bytes() <= bytes => return with,
            _ => connections /= 2,
        }
    }
    geometry
}

fn publish(config: &Config<'_>, geometry: Geometry) {
    let words = Words(config.memory.base.cast());
    words.store(0, 0);
    fence(Ordering::SeqCst);
    for word in 1..geometry.tables_bytes() / 8 {
        words.store(word, 0);
    }
    let keys = words.at_byte(geometry.heap_keys());
    (0..geometry.heap_slots() as usize).for_each(|slot| keys.store(slot, 0));
    histogram::format(words, geometry);
    let table = words.at_byte(geometry.net_table());
    (0..geometry.net_bytes() / 8).for_each(|word| table.store(word, 0));
    let now = platform::now();
    let header = RegionHeader {
        architecture: arch::ARCHITECTURE,
        boot_id: boot_id(now, config),
        region_gpa: GuestPhysical(config.memory.physical),
        region_gva: GuestVirtual(config.memory.base as u64),
        geometry,
        tsc_hz: config.tsc_hz,
        boot_tsc: now,
        boot_wall_ns: config.wall_ns,
        sites: sites::section(),
        name: FixedText::new(config.name.as_bytes()),
    };
    // SAFETY: `claim` lets one caller through, and `SERVED` is still 0.
    unsafe {
        for vcpu in 0..geometry.vcpus() {
            for kind in RingKind::ALL {
                let ring = words.at_byte(geometry.ring_offset(vcpu, kind));
                let writer = Writer::new(ring, geometry.ring(), header.salt());
                writer.format();
                (*SHARED.ends.get())[2 * vcpu as usize + kind as usize] = End(writer);
            }
        }
        *SHARED.region.get() = Region {
            words,
            physical: config.memory.physical,
            geometry,
            histograms: words.at_byte(geometry.histogram_table(0)),
            tsc_hz: config.tsc_hz,
            own: ControlRequest {
                rate: config.sample_hz,
                classes: config.classes & Class::RECORDED,
                patterns: FixedText::new(config.patterns.as_bytes()),
                snapshot_bytes: config.snapshot_bytes,
                ..ControlRequest::NOTHING
            },
        };
    }
    publish_image(words.at_byte(geometry.image_table()), config);
    BASE.store(config.memory.base, Ordering::Release);
    let header = header.to_words();
    (1..header.len()).for_each(|i| words.store(i, header[i]));
    fence(Ordering::SeqCst);
    words.store(0, header[0]);
    SERVED.store(geometry.vcpus(), Ordering::Release);
    if let Some(region) = region() {
        control::check(region, now);
        heap::start(region, config.heap_interval, header[2]);
        net::start(region);
    }
}

fn publish_image(slot: Words, config: &Config<'_>) {
    let image = config.image;
    let mut build_id = [0; 32];
    let len = image.build_id.len().min(32);
    build_id[..len].copy_from_slice(&image.build_id[..len]);
    let entry = ImageEntry {
        range: (GuestVirtual(image.start as u64), GuestVirtual(image.end as u64)),
        bias: image.bias,
        build_id_len: len as u8,
        build_id,
        name: FixedText::new(config.name.as_bytes()),
    };
    entry.to_words().iter().enumerate().for_each(|(i, &word)| slot.store(1 + i, word));
    const { assert!(IMAGE_WORDS > 1) };
    slot.store(0, 2);
}

/// Differs from boot to boot: wall clock, TSC and address, mixed (the finalizer of SplitMix64).
fn boot_id(now: u64, config: &Config<'_>) -> u64 {
    let mut x = now ^ config.wall_ns.rotate_left(32) ^ config.memory.physical.rotate_left(17);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (x ^ (x >> 31)).max(1)
}
