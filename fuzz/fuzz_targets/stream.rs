//! Any bytes from a guest's port, in any pieces: frames, garbage, halves. Both ends: the host's decoder and the guest's small one.
#![no_main]

use libfuzzer_sys::fuzz_target;
use uniprof_wire::stream::{Decoded, Decoder, HEADER_BYTES, Kind, MAX_HOST_PAYLOAD, seal};

fuzz_target!(|bytes: &[u8]| {
    let Some((&piece, bytes)) = bytes.split_first() else { return };
    read(bytes, usize::from(piece) + 1, 64 << 10);
    read(bytes, usize::from(piece) + 1, HEADER_BYTES + MAX_HOST_PAYLOAD * 8);
    // Behind the checksums, too: the same bytes as the payload of each kind.
    let mut frame = vec![0; 3];
    frame.extend(bytes.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word)));
    let payload = frame.len() - 3;
    for kind in
        [Kind::Region, Kind::Block, Kind::Counters, Kind::Pong, Kind::Attach, Kind::Seek, Kind::Request]
    {
        let Some(sealed) = seal(&mut frame, kind, 7, payload) else { return };
        let bytes: Vec<u8> = sealed.iter().flat_map(|word| word.to_le_bytes()).collect();
        read(&bytes, usize::from(piece) + 1, bytes.len());
    }
});

fn read(bytes: &[u8], piece: usize, room: usize) {
    let mut decoder = Decoder::new(vec![0; room]);
    let mut passed = 0;
    for mut piece in bytes.chunks(piece) {
        while !piece.is_empty() {
            let taken = decoder.push(piece);
            piece = &piece[taken..];
            loop {
                match decoder.next() {
                    Decoded::NeedMore => break,
                    Decoded::Malformed { bytes } => {
                        assert!(bytes > 0);
                        passed += bytes;
                    }
                    Decoded::Frame { epoch, frame } => {
                        let mut out = vec![0; room / 8 + 1];
                        let words = frame.encode(epoch, &mut out).expect("what was decoded can be encoded");
                        passed += words.len() * 8;
                    }
                }
            }
        }
    }
    assert!(passed <= bytes.len(), "more came out than went in");
}
