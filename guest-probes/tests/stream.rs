//! The streamer against a host that is played: over a line that takes little at a time, and one that loses frames.

use std::sync::Mutex;

use uniprof_probes as probe;
use uniprof_wire::WIRE_VERSION;
use uniprof_wire::layout::{HEADER_WORDS, RegionHeader, RingKind};
use uniprof_wire::record::{Class, Record, Records};
use uniprof_wire::stream::{Begin, Decoded, Decoder, Frame, RingName};
use uniprof_wire::tables::ControlRequest;

mod machine;

probe::region!(bytes = 1 << 20);

/// The probes are the whole process's: one test at a time.
static TURN: Mutex<()> = Mutex::new(());
const EVENTS: RingName = RingName { vcpu: 0, kind: RingKind::Events };

fn begin() -> std::sync::MutexGuard<'static, ()> {
    let turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let config = probe::Config {
        tsc_hz: 1_000_000,
        ring_bytes: 16 << 10,
        classes: Class::RECORDED,
        ..probe::Config::new(region_memory())
    };
    // SAFETY: the static region; a second call changes nothing.
    unsafe { probe::init(config) };
    turn
}

/// A line that takes at most so many bytes at a time, and a host's end of it.
struct Line {
    room: usize,
    sent: Vec<u8>,
}

impl probe::Sink for Line {
    fn write(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(self.room);
        self.sent.extend_from_slice(&bytes[..taken]);
        taken
    }
}

fn say(streamer: &mut probe::Streamer<'_>, epoch: u32, frame: &Frame<'_>) {
    let mut out = [0; 80];
    let words = frame.encode(epoch, &mut out).unwrap();
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    // In two pieces: lines do that.
    let (a, b) = bytes.split_at(bytes.len() / 2);
    streamer.receive(a);
    streamer.receive(b);
}

fn attach(streamer: &mut probe::Streamer<'_>, epoch: u32, begin: Begin) {
    say(streamer, epoch, &Frame::Attach { wire_version: WIRE_VERSION, begin });
}

/// All that the streamer has to say, in frames.
fn hear(streamer: &mut probe::Streamer<'_>, room: usize, mut each: impl FnMut(u32, Frame<'_>)) {
    let mut line = Line { room, sent: Vec::new() };
    while streamer.step(&mut line) != probe::Step::Idle {}
    let mut decoder = Decoder::new(vec![0; line.sent.len() + 64]);
    decoder.push(&line.sent);
    loop {
        match decoder.next() {
            Decoded::NeedMore => return,
            Decoded::Malformed { bytes } => panic!("{bytes} bytes are no frame"),
            Decoded::Frame { epoch, frame } => each(epoch, frame),
        }
    }
}

fn emit(from: u64, to: u64) {
    for number in from..to {
        probe::event!("number", number = number);
    }
}

/// First arguments of the events in a block.
fn numbers(start: u64, words: &[u64]) -> Vec<u64> {
    let records = Records::new(words, start, machine::header().salt());
    let number = |record| match record {
        Ok(Record::Event(event)) => event.args.first().copied(),
        Ok(_) => None,
        Err(bad) => panic!("{bad:?}"),
    };
    records.filter_map(|found| number(found.record)).collect()
}

#[test]
fn what_is_new_comes_once_and_in_order_however_little_the_line_takes() {
    let _turn = begin();
    let mut buffer = vec![0; probe::Streamer::buffer_words()];
    let mut streamer = probe::Streamer::new(&mut buffer).unwrap();
    emit(0, 10);
    hear(&mut streamer, 7, |_, frame| panic!("nobody listens to {frame:?}"));
    attach(&mut streamer, 7, Begin::Now);
    let mut opened = 0;
    let mut regions = 0;
    hear(&mut streamer, 7, |epoch, frame| match frame {
        Frame::Region { words, .. } => {
            let header: [u64; HEADER_WORDS] = std::array::from_fn(|i| words.get(i).unwrap());
            let header = RegionHeader::from_words(&header, u64::MAX).unwrap();
            assert_eq!((epoch, words.len() * 8), (7, header.geometry.tables_bytes()));
            regions += 1;
        }
        Frame::Counters { last: false, counted: Some((head, ..)), from, .. } => {
            assert_eq!(head, from);
            opened += 1;
        }
        frame => panic!("{frame:?}"),
    });
    assert_eq!((regions, opened), (1, 2));
    emit(10, 40);
    let mut seen = Vec::new();
    hear(&mut streamer, 7, |_, frame| {
        if let Frame::Block { ring: EVENTS, start, words, .. } = frame {
            seen.extend(numbers(start, &words.iter().collect::<Vec<_>>()));
        }
    });
    assert_eq!(seen, (10..40).collect::<Vec<_>>());
}

#[test]
fn what_the_line_loses_is_sent_again_and_what_was_overwritten_shows() {
    let _turn = begin();
    let mut buffer = vec![0; probe::Streamer::buffer_words()];
    let mut streamer = probe::Streamer::new(&mut buffer).unwrap();
    attach(&mut streamer, 1, Begin::Now);
    let mut expected = 0;
    hear(&mut streamer, 1 << 20, |_, frame| {
        if let Frame::Counters { ring: EVENTS, from, .. } = frame {
            expected = from;
        }
    });
    emit(0, 50);
    // Lost on the line.
    hear(&mut streamer, 1 << 20, |_, _| {});
    emit(50, 60);
    let mut gap = None;
    hear(&mut streamer, 1 << 20, |_, frame| {
        if let Frame::Block { ring: EVENTS, from, start, .. } = frame {
            assert_eq!(from, start, "the guest left nothing out");
            gap = Some(from);
        }
    });
    assert!(gap.unwrap() > expected);
    say(&mut streamer, 1, &Frame::Seek { ring: EVENTS, position: expected });
    let mut seen = Vec::new();
    hear(&mut streamer, 1 << 20, |_, frame| {
        if let Frame::Block { ring: EVENTS, start, words, from, .. } = frame {
            assert_eq!(from, expected);
            expected += words.len() as u64;
            seen.extend(numbers(start, &words.iter().collect::<Vec<_>>()));
        }
    });
    assert_eq!(seen, (0..60).collect::<Vec<_>>());
    // Twice the ring: some of it is gone for good.
    emit(0, 2000);
    let mut left_out = 0;
    hear(&mut streamer, 1 << 20, |_, frame| {
        if let Frame::Block { ring: EVENTS, from, start, .. } = frame {
            left_out += start - from;
        }
    });
    assert!(left_out > 0);
    // A cursor that no ring has, and a ring that there is not, change nothing.
    say(&mut streamer, 1, &Frame::Seek { ring: EVENTS, position: u64::MAX });
    say(&mut streamer, 1, &Frame::Seek { ring: RingName { vcpu: 9, ..EVENTS }, position: 0 });
    hear(&mut streamer, 1 << 20, |_, frame| panic!("{frame:?}"));
}

#[test]
fn a_full_line_keeps_nobody_from_writing() {
    let _turn = begin();
    let mut buffer = vec![0; probe::Streamer::buffer_words()];
    let mut streamer = probe::Streamer::new(&mut buffer).unwrap();
    attach(&mut streamer, 1, Begin::Boot);
    let mut full = Line { room: 0, sent: Vec::new() };
    assert_eq!(streamer.step(&mut full), probe::Step::Blocked);
    emit(0, 5000);
    assert_eq!(streamer.step(&mut full), probe::Step::Blocked);
    let mut frames = 0;
    hear(&mut streamer, 100, |_, _| frames += 1);
    assert!(frames > 1);
    streamer.disconnected();
    emit(0, 5);
    hear(&mut streamer, 100, |_, frame| panic!("nobody listens to {frame:?}"));
}

#[test]
fn requests_take_effect_are_withdrawn_and_never_fill_the_page() {
    let _turn = begin();
    let mut buffer = vec![0; probe::Streamer::buffer_words()];
    let mut streamer = probe::Streamer::new(&mut buffer).unwrap();
    attach(&mut streamer, 3, Begin::Now);
    let request = |owner, rate, lease_ms| {
        Frame::Request(ControlRequest { owner, renewals: 1, lease_ms, rate, ..ControlRequest::default() })
    };
    let rate = |streamer: &mut probe::Streamer<'_>| {
        machine::pass(100_000);
        probe::poll();
        machine::pass(2_000_000);
        let mut rate = None;
        hear(streamer, 1 << 20, |_, frame| {
            if let Frame::Region { words, .. } = frame {
                let header: [u64; HEADER_WORDS] = std::array::from_fn(|i| words.get(i).unwrap());
                let table = RegionHeader::from_words(&header, u64::MAX).unwrap().geometry.vcpu_table() / 8;
                rate = words.get(table + uniprof_wire::tables::VcpuField::Rate as usize);
            }
        });
        rate.unwrap()
    };
    let own = rate(&mut streamer);
    say(&mut streamer, 3, &request(77, 5000, 60_000));
    assert_eq!(rate(&mut streamer), 5000);
    say(&mut streamer, 99, &request(78, 9000, 60_000));
    assert_eq!(rate(&mut streamer), 5000, "a frame of another conversation");
    say(&mut streamer, 3, &request(77, 5000, 0));
    assert_eq!(rate(&mut streamer), own);
    // More owners than slots, one after another, none of which said goodbye.
    for owner in 100..120 {
        say(&mut streamer, 3, &request(owner, owner as u32 * 10, 60_000));
        machine::pass(10);
    }
    assert_eq!(rate(&mut streamer), 1190);
    for owner in 100..120 {
        say(&mut streamer, 3, &request(owner, 0, 0));
    }
    assert_eq!(rate(&mut streamer), own);
}

#[test]
fn the_account_is_closed_and_the_clock_is_told() {
    let _turn = begin();
    let mut buffer = vec![0; probe::Streamer::buffer_words()];
    let mut streamer = probe::Streamer::new(&mut buffer).unwrap();
    attach(&mut streamer, 4, Begin::Now);
    hear(&mut streamer, 1 << 20, |_, _| {});
    emit(0, 3);
    say(&mut streamer, 4, &Frame::Ping { token: 42 });
    say(&mut streamer, 4, &Frame::Finish);
    let (mut closed, mut told, mut after) = (0, 0, 0);
    hear(&mut streamer, 1 << 20, |_, frame| match frame {
        Frame::Counters { last: true, counted: Some((head, _, slots)), .. } => {
            assert!(head < 1 << 20 && slots.len().is_multiple_of(16));
            closed += 1;
        }
        Frame::Pong { token: 42, tsc } => {
            assert!(tsc > 1_000_000);
            told += 1;
        }
        Frame::Region { .. } => after = closed,
        _ => {}
    });
    assert_eq!((closed, told, after), (2, 1, 2), "the tables come once more, last");
}
