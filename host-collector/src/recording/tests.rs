use std::{
    borrow::Cow,
    io::{Cursor, Write},
    ops::Range,
};

use proptest::prelude::*;
use uniprof_wire::{address::GuestPhysical, layout::RingKind, record::CLASSES};

use super::*;
use crate::clock::HostTime;

fn session() -> SessionInfo {
    SessionInfo {
        version: 1,
        guest: "g\"uest".into(),
        boot_id: u64::MAX,
        vcpus: 2,
        host: HostFacts::probe(),
        ..SessionInfo::default()
    }
}

fn at(n: u64) -> HostTime {
    HostTime { monotonic_ns: n, realtime_ns: 1_000_000 + n }
}

fn message(n: u64, body: Body<'static>) -> Message<'static> {
    Message { at: at(n), session: 3, body }
}

fn block(n: u64, words: usize) -> Message<'static> {
    let ring = RingId { vcpu: (n % 2) as u16, kind: RingKind::ALL[(n / 2 % 2) as usize] };
    let sealed = n.is_multiple_of(3).then_some([n; CLASSES]);
    let words = (0..words as u64).map(|word| word.wrapping_mul(n).wrapping_add(n)).collect();
    message(n, Body::Block { ring, start: n << 20, sealed, words })
}

fn all_kinds() -> Vec<Message<'static>> {
    let ring = RingId { vcpu: 9, kind: RingKind::Events };
    vec![
        message(0, Body::Region { at: GuestPhysical(0x20_0000), bytes: vec![7; 5000].into() }),
        message(1, Body::Clock(ClockPair { tsc: 5, uncertainty_ns: 6 })),
        message(2, Body::Console { continued: true, bytes: b"li\xffne"[..].into() }),
        message(
            3,
            Body::Counters(RingCounters {
                ring,
                head: 4,
                last: true,
                refused: [1; CLASSES],
                slots: vec![2; 64].into(),
            }),
        ),
        block(4, 0),
        block(6, 100),
        message(7, Body::Histograms(vec![8, 2, 10, 6, 2, 4, 1, 6, 1].into())),
        message(8, Body::Heap(vec![0, 0x7000, 48, 4096, 9, 1 << 32 | 3, 0x10_0000].into())),
        message(8, Body::Network(vec![9, 6, 2, 1, 0, 0].into())),
        message(9, Body::End(b"{}"[..].into())),
    ]
}

/// A recording, flushed after every message, and where each chunk ends in it.
fn recording(messages: &[Message<'_>], per_chunk: usize) -> (Vec<u8>, Vec<usize>) {
    let mut writer = Writer::new(Vec::new(), &session()).unwrap();
    writer.attach("symbols/kernel", "application/zstd", b"symbols", 5).unwrap();
    writer.flush().unwrap();
    let mut ends = vec![writer.saved() as usize];
    for (index, message) in messages.iter().enumerate() {
        writer.write(message).unwrap();
        if (index + 1).is_multiple_of(per_chunk) {
            writer.flush().unwrap();
            ends.push(writer.saved() as usize);
        }
    }
    (writer.finish().unwrap(), ends)
}

struct Read {
    session: Option<SessionInfo>,
    attachments: Vec<Vec<u8>>,
    messages: Vec<Message<'static>>,
    damage: Vec<Damage>,
}

fn read(bytes: &[u8]) -> Result<Read, ReadError> {
    let mut reader = Reader::new(bytes)?;
    let mut read = Read { session: None, attachments: vec![], messages: vec![], damage: vec![] };
    while let Some(item) = reader.next()? {
        match item {
            Item::Session(session) => read.session = Some(*session),
            Item::Attachment(attachment) => read.attachments.push(attachment.bytes.to_vec()),
            Item::Message(message) => read.messages.push(message.into_owned()),
            Item::Gap => {}
        }
    }
    read.damage = reader.damage().to_vec();
    Ok(read)
}

#[test]
fn what_is_written_is_read() {
    let (bytes, _) = recording(&all_kinds(), 3);
    let read = read(&bytes).unwrap();
    assert_eq!(read.session, Some(session()));
    assert_eq!(read.attachments, [b"symbols"]);
    assert_eq!(read.messages, all_kinds());
    assert_eq!(read.damage, []);
}

#[test]
fn recordings_of_the_version_before_are_read_and_others_refused() {
    let (bytes, _) = recording(&all_kinds(), 3);
    let at = bytes.windows(PROFILE.len()).position(|part| part == PROFILE.as_bytes()).unwrap();
    for (version, is_read) in [(b'2', false), (b'3', true), (b'4', true), (b'5', false)] {
        let mut bytes = bytes.clone();
        bytes[at + PROFILE.len() - 1] = version;
        assert_eq!(read(&bytes).is_ok(), is_read, "version {}", version as char);
    }
}

#[test]
fn other_tools_read_it_too() {
    let (bytes, _) = recording(&all_kinds(), 2);
    let messages: Vec<_> =
        mcap::MessageStream::new(&bytes).unwrap().map(|message| message.unwrap()).collect();
    let topics: Vec<_> = messages.iter().map(|message| message.channel.topic.as_str()).collect();
    let wanted = [
        "region",
        "clock",
        "console",
        "vcpu9/events",
        "vcpu0/core",
        "vcpu0/events",
        "histograms",
        "heap",
        "network",
        "end",
    ];
    assert_eq!(topics, wanted);
    let summary = mcap::Summary::read(&bytes).unwrap().unwrap();
    assert_eq!(summary.attachment_indexes.len(), 1);
    assert_eq!(summary.stats.unwrap().message_count, 10);
}

#[test]
fn cut_anywhere_it_has_every_whole_chunk_and_says_that_it_was_cut() {
    let messages: Vec<_> = (0..12).map(|n| block(n, 40)).collect();
    let (bytes, ends) = recording(&messages, 2);
    for cut in 8..bytes.len() {
        let read = read(&bytes[..cut]).unwrap();
        let whole = ends.iter().filter(|end| **end <= cut).count().saturating_sub(1) * 2;
        assert_eq!(read.messages.len(), whole, "cut at {cut}");
        assert_eq!(read.messages, messages[..whole]);
        assert!(!read.damage.is_empty(), "cut at {cut}");
    }
}

#[test]
fn a_recording_whose_writer_was_dropped_is_whole_but_not_finished() {
    let mut bytes = Vec::new();
    let mut writer = Writer::new(&mut bytes, &session()).unwrap();
    writer.write(&block(1, 10)).unwrap();
    drop(writer);
    let read = read(&bytes).unwrap();
    assert_eq!(read.messages, [block(1, 10)]);
    assert!(read.damage[0].what.contains("cut off"), "{:?}", read.damage);
}

#[test]
fn a_damaged_chunk_costs_itself_and_is_counted() {
    let mut messages: Vec<_> = (0..12).map(|n| block(n, 40)).collect();
    messages.push(message(13, Body::End(b"{}"[..].into())));
    let (bytes, ends) = recording(&messages, 4);
    let lost: Range<usize> = 4..8;
    // A byte of the content, of the frame's length, and of its opcode.
    for offset in [ends[1] + 200, ends[1] + 1, ends[1] + 5, ends[1]] {
        let mut damaged = bytes.clone();
        damaged[offset] ^= 0x15;
        let read = read(&damaged).unwrap();
        let expected: Vec<_> =
            messages.iter().enumerate().filter(|(n, _)| !lost.contains(n)).map(|(_, m)| m.clone()).collect();
        assert_eq!(read.messages, expected, "byte {offset}: {:?}", read.damage);
        assert!(read.damage.iter().any(|damage| damage.what.contains("4 messages")), "{:?}", read.damage);
    }
}

#[test]
fn a_chunk_that_turns_into_an_index_is_missed_by_its_numbers() {
    let messages: Vec<_> = (0..12).map(|n| block(n, 40)).collect();
    let (mut bytes, ends) = recording(&messages, 4);
    assert_eq!(bytes[ends[1]], 0x06);
    bytes[ends[1]] = 0x07;
    let read = read(&bytes).unwrap();
    assert_eq!(read.messages.len(), 8);
    assert!(read.damage.iter().any(|damage| damage.what.contains("4 messages")), "{:?}", read.damage);
}

/// Found by the property below: a header whose length had one bit too many took four chunks with it.
#[test]
fn lengths_outside_chunks_are_not_believed() {
    let messages: Vec<_> = (0..20).map(|n| block(n, 30)).collect();
    let (bytes, _) = recording(&messages, 3);
    for at in 8..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        if let Ok(read) = read(&damaged) {
            assert!(read.messages.len() + 6 >= messages.len(), "byte {at}: {:?}", read.damage);
        }
    }
}

#[test]
fn what_is_no_recording_is_told_apart() {
    let error = |bytes: &[u8]| read(bytes).err().unwrap().to_string();
    assert!(error(b"").contains("is empty"));
    assert!(error(b"\x7fELF").contains("does not begin like one"));
    assert!(error(b"some text, long enough").contains("does not begin like one"));
    let mut other = Vec::new();
    let options = mcap::WriteOptions::new().profile("ros2").compression(None);
    options.create(std::io::Cursor::new(&mut other)).unwrap().finish().unwrap();
    assert!(error(&other).contains("\"ros2\""), "{}", error(&other));
}

#[test]
fn an_announced_length_allocates_nothing() {
    let (bytes, _) = recording(&[], 1);
    let mut huge = bytes[..60].to_vec();
    huge.extend([0x09]);
    huge.extend(MAX_RECORD.to_le_bytes());
    huge.extend([0; 100]);
    let read = read(&huge).unwrap();
    assert!(read.messages.is_empty() && !read.damage.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn flipped_bits_cost_no_more_than_what_they_hit(flips in proptest::collection::vec((0usize..100_000, 0u8..8), 1..6)) {
        let mut messages: Vec<_> = (0..20).map(|n| block(n, 30)).collect();
        messages.push(message(21, Body::End(b"{}"[..].into())));
        let (mut bytes, _) = recording(&messages, 3);
        for (place, bit) in &flips {
            // The magic at the start is all that says what it is.
            let place = 8 + place % (bytes.len() - 8);
            bytes[place] ^= 1 << bit;
        }
        if let Ok(read) = read(&bytes) {
            // Three messages a chunk, and a flip may hit the end of one and the start of the next.
            prop_assert!(read.messages.len() + 6 * flips.len() >= messages.len(), "{:?}", read.damage);
            for message in &read.messages {
                prop_assert!(messages.contains(message));
            }
            prop_assert!(read.messages.len() == messages.len() || !read.damage.is_empty());
        }
    }

    #[test]
    fn any_bytes_after_the_magic_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
        let mut file = b"\x89MCAP0\r\n".to_vec();
        file.extend(&bytes);
        let _ = read(&file);
    }

    #[test]
    fn messages_survive_their_encoding(words in proptest::collection::vec(any::<u64>(), 0..50), n in any::<u32>()) {
        let original = message(1, Body::Block {
            ring: RingId { vcpu: n as u16, kind: RingKind::Core },
            start: u64::from(n),
            sealed: (n % 2 == 0).then_some([u64::from(n); CLASSES]),
            words: Cow::Owned(words),
        });
        let (bytes, _) = recording(std::slice::from_ref(&original), 1);
        prop_assert_eq!(&read(&bytes).unwrap().messages, &[original]);
    }
}

mod files {
    use super::*;

    #[test]
    fn the_final_name_appears_when_it_is_finished() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r.uniprof");
        std::fs::write(&path, "old").unwrap();
        let mut file = RecordingFile::create(&path, &session()).unwrap();
        file.write(&block(1, 10)).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        let busy = RecordingFile::create(&path, &session()).err().unwrap();
        assert!(matches!(busy, FileError::Busy { .. }), "{busy}");
        let size = file.finish().unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), size);
        assert!(!partial_path(&path).exists());
        let opened = open(&path).unwrap();
        assert_eq!((opened.partial, opened.bytes), (false, size));
        assert_eq!(opened.reader.verify().unwrap().len(), 1, "no end was written");
    }

    #[test]
    fn what_a_killed_writer_left_opens_under_the_final_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r.uniprof");
        let mut file = RecordingFile::create(&path, &session()).unwrap();
        for n in 0..200 {
            file.write(&block(n, 4000)).unwrap();
        }
        assert!(file.saved() > 2 << 20);
        drop(file);
        let mut opened = open(&path).unwrap();
        assert!(opened.partial && opened.path == partial_path(&path));
        assert!(matches!(opened.reader.next().unwrap(), Some(Item::Session(_))));
        // The next recording of that name may replace it.
        RecordingFile::create(&path, &session()).unwrap().finish().unwrap();
        assert!(path.exists() && !partial_path(&path).exists());
    }

    #[test]
    fn what_cannot_be_written_leaves_nothing_and_names_the_file() {
        let dir = tempfile::tempdir().unwrap();
        for path in [dir.path().join("no/such/r.uniprof"), dir.path().to_owned()] {
            let error = RecordingFile::create(&path, &session()).err().unwrap().to_string();
            assert!(error.contains(path.to_str().unwrap()), "{error}");
        }
        let path = dir.path().join("empty.uniprof");
        drop(RecordingFile::create(&path, &session()).unwrap());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        let error = open(&path).err().unwrap().to_string();
        assert!(error.contains("empty.uniprof") && !error.contains("partial"), "{error}");
    }

    #[test]
    fn a_full_device_is_told() {
        let error = match RecordingFile::create(std::path::Path::new("/dev/full"), &session()) {
            Ok(mut file) => file.write(&block(1, 1)).and_then(|()| file.finish().map(drop)).unwrap_err(),
            Err(error) => error,
        };
        assert!(error.to_string().contains("/dev/full") && error.to_string().contains("No space"), "{error}");
    }

    /// Takes so many bytes and no more.
    struct Disk {
        taken: Vec<u8>,
        room: usize,
    }

    impl Write for &mut Disk {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let n = bytes.len().min(self.room - self.taken.len());
            if n == 0 {
                return Err(std::io::ErrorKind::StorageFull.into());
            }
            self.taken.extend_from_slice(&bytes[..n]);
            Ok(n)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_disk_that_fills_up_keeps_what_it_took() {
        let mut disk = Disk { taken: vec![], room: 5 << 20 };
        let mut writer = Writer::new(&mut disk, &session()).unwrap();
        let error = (0..).find_map(|n| writer.write(&block(n, 4000)).err()).unwrap();
        let RecordError::Io { saved, .. } = error else { panic!("{error}") };
        assert_eq!(saved, 5 << 20);
        drop(writer);
        let read = read(&disk.taken).unwrap();
        assert!(read.messages.len() > 120, "{}", read.messages.len());
        assert!(!read.damage.is_empty());
    }
}

#[test]
fn a_gap_is_told_before_the_message_that_follows_it() {
    let messages: Vec<_> = (0..6).map(|n| block(n, 40)).collect();
    let (mut bytes, ends) = recording(&messages, 2);
    bytes[ends[1] + 200] ^= 1;
    let mut reader = Reader::new(&bytes[..]).unwrap();
    let mut seen = String::new();
    while let Some(item) = reader.next().unwrap() {
        seen.push(match item {
            Item::Message(_) => 'm',
            Item::Gap => 'g',
            Item::Session(_) | Item::Attachment(_) => '.',
        });
    }
    assert_eq!(seen, "..mmgmm");
}

#[test]
fn it_is_read_again_from_any_place_also_among_damage() {
    let (mut bytes, ends) = recording(&all_kinds(), 2);
    // One chunk is lost, and the end is cut off.
    bytes[ends[1] + 100] ^= 1;
    bytes.truncate(*ends.last().unwrap() + 7);
    let mut reader = Reader::new(Cursor::new(bytes)).unwrap();
    let (mut places, mut items) = (vec![reader.place()], Vec::new());
    while let Some(item) = reader.next().unwrap() {
        items.push(format!("{item:?}"));
        places.push(reader.place());
    }
    let damage = reader.damage().to_vec();
    assert!(items.iter().any(|item| item == "Gap") && damage.len() > 1, "{damage:?}");
    assert!(places.is_sorted_by_key(Place::offset));
    for (number, place) in places.iter().enumerate().rev() {
        reader.go_to(place).unwrap();
        let mut rest = Vec::new();
        while let Some(item) = reader.next().unwrap() {
            rest.push(format!("{item:?}"));
        }
        assert_eq!(rest, items[number..], "from {number}");
        assert_eq!(reader.damage(), damage);
    }
}

#[test]
fn a_place_in_another_recording_is_refused() {
    let (bytes, _) = recording(&all_kinds(), 2);
    let mut reader = Reader::new(Cursor::new(bytes)).unwrap();
    let mut place = reader.place();
    while reader.next().unwrap().is_some() {
        if reader.place().current.is_some_and(|current| current.next < current.len) {
            place = reader.place();
        }
    }
    let (other, _) = recording(&[block(1, 100)], 1);
    assert!(Reader::new(Cursor::new(other)).unwrap().go_to(&place).is_err());
}

#[test]
fn a_file_of_nothing_but_damage_takes_bounded_memory_and_time() {
    // A chunk's head at every 49 bytes, each of which claims a wrong CRC over all that follows.
    let heads = 120_000_u64;
    let total = heads * 49;
    let mut bytes = recording(&[], 1).0[..8].to_vec();
    for index in 0..heads {
        let len = total - index * 49 - 9;
        bytes.push(6);
        bytes.extend(len.to_le_bytes());
        bytes.extend([0; 16]);
        bytes.extend((len - 40).to_le_bytes());
        bytes.extend(1_u32.to_le_bytes());
        bytes.extend(0_u32.to_le_bytes());
        bytes.extend((len - 40).to_le_bytes());
    }
    let begin = std::time::Instant::now();
    assert!(read(&bytes).unwrap().messages.is_empty());
    assert!(begin.elapsed().as_secs() < 10, "{:?}", begin.elapsed());

    let (good, ends) = recording(&[block(1, 40)], 1);
    let mut many = good[..ends[0]].to_vec();
    let mut chunk = good[ends[0]..ends[1]].to_vec();
    *chunk.last_mut().unwrap() ^= 1;
    (0..5000).for_each(|_| many.extend(&chunk));
    let damage = read(&many).unwrap().damage;
    assert_eq!(damage.len(), 1000);
    assert_eq!(damage.iter().map(|damage| damage.bytes).sum::<u64>(), 5000 * chunk.len() as u64);
}
