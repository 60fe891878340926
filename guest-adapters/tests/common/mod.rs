//! A "kernel" that is this process, and its region read back as a host would.

use std::cell::Cell;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use uniprof_probes as probe;
use uniprof_wire::layout::{HEADER_WORDS, RegionHeader, RingKind};
use uniprof_wire::record::{Record, Records};
use uniprof_wire::ring::{self, Block, Source};
use uniprof_wire::site;

probe::region!(bytes = 1 << 20);

static NOW: AtomicU64 = AtomicU64::new(1);
thread_local! { static THREAD: Cell<u32> = const { Cell::new(1) }; }

struct Process;
// SAFETY: an atomic and a thread local without a destructor; threads of a test probe one after the other.
unsafe impl probe::Platform for Process {
    fn now() -> u64 {
        NOW.fetch_add(1, Ordering::Relaxed)
    }
    fn vcpu() -> u32 {
        0
    }
    fn pin() {}
    fn unpin() {}
    fn stack() -> Range<usize> {
        0..0
    }
    fn thread() -> probe::ThreadId {
        THREAD.get()
    }
}
probe::platform!(Process);

/// Gives the calling thread its number.
#[allow(dead_code, reason = "not by every test")]
pub(crate) fn set_thread(id: u32) {
    THREAD.set(id);
}

/// Switches the probes on.
pub(crate) fn init() {
    let config = probe::Config { tsc_hz: 1_000_000, ..probe::Config::new(region_memory()) };
    // SAFETY: the static region.
    assert_eq!(unsafe { probe::init(config) }, probe::Status::On);
}

/// Every record of a ring so far, as text: an event by its site's name and its arguments.
pub(crate) fn told(kind: RingKind) -> Vec<String> {
    let memory = region_memory();
    // SAFETY: the static region, which is only accessed as atomic words.
    let words: &[AtomicU64] = unsafe { std::slice::from_raw_parts(memory.base.cast(), memory.bytes / 8) };
    let header: [u64; HEADER_WORDS] = std::array::from_fn(|i| words[i].load(Ordering::Acquire));
    let header = RegionHeader::from_words(&header, memory.bytes as u64).expect("a region");
    let geometry = header.geometry;
    let first = geometry.ring_offset(0, kind) / 8;
    let ring_words = &words[first..first + geometry.ring().total_words()];
    let mut out = vec![0; geometry.ring().sub_buffer_words()];
    let Block::Copied { start, end, .. } =
        ring::read_block(&ring_words, geometry.ring(), Source::Live, 0, &mut out)
    else {
        return Vec::new();
    };
    let (from, to) = header.sites;
    // SAFETY: the section of this process, which nobody writes now.
    let section = unsafe { std::slice::from_raw_parts(from.0 as *const u8, (to.0 - from.0) as usize) };
    let records = Records::new(&out[..(end - start) as usize], start, header.salt());
    records.map(|found| line(&found.record.expect("intact"), section)).collect()
}

fn line(record: &Record<'_>, section: &[u8]) -> String {
    let site = |id: u32| site::sites(section).find(|site| site.id == id).expect("a site");
    let by_site = |id: u32, args: &[u64]| {
        let mut line = site(id).name.to_owned();
        for (arg, value) in site(id).values(args) {
            line += &format!(" {}={value}", arg.name);
        }
        line
    };
    match record {
        Record::Event(event) => by_site(event.site, event.args),
        Record::SpanBegin(begin) => format!("begin {}", by_site(begin.site, begin.args)),
        Record::SpanEnd(end) => {
            format!("end {} begun by {} on {}", site(end.site).name, end.begun_on, end.thread)
        }
        Record::Log(log) => String::from_utf8(log.text.bytes().collect()).expect("text"),
        other => panic!("{other:?}"),
    }
}
