//! A "kernel" that is this process, and its region read back as a host would.

use uniprof_probes as probe;
use uniprof_wire::layout::RingKind;
use uniprof_wire::record::{Record, Records};
use uniprof_wire::ring::{self, Block, Source};
use uniprof_wire::site;

#[path = "../../../guest-probes/tests/machine/mod.rs"]
pub(crate) mod machine;

probe::region!(bytes = 1 << 20);

/// Switches the probes on.
pub(crate) fn init() {
    let config = probe::Config { tsc_hz: 1_000_000, ..probe::Config::new(region_memory()) };
    // SAFETY: the static region.
    assert_eq!(unsafe { probe::init(config) }, probe::Status::On);
}

/// Every record of a ring so far, as text: an event by its site's name and its arguments.
pub(crate) fn told(kind: RingKind) -> Vec<String> {
    let header = machine::header();
    let geometry = header.geometry;
    let ring_words = machine::ring(kind);
    let mut out = vec![0; geometry.ring().sub_buffer_words()];
    let Block::Copied { start, end, .. } =
        ring::read_block(&ring_words, geometry.ring(), Source::Live, 0, &mut out)
    else {
        return Vec::new();
    };
    let section = machine::section();
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
