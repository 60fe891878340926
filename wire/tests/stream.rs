//! Frames: encode and decode are inverses, and nothing that a line does to bytes makes the decoder see what was not sent, or miss
//! what came whole.

use proptest::collection::vec;
use proptest::prelude::*;
use uniprof_wire::layout::{Geometry, RingKind};
use uniprof_wire::stream::{
    Account, Area, Begin, Decoded, Decoder, Frame, HEADER_WORDS, Kind, MAX_HOST_PAYLOAD, RingName,
    STREAM_MAGIC, Words, frame_words, seal,
};
use uniprof_wire::tables::ControlRequest;
use uniprof_wire::text::FixedText;

/// A frame that owns what the borrowed form points to.
#[derive(Clone, Debug)]
struct Owned {
    kind: u8,
    epoch: u32,
    vcpu: u16,
    numbers: [u64; 3],
    flag: bool,
    words: Vec<u64>,
}

impl Owned {
    fn frame(&self) -> Frame<'_> {
        let [a, b, c] = self.numbers;
        let ring = RingName { vcpu: self.vcpu, kind: RingKind::ALL[usize::from(self.flag)] };
        let words = Words::Native(&self.words);
        match self.kind {
            0 => Frame::Region { at: a, words },
            1 => Frame::Block { ring, from: a, start: b, sealed: self.flag.then_some([c; 16]), words },
            2 => {
                let slots = Words::Native(&self.words[..self.words.len() / 16 * 16]);
                Frame::Counters {
                    ring,
                    from: a,
                    account: [Account::Opens, Account::Closes, Account::Stands][(b % 3) as usize],
                    counted: (c % 2 == 0).then_some((b, [c; 16], slots)),
                }
            }
            3 => Frame::Pong { token: a, tsc: b },
            4 => {
                let begin = [Begin::Boot, Begin::Now, Begin::Resume][(a % 3) as usize];
                Frame::Attach { wire_version: b as u32, begin }
            }
            5 => Frame::Seek { ring, position: a },
            6 => Frame::Ping { token: a },
            7 => Frame::Finish,
            8 => Frame::Want { region: self.flag, counters: c % 2 == 0, areas: a as u8, all: b % 2 == 0 },
            9 => {
                let area = Area::ALL[(a % 4) as usize];
                let first = b.min(u64::MAX - 100);
                let total = first + self.words.len() as u64 + c % 2;
                Frame::Piece { area, all: self.flag, number: c as u32, first, total, words }
            }
            _ => Frame::Request(ControlRequest {
                owner: a | 1,
                renewals: b,
                rate: c as u32,
                packet_bytes: a as u32,
                classes: 5,
                patterns: FixedText::new(b"http.*"),
                ..ControlRequest::default()
            }),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut out = vec![0; HEADER_WORDS + self.words.len() + 64];
        self.frame().encode(self.epoch, &mut out).unwrap().iter().flat_map(|w| w.to_le_bytes()).collect()
    }
}

fn owned() -> impl Strategy<Value = Owned> {
    (0..11_u8, any::<u32>(), any::<u16>(), any::<[u64; 3]>(), any::<bool>(), vec(any::<u64>(), 0..80))
        .prop_map(|(kind, epoch, vcpu, numbers, flag, words)| Owned {
            kind,
            epoch,
            vcpu,
            numbers,
            flag,
            words,
        })
}

/// Feeds the bytes in pieces, and gives what came out: frames (encoded anew), and how many bytes were none.
fn decode(bytes: &[u8], piece: usize, room: usize) -> (Vec<Vec<u8>>, usize) {
    let mut decoder = Decoder::new(vec![0; room]);
    let (mut frames, mut garbage) = (Vec::new(), 0);
    for mut bytes in bytes.chunks(piece.max(1)) {
        loop {
            let taken = decoder.push(bytes);
            bytes = &bytes[taken..];
            loop {
                match decoder.next() {
                    Decoded::NeedMore => break,
                    Decoded::Malformed { bytes } => garbage += bytes,
                    Decoded::Frame { epoch, frame } => {
                        let mut out = vec![0; room / 8];
                        let words = frame.encode(epoch, &mut out).unwrap();
                        frames.push(words.iter().flat_map(|word| word.to_le_bytes()).collect());
                    }
                }
            }
            if bytes.is_empty() {
                break;
            }
        }
    }
    (frames, garbage)
}

const ROOM: usize = 2048;

proptest! {
    #[test]
    fn decode_undoes_encode(frames in vec(owned(), 1..6), piece in 1..600_usize) {
        let sent: Vec<_> = frames.iter().map(Owned::bytes).collect();
        let (found, garbage) = decode(&sent.concat(), piece, ROOM);
        prop_assert_eq!(garbage, 0);
        prop_assert_eq!(found, sent);
    }

    #[test]
    fn garbage_between_frames_costs_no_frame(
        frames in vec(owned(), 1..5),
        garbage in vec(vec(any::<u8>(), 0..200), 5),
        piece in 1..300_usize,
    ) {
        let sent: Vec<_> = frames.iter().map(Owned::bytes).collect();
        let line: Vec<u8> = garbage.iter().zip(&sent).flat_map(|(g, f)| [g.clone(), f.clone()].concat()).collect();
        let noise: usize = garbage.iter().take(sent.len()).map(Vec::len).sum();
        let (found, passed_over) = decode(&line, piece, ROOM);
        prop_assert_eq!(found, sent);
        prop_assert_eq!(passed_over, noise);
    }

    #[test]
    fn a_frame_that_was_cut_costs_itself_only(
        (cut, after) in (owned(), vec(owned(), 12..20)),
        at in any::<prop::sample::Index>(),
        piece in 1..300_usize,
    ) {
        let half = cut.bytes();
        let half = &half[..at.index(half.len())];
        // Enough bytes follow for the payload that was announced.
        let mut sent: Vec<_> = after.iter().map(Owned::bytes).collect();
        sent.extend((0..30).map(|_| Owned { kind: 0, words: vec![1; 40], ..cut.clone() }.bytes()));
        let line = [half.to_vec(), sent.concat()].concat();
        let (found, _) = decode(&line, piece, ROOM);
        prop_assert_eq!(found, sent);
    }

    #[test]
    fn a_flipped_bit_never_makes_another_frame(frame in owned(), bit in any::<prop::sample::Index>()) {
        let mut bytes = frame.bytes();
        let bit = bit.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(decode(&bytes, 64, ROOM).0.is_empty());
    }

    #[test]
    fn any_bytes_are_read_to_their_end(bytes in vec(any::<u8>(), 0..2000), piece in 1..400_usize) {
        let (found, garbage) = decode(&bytes, piece, ROOM);
        prop_assert!(found.is_empty());
        prop_assert!(garbage <= bytes.len());
    }

    #[test]
    fn a_right_checksum_over_nonsense_is_survived(kind in any::<u8>(), words in vec(any::<u64>(), 0..80)) {
        let kinds = [Kind::Region, Kind::Block, Kind::Counters, Kind::Pong, Kind::Attach, Kind::Seek, Kind::Request];
        let mut frame = vec![0; HEADER_WORDS];
        frame.extend(&words);
        let sealed = seal(&mut frame, kinds[usize::from(kind) % kinds.len()], 1, words.len()).unwrap();
        let bytes: Vec<u8> = sealed.iter().flat_map(|word| word.to_le_bytes()).collect();
        let mut decoder = Decoder::new(vec![0; ROOM]);
        decoder.push(&bytes);
        prop_assert!(decoder.next() != Decoded::NeedMore);
        prop_assert_eq!(decoder.next(), Decoded::NeedMore);
    }
}

#[test]
fn a_frame_longer_than_the_reader_expects_is_garbage_at_its_header() {
    let long =
        Owned { kind: 0, epoch: 1, vcpu: 0, numbers: [0; 3], flag: false, words: vec![0; 400] }.bytes();
    let mut decoder = Decoder::new(vec![0; 24 + MAX_HOST_PAYLOAD * 8]);
    decoder.push(&long[..24]);
    assert_eq!(decoder.next(), Decoded::Malformed { bytes: 24 });
}

#[test]
fn a_magic_at_the_very_end_is_kept() {
    let mut decoder = Decoder::new(vec![0; ROOM]);
    decoder.push(&[1, 2, STREAM_MAGIC[0], STREAM_MAGIC[1]]);
    assert_eq!(decoder.next(), Decoded::Malformed { bytes: 2 });
    assert_eq!(decoder.next(), Decoded::NeedMore);
}

#[test]
fn every_frame_of_a_region_fits_the_stated_size() {
    let geometry = Geometry::with_ring_bytes(4, 1 << 20).unwrap();
    let ring = geometry.ring();
    let mut out = vec![0; frame_words(geometry)];
    let name = RingName { vcpu: 3, kind: RingKind::Events };
    let words = vec![0; geometry.tables_bytes() / 8];
    assert!(Frame::Region { at: 0, words: Words::Native(&words) }.encode(1, &mut out).is_some());
    let words = vec![0; ring.sub_buffer_words()];
    let block =
        Frame::Block { ring: name, from: 0, start: 0, sealed: Some([0; 16]), words: Words::Native(&words) };
    assert!(block.encode(1, &mut out).is_some());
    let slots = vec![0; ring.slots() * 16];
    let counted = Some((0, [0; 16], Words::Native(&slots)));
    assert!(
        Frame::Counters { ring: name, from: 0, account: Account::Closes, counted }
            .encode(1, &mut out)
            .is_some()
    );
    assert!(Frame::Region { at: 0, words: Words::Native(&words) }.encode(1, &mut out[..100]).is_none());
}
