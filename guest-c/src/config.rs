//! Switching the probes on.

use core::ffi::{c_char, c_void};
use core::{ptr, slice};

use uniprof_probes as probe;
use uniprof_probes::{Memory, Status, Why};

use crate::text::{text_of, valid};

/// Bytes of `uniprof_config.patterns`, with the NUL.
pub const UNIPROF_PATTERN_BYTES: usize = 257;

/// What `uniprof_init` needs to know. Made by `uniprof_defaults`.
#[repr(C)]
pub struct Config {
    /// The guest's name for itself; the first 64 bytes count.
    pub name: *const c_char,
    /// Ticks per second of `uniprof_os_now`.
    pub clock_hz: u64,
    /// How many vCPUs will run, at most 64.
    pub vcpus: u32,
    /// Bytes of each of the two rings of a vCPU: a power of two. Halved until the region holds all rings.
    pub ring_bytes: u32,
    /// Samples per second and vCPU while no collector asks for more; 0 for none.
    pub sample_hz: u32,
    /// Bytes of stack that a sample takes along while no collector asks for more: for code without frame pointers. 0: none.
    pub snapshot_bytes: u32,
    /// Classes that are on while no collector asks for more: UNIPROF_CLASS_SAMPLES and so on.
    pub classes: u64,
    /// Mean of the allocated bytes from one sample of the heap to the next; 0: the heap is not watched.
    pub heap_interval: u64,
    /// Connections that the region has room for, of kernels that tell of their network; 0: none, and no packets are counted.
    pub connections: u32,
    /// Wall clock in nanoseconds since the Unix epoch; 0 where the kernel has none.
    pub wall_ns: u64,
    /// The region: mapped, readable and writable for ever, at a multiple of 4096; nothing else writes it.
    pub region: *mut c_void,
    /// Its bytes.
    pub region_bytes: usize,
    /// Its guest-physical address, by which hosts know that they have found the original and no copy.
    pub region_physical: u64,
    /// The kernel's own image: address of the first byte and after the last, and where it runs less where it was linked.
    pub image_start: usize,
    /// See image_start.
    pub image_end: usize,
    /// See image_start.
    pub image_bias: u64,
    /// The descriptor of the note NT_GNU_BUILD_ID, at most 32 bytes; null where the linker wrote none.
    pub build_id: *const u8,
    /// Its bytes.
    pub build_id_bytes: usize,
    /// Patterns over the names of sites that are on or, with a `-`, off while no collector asks for more: `http.*,-http.raw`.
    pub patterns: [c_char; UNIPROF_PATTERN_BYTES],
}

/// One vCPU, rings of 1 MiB or what fits, 10 Hz, the light classes, stacks by frame pointers, a sample of the heap every 512 KiB.
/// `name` and `clock_hz` are still to be filled in.
#[unsafe(no_mangle)]
pub extern "C" fn uniprof_defaults(region: *mut c_void, bytes: usize, physical: u64) -> Config {
    let config = probe::Config::new(Memory { base: region.cast(), bytes, physical });
    Config {
        name: ptr::null(),
        clock_hz: config.tsc_hz,
        vcpus: config.vcpus,
        ring_bytes: config.ring_bytes,
        sample_hz: config.sample_hz,
        snapshot_bytes: config.snapshot_bytes,
        classes: config.classes,
        heap_interval: config.heap_interval,
        connections: config.connections,
        wall_ns: config.wall_ns,
        region,
        region_bytes: bytes,
        region_physical: physical,
        image_start: 0,
        image_end: 0,
        image_bias: 0,
        build_id: ptr::null(),
        build_id_bytes: 0,
        patterns: [0; UNIPROF_PATTERN_BYTES],
    }
}

/// Initialises the region and switches the probes on. Null if they are; else a sentence that says why not, for the kernel's log: it
/// goes on without. Call it once, on one vCPU, before anything else here has an effect.
///
/// # Safety
/// Nothing but the probes writes the region, and what `config` points to is what it says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uniprof_init(config: *const Config) -> *const c_char {
    // SAFETY: the caller vouches for it.
    let Some(config) = (unsafe { config.as_ref() }) else { return c"off: no configuration".as_ptr() };
    let build_id = if config.build_id.is_null() {
        &[]
    } else {
        // SAFETY: the caller vouches for it.
        unsafe { slice::from_raw_parts(config.build_id, config.build_id_bytes) }
    };
    let Config { region_bytes: bytes, region_physical: physical, .. } = *config;
    let memory = Memory { base: config.region.cast(), bytes, physical };
    let patterns = config.patterns.map(|letter| letter as u8);
    let length = patterns.iter().position(|&byte| byte == 0).unwrap_or(patterns.len());
    let config = probe::Config {
        // SAFETY: the caller vouches for it.
        name: unsafe { text_of(config.name) },
        tsc_hz: config.clock_hz,
        vcpus: config.vcpus,
        ring_bytes: config.ring_bytes,
        sample_hz: config.sample_hz,
        classes: config.classes,
        patterns: valid(&patterns[..length]),
        snapshot_bytes: config.snapshot_bytes,
        heap_interval: config.heap_interval,
        connections: config.connections,
        wall_ns: config.wall_ns,
        image: probe::Image {
            build_id,
            start: config.image_start,
            end: config.image_end,
            bias: config.image_bias,
        },
        ..probe::Config::new(memory)
    };
    // SAFETY: the caller vouches for the region.
    match unsafe { probe::init(config) } {
        Status::On => ptr::null(),
        Status::Off(why) => sentence(why).as_ptr(),
    }
}

fn sentence(why: Why) -> &'static core::ffi::CStr {
    match why {
        Why::AlreadyOn => c"off: uniprof_init was called twice",
        Why::Memory => c"off: the region is null or not at a multiple of 4096",
        Why::NoClock => c"off: clock_hz is 0",
        Why::Vcpus(_) => c"off: the probes serve 1 to 64 vCPUs",
        Why::Layout(_) => {
            c"off: the region is too small for these vCPUs, or ring_bytes is no power of two from 8 KiB to 64 MiB"
        }
    }
}
