//! What the macros of `uniprof_macros.h` call, once a site is on; and log lines, which have no site.

use core::ffi::c_char;
use core::slice;

use uniprof_probes::expansion::{self, Item, List, Word};
use uniprof_probes::{Class, Span, SpanId};

use crate::text::{bytes_of, text_of};

/// Bits of classes, for `uniprof_config.classes` and `uniprof_recording`: CPU samples.
pub const UNIPROF_CLASS_SAMPLES: u64 = 1 << 0;
/// Events.
pub const UNIPROF_CLASS_EVENTS: u64 = 1 << 1;
/// Spans.
pub const UNIPROF_CLASS_SPANS: u64 = 1 << 2;
/// Thread switches.
pub const UNIPROF_CLASS_SWITCHES: u64 = 1 << 3;
/// Counters, gauges and histograms.
pub const UNIPROF_CLASS_COUNTERS: u64 = 1 << 4;
/// Log lines.
pub const UNIPROF_CLASS_LOGS: u64 = 1 << 5;
/// Thread starts and exits.
pub const UNIPROF_CLASS_THREADS: u64 = 1 << 6;
/// Where threads wait, and who wakes them.
pub const UNIPROF_CLASS_OFF_CPU: u64 = 1 << 7;
/// Waits for locks.
pub const UNIPROF_CLASS_LOCKS: u64 = 1 << 8;
/// Interrupts.
pub const UNIPROF_CLASS_IRQ: u64 = 1 << 9;
/// Sampled blocks of the heap.
pub const UNIPROF_CLASS_HEAP: u64 = 1 << 10;
/// Packets, and states of connections.
pub const UNIPROF_CLASS_NET: u64 = 1 << 12;

const _: () = {
    assert!(UNIPROF_CLASS_SAMPLES == Class::Sample.bit() && UNIPROF_CLASS_EVENTS == Class::Event.bit());
    assert!(UNIPROF_CLASS_SPANS == Class::Span.bit() && UNIPROF_CLASS_SWITCHES == Class::Switch.bit());
    assert!(UNIPROF_CLASS_COUNTERS == Class::Counter.bit() && UNIPROF_CLASS_LOGS == Class::Log.bit());
    assert!(UNIPROF_CLASS_THREADS == Class::Thread.bit() && UNIPROF_CLASS_OFF_CPU == Class::OffCpu.bit());
    assert!(UNIPROF_CLASS_LOCKS == Class::Lock.bit() && UNIPROF_CLASS_IRQ == Class::Irq.bit());
    assert!(UNIPROF_CLASS_HEAP == Class::Heap.bit() && UNIPROF_CLASS_NET == Class::Net.bit());
};

/// Most arguments of an event or a span.
pub const UNIPROF_MOST_ARGS: u32 = 16;

/// The beginning of an entry in the section `uniprof_sites`: the macros make them. Its text follows.
#[repr(C)]
pub struct Site {
    /// Magic number, bytes, kind, number of arguments, bytes of the name.
    pub first: u64,
    /// Whether it is on. The probes write it.
    pub enabled: u32,
    /// Line in the source file.
    pub line: u32,
    /// 1 + the number of its histogram. The probes write it.
    pub slot: u32,
    /// 0.
    pub reserved: u32,
}

/// `uniprof_arg.bytes` of a scalar.
pub const UNIPROF_SCALAR: u64 = 0xffff_ffff_ffff_ffff;
/// `uniprof_arg.bytes` of a NUL-terminated text.
pub const UNIPROF_TEXT: u64 = 0xffff_ffff_ffff_fffe;

/// An argument of an event or a span.
#[repr(C)]
pub struct Arg {
    /// The scalar, or the address of text or bytes.
    pub value: u64,
    /// UNIPROF_SCALAR, UNIPROF_TEXT, or how many bytes.
    pub bytes: u64,
}

/// A span that goes on, on whichever thread; all 0 for one of a site that is off. May be copied; `uniprof_span_end` ends it.
#[repr(C)]
pub struct OpenSpan {
    /// Site and thread.
    pub shape: u64,
    /// When it began.
    pub begin: u64,
}

impl Arg {
    /// # Safety
    /// Text and bytes are what they say, and null pointers have none.
    unsafe fn item(&self) -> Item<'_> {
        let at = self.value as usize as *const c_char;
        match self.bytes {
            UNIPROF_SCALAR => Item::Word(Word(self.value)),
            // SAFETY: the caller vouches for it.
            UNIPROF_TEXT => Item::Bytes(expansion::bytes(unsafe { bytes_of(at) })),
            _ if at.is_null() => Item::Bytes(expansion::bytes(&[])),
            bytes => {
                // SAFETY: as above.
                let bytes = unsafe { slice::from_raw_parts(at.cast(), bytes as usize) };
                Item::Bytes(expansion::bytes(bytes))
            }
        }
    }
}

/// Calls `then` with the arguments.
///
/// # Safety
/// `args` points to `count` arguments, which are what they say.
unsafe fn with_args<R>(args: *const Arg, count: u32, then: impl FnOnce(List<'_>) -> R) -> R {
    let mut items = [Item::Word(Word(0)); UNIPROF_MOST_ARGS as usize];
    let count = count.min(UNIPROF_MOST_ARGS) as usize;
    for (index, item) in items[..count].iter_mut().enumerate() {
        // SAFETY: the caller vouches for it.
        *item = unsafe { (*args.add(index)).item() };
    }
    then(List::new(&items[..count]))
}

fn number_of(site: *const Site) -> u32 {
    expansion::id_of_entry(site.addr())
}

/// See `UNIPROF_EVENT`.
///
/// # Safety
/// From the macro.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uniprof_event(site: *const Site, args: *const Arg, count: u32) {
    // SAFETY: the macro sees to it.
    unsafe { with_args(args, count, |list| expansion::event(number_of(site), list)) }
}

/// See `UNIPROF_SPAN`.
///
/// # Safety
/// From the macro.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uniprof_span_begin(site: *const Site, args: *const Arg, count: u32) -> OpenSpan {
    // SAFETY: the macro sees to it.
    let span = unsafe { with_args(args, count, |list| Span::begin(number_of(site), list)) };
    let [shape, begin] = span.detach().to_words();
    OpenSpan { shape, begin }
}

/// Ends a span, on the thread that began it or on another. `UNIPROF_SPAN` does it by itself.
///
/// # Safety
/// `span` is null or what `UNIPROF_SPAN_BEGIN` gave.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uniprof_span_end(span: *const OpenSpan) {
    // SAFETY: the caller vouches for it.
    let Some(&OpenSpan { shape, begin }) = (unsafe { span.as_ref() }) else { return };
    drop(Span::adopt(SpanId::from_words([shape, begin])));
}

/// See `UNIPROF_COUNTER`.
#[unsafe(no_mangle)]
pub extern "C" fn uniprof_counter(site: *const Site, value: u64) {
    expansion::counter(number_of(site), value);
}

/// See `UNIPROF_GAUGE`.
#[unsafe(no_mangle)]
pub extern "C" fn uniprof_gauge(site: *const Site, value: i64) {
    expansion::gauge(number_of(site), value);
}

/// See `UNIPROF_GAUGE_DOUBLE`: the bits of a `double`, because the library has no floating-point registers.
#[unsafe(no_mangle)]
pub extern "C" fn uniprof_gauge_bits(site: *const Site, bits: u64) {
    expansion::gauge(number_of(site), f64::from_bits(bits));
}

/// See `UNIPROF_HISTOGRAM`.
#[unsafe(no_mangle)]
pub extern "C" fn uniprof_histogram(slot: u32, value: u64) {
    expansion::record(slot, value);
}

/// Whether somebody wants records of one of these classes now: for what a kernel would otherwise do for nobody.
#[unsafe(no_mangle)]
pub extern "C" fn uniprof_recording(classes: u64) -> bool {
    Class::ALL.iter().any(|&class| classes & class.bit() != 0 && uniprof_probes::recording(class))
}

/// Records one line, without its newline, as far as it is UTF-8; the first 1,024 bytes count.
///
/// # Safety
/// `line` is null or a NUL-terminated text.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uniprof_log(line: *const c_char) {
    // SAFETY: the caller vouches for it.
    uniprof_probes::log_line(unsafe { text_of(line) });
}
