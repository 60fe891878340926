//! Sites: static descriptions of probes, gathered by the linker (layout: `uniprof_wire::site`).

use core::sync::atomic::{AtomicU32, Ordering};

use uniprof_wire::address::GuestVirtual;
use uniprof_wire::site::{self, SiteKind};

/// One site with `N` bytes of text. The macros make them.
#[repr(C, align(8))]
pub struct Site<const N: usize> {
    first: u64,
    enabled: AtomicU32,
    line: u32,
    slot: AtomicU32,
    reserved: u32,
    text: [u8; N],
}

impl<const N: usize> Site<N> {
    /// Describes a site; `text` is `name`, file NUL, for each argument its type's letter and its name NUL.
    #[must_use]
    pub const fn new(kind: SiteKind, name: &str, args: usize, line: u32, text: &str) -> Self {
        let mut bytes = [0; N];
        let mut i = 0;
        while i < text.len() {
            bytes[i] = text.as_bytes()[i];
            i += 1;
        }
        Self {
            first: site::first_word(kind, site::HEADER_BYTES + N, args, name.len()),
            enabled: AtomicU32::new(0),
            line,
            slot: AtomicU32::new(0),
            reserved: 0,
            text: bytes,
        }
    }

    /// 1 + the number of its histogram in the region's table, 0 for none.
    #[inline(always)]
    pub fn slot(&self) -> u32 {
        self.slot.load(Ordering::Relaxed)
    }

    /// Its byte offset in the section: the number that its records carry.
    #[inline(always)]
    pub fn id(&self) -> u32 {
        id_of_entry(core::ptr::from_ref(self).addr())
    }
}

/// The number of the entry at an address: its byte offset in the section.
#[inline(always)]
#[must_use]
pub fn id_of_entry(address: usize) -> u32 {
    address.wrapping_sub((&raw const START).addr()) as u32
}

/// Where a site's switch is, in bytes.
pub const SWITCH: usize = core::mem::offset_of!(Site<0>, enabled);

// SAFETY: the linker defines both for every section whose name is a C identifier; only their addresses are used.
unsafe extern "C" {
    #[link_name = "__start_uniprof_sites"]
    static START: u8;
    #[link_name = "__stop_uniprof_sites"]
    static STOP: u8;
}

const OWN_TEXT: &str = concat!("uniprof.init", file!(), "\0");
const OWN_BYTES: usize = site::entry_bytes(OWN_TEXT.len()) - site::HEADER_BYTES;

/// Makes the section exist in a kernel that has no site of its own; it never fires.
#[used]
#[unsafe(link_section = "uniprof_sites")]
static OWN: Site<OWN_BYTES> = Site::new(SiteKind::Event, "uniprof.init", 0, line!(), OWN_TEXT);

/// Address range of the section.
pub(crate) fn section() -> (GuestVirtual, GuestVirtual) {
    // Mentions the section's own entry, so that its object file is linked.
    let _ = OWN.slot();
    (GuestVirtual(&raw const START as u64), GuestVirtual(&raw const STOP as u64))
}

/// Whole words of the section.
pub(crate) fn section_words() -> usize {
    let (start, stop) = section();
    (stop.0.saturating_sub(start.0) / 8) as usize
}

/// Copies words of the section, from number `first` on, for who sends them.
pub(crate) fn copy_section(first: usize, out: &mut [u64]) {
    let words = section_words();
    for (index, out) in (first..words).zip(out) {
        // What changes in an entry are words of 32 bits, so that is how all of it is read.
        let half = |half: usize| {
            // SAFETY: inside the section, aligned, and written only as such atomics.
            let word = unsafe {
                AtomicU32::from_ptr((&raw const START).add(index * 8 + half * 4).cast_mut().cast())
            };
            u64::from(word.load(Ordering::Relaxed))
        };
        *out = half(0) | half(1) << 32;
    }
}

/// An entry of the section, whichever text it has.
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    at: *const u8,
    first: u64,
}

impl Entry {
    /// What it emits.
    pub(crate) fn kind(self) -> Option<SiteKind> {
        SiteKind::from_number((self.first >> 32) as u8)
    }

    fn total(self) -> usize {
        (self.first >> 16 & 0xffff) as usize
    }

    /// Its name.
    pub(crate) fn name(self) -> &'static [u8] {
        let len = ((self.first >> 48) as usize).min(self.total() - site::HEADER_BYTES);
        // SAFETY: the entry lies whole in the section, and its text is never written.
        unsafe { core::slice::from_raw_parts(self.at.add(site::HEADER_BYTES), len) }
    }

    /// Its byte offset in the section.
    pub(crate) fn id(self) -> u32 {
        (self.at as usize).wrapping_sub(&raw const START as usize) as u32
    }

    /// Switches it on or off.
    pub(crate) fn enable(self, on: bool) {
        self.store(SWITCH, on.into());
    }

    /// Gives it a histogram: 1 + its number, or 0 for none.
    pub(crate) fn set_slot(self, slot: u32) {
        self.store(16, slot);
    }

    fn store(self, byte: usize, value: u32) {
        // SAFETY: a word of an entry that is only accessed as an atomic.
        let word = unsafe { AtomicU32::from_ptr(self.at.add(byte).cast_mut().cast()) };
        word.store(value, Ordering::Relaxed);
    }
}

/// Every entry of the section, in order.
pub(crate) fn entries() -> impl Iterator<Item = Entry> {
    let (start, stop) = (&raw const START, &raw const STOP);
    let mut at = start;
    core::iter::from_fn(move || {
        while (stop as usize).saturating_sub(at as usize) >= site::HEADER_BYTES {
            // SAFETY: within the section, whose parts are 8-aligned.
            let entry = Entry { at, first: unsafe { at.cast::<u64>().read() } };
            let whole = entry.first as u16 == site::MAGIC && entry.total() >= site::HEADER_BYTES;
            // SAFETY: an entry lies whole in the section; else this is padding between two objects' parts, and the loop's
            // condition holds it inside.
            at = unsafe { at.add(if whole { entry.total() } else { 8 }) };
            if whole {
                return Some(entry);
            }
        }
        None
    })
}

/// Makes the static of a site, and evaluates to a reference to it if the site is switched on. For the probe macros.
///
/// The statics have a block of their own, because the arguments of a probe could use the same names for something else.
#[doc(hidden)]
#[macro_export]
macro_rules! __site {
    ($kind:ident, $name:literal $(, $key:ident $($type:ident)?)*) => {{
        const TEXT: &str =
            concat!($name, file!(), "\0" $(, $crate::__letter!($($type)?), stringify!($key), "\0")*);
        const BYTES: usize = $crate::expansion::entry_bytes(TEXT.len()) - $crate::expansion::HEADER_BYTES;
        const ARGS: usize = { const KEYS: &[&str] = &[$(stringify!($key)),*]; KEYS.len() };
        #[unsafe(link_section = "uniprof_sites")]
        static SITE: $crate::Site<BYTES> =
            $crate::Site::new($crate::expansion::SiteKind::$kind, $name, ARGS, line!(), TEXT);
        if $crate::__is_on!(SITE, $crate::expansion::SWITCH) { Some(&SITE) } else { None }
    }};
}
