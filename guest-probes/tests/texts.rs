//! Texts and bytes of any length, and what stands behind them in a record; the ring is read back as a host would.

use uniprof_probes as probe;
use uniprof_wire::layout::RingKind;
use uniprof_wire::record::{MAX_ARG_BYTES, Record};
use uniprof_wire::site::{self, Value};

mod machine;

probe::region!(bytes = 4 << 20);

/// More than is kept.
const LONGEST: usize = MAX_ARG_BYTES + 10;

/// What one record told: its first text, a number, its second, and a number.
fn told(section: &[u8], args: &[u64]) -> (Vec<u8>, usize, u64, Vec<u8>, u64) {
    let site = site::sites(section).find(|site| site.name == "texts").expect("the site");
    let values: Vec<_> = site.values(args).map(|(_, value)| value).collect();
    let [Value::Text(first), Value::Unsigned(number), Value::Bytes(second), Value::Unsigned(last)] =
        values[..]
    else {
        panic!("{values:?}")
    };
    assert_eq!(second.total as u64, LONGEST as u64 - number, "the length before it was cut");
    (first.kept.bytes().collect(), first.total, number, second.kept.bytes().collect(), last)
}

#[test]
fn texts_of_every_length_come_whole_and_so_does_what_follows() {
    let config = probe::Config {
        tsc_hz: 1_000_000,
        classes: probe::Class::Event.bit(),
        ..probe::Config::new(region_memory())
    };
    // SAFETY: the static region.
    assert_eq!(unsafe { probe::init(config) }, probe::Status::On);
    let bytes: [u8; LONGEST] = core::array::from_fn(|i| b'0' + (i % 75) as u8);
    let text = core::str::from_utf8(&bytes).expect("ASCII");
    for len in 0..=LONGEST {
        let rest = &bytes[len..];
        probe::event!("texts", first: str = &text[..len], len = len, second: bytes = rest, last = !0_u64);
        let mut found = None;
        machine::drain(RingKind::Events, |record| {
            let Record::Event(event) = record else { panic!("{record:?}") };
            found = Some(told(machine::section(), event.args));
        });
        let kept = |bytes: &[u8]| bytes[..bytes.len().min(MAX_ARG_BYTES)].to_vec();
        assert_eq!(found, Some((kept(&bytes[..len]), len, len as u64, kept(rest), !0)), "{len}");
    }
}
