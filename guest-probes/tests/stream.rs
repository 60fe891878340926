//! The streamer against a host that is played: over a line that takes little at a time, and one that loses frames.

use std::sync::Mutex;

use uniprof_probes as probe;
use uniprof_wire::WIRE_VERSION;
use uniprof_wire::layout::{HEADER_WORDS, RegionHeader, RingKind};
use uniprof_wire::record::{Class, Record, Records};
use uniprof_wire::stream::{Account, Area, Begin, Decoded, Decoder, Frame, RingName};
use uniprof_wire::tables::{ControlRequest, HISTOGRAM_WORDS};

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
        Frame::Counters { account: Account::Opens, counted: Some((head, ..)), from, .. } => {
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
        Frame::Counters { account: Account::Closes, counted: Some((head, _, slots)), .. } => {
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

/// Somebody else on the same line wants to know where rings are; who reads them goes on where it was.
#[test]
fn counters_that_somebody_wants_besides_move_no_cursor() {
    let _turn = begin();
    let mut buffer = vec![0; probe::Streamer::buffer_words()];
    let mut streamer = probe::Streamer::new(&mut buffer).unwrap();
    attach(&mut streamer, 9, Begin::Now);
    hear(&mut streamer, 1 << 20, |_, _| {});
    emit(0, 5);
    say(&mut streamer, 9, &Frame::Want { region: false, counters: true, areas: 0, all: false });
    let (mut stood, mut seen) = (0, Vec::new());
    hear(&mut streamer, 1 << 20, |_, frame| match frame {
        Frame::Counters { account: Account::Stands, from, counted: Some((head, ..)), ring } => {
            assert!(ring != EVENTS || from < head, "the cursor has not come to the head");
            stood += 1;
        }
        Frame::Block { ring: EVENTS, start, words, .. } => {
            seen.extend(numbers(start, &words.iter().collect::<Vec<_>>()));
        }
        _ => {}
    });
    assert_eq!((stood, seen), (2, (0..5).collect::<Vec<_>>()));
}

/// A copy of an area, as a host puts it together.
#[derive(Default)]
struct Copy {
    words: Vec<u64>,
    pieces: u32,
    /// Rounds that were whole, and the pieces of the last.
    rounds: Vec<u32>,
}

impl Copy {
    fn take(&mut self, wanted: Area, frame: &Frame<'_>) {
        let Frame::Piece { area, number, first, total, words, .. } = *frame else { return };
        if area != wanted {
            return;
        }
        assert_eq!(number, self.pieces, "one after the other");
        self.words.resize(total as usize, 0);
        if words.is_empty() {
            self.rounds.push(self.pieces);
            self.pieces = 0;
            return;
        }
        self.pieces += 1;
        self.words[first as usize..][..words.len()]
            .iter_mut()
            .zip(words.iter())
            .for_each(|(to, word)| *to = word);
    }
}

/// One site, wherever it is called from.
fn took(value: u32) {
    probe::histogram!("took", value);
}

fn want(streamer: &mut probe::Streamer<'_>, area: Area, all: bool) {
    say(streamer, 9, &Frame::Want { region: false, counters: false, areas: area.bit(), all });
}

#[test]
fn of_what_changes_slowly_only_what_has_changed_comes_again() {
    let _turn = begin();
    let mut buffer = vec![0; probe::Streamer::buffer_words()];
    let mut streamer = probe::Streamer::new(&mut buffer).unwrap();
    attach(&mut streamer, 9, Begin::Now);
    took(5);
    let mut copy = Copy::default();
    let mut round = |streamer: &mut probe::Streamer<'_>, all| {
        want(streamer, Area::Histograms, all);
        hear(streamer, 64, |_, frame| copy.take(Area::Histograms, &frame));
        let count: u64 = copy.words.chunks_exact(HISTOGRAM_WORDS).map(|words| words[1]).sum();
        (count, copy.rounds.last().copied())
    };
    let (count, pieces) = round(&mut streamer, true);
    assert!(count == 1 && pieces > Some(0), "{count} {pieces:?}");
    assert_eq!(round(&mut streamer, false), (1, Some(0)), "nothing has changed");
    took(5);
    assert_eq!(round(&mut streamer, false), (2, Some(1)), "one piece has");
    assert_eq!(round(&mut streamer, true), (2, pieces), "all of it, for somebody who has none");
    // The last values go before the last tables, though nobody has asked again.
    took(5);
    streamer.finish();
    let mut last = Vec::new();
    hear(&mut streamer, 64, |_, frame| {
        copy.take(Area::Histograms, &frame);
        last.push(frame.kind());
    });
    assert_eq!(copy.words.chunks_exact(HISTOGRAM_WORDS).map(|words| words[1]).sum::<u64>(), 3);
    assert_eq!(last.last(), Some(&uniprof_wire::stream::Kind::Region));

    let mut sites = Copy::default();
    want(&mut streamer, Area::Sites, true);
    // Records go on coming: what is little and comes in between does not keep them waiting.
    emit(0, 300);
    let mut events = 0;
    hear(&mut streamer, 64, |_, frame| {
        sites.take(Area::Sites, &frame);
        events += u32::from(matches!(frame, Frame::Block { .. }));
    });
    let bytes: Vec<u8> = sites.words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let names: Vec<String> = uniprof_wire::site::sites(&bytes).map(|site| site.name.to_owned()).collect();
    assert!(names.contains(&"took".into()) && names.contains(&"number".into()), "{names:?}");
    assert!(events > 0);
}
