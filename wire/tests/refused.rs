//! Records that a ring has no room for.

use std::cell::Cell;

use uniprof_wire::record::{Class, Kind};
use uniprof_wire::ring::{
    Block, HEAD, IDLE, IN_FLIGHT, REFUSED, Refused, RingGeometry, Source, Writer, read_block,
};

#[test]
fn a_record_that_no_sub_buffer_holds_is_counted_and_leaves_no_trace() {
    let geometry = RingGeometry::new(64, 16);
    let memory = vec![Cell::new(0); geometry.total_words()];
    let writer = Writer::new(&memory[..], geometry, 7);
    writer.format();
    writer.write(Kind::Event, 3, |payload| (0..3).for_each(|word| payload.put(word, 1))).unwrap();
    for payload in [16, 17, 63, 64, 1000, usize::MAX - 1] {
        let refused = writer.write(Kind::Event, payload, |_| unreachable!("there is no room to fill"));
        assert_eq!(refused, Err(Refused), "{payload}");
        assert_eq!((memory[IN_FLIGHT].get(), memory[HEAD].get()), (IDLE, 4), "{payload}");
    }
    assert_eq!(memory[REFUSED + Class::Event as usize].get(), 6);
    // The largest that fits goes to the next sub-buffer.
    writer.write(Kind::Event, 15, |payload| (0..15).for_each(|word| payload.put(word, 2))).unwrap();
    let mut out = [0; 16];
    let second = read_block(&&memory[..], geometry, Source::Live, 16, &mut out);
    assert!(matches!(second, Block::Copied { start: 16, end: 32, .. }), "{second:?}");
}
