//! Images that run elsewhere than where they were linked: found in memory by their text.

mod common;

use std::io;
use std::ops::Range;

use uniprof_symbolizer::{Image, LoadBias, Match, TextSamples, check_identity};
use uniprof_wire::address::GuestVirtual;

const PAGE: u64 = 4096;

/// Memory of a guest: pages that are not of the image hold noise.
struct Memory {
    bytes: Vec<u8>,
}

impl Memory {
    fn noise(size: usize) -> Self {
        let mut state = 0x1234_5678_9abc_def0u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        };
        Self { bytes: (0..size / 8).flat_map(|_| next()).collect() }
    }

    /// Loads the image's text so that link-time addresses lie `bias` lower.
    fn load(&mut self, image: &Image, bias: u64) {
        for name in [".init", ".plt", ".text", ".fini"] {
            let Some(section) = image.section(name).expect("readable") else { continue };
            let at = section.address.0.wrapping_add(bias) as usize;
            self.bytes[at..at + section.len()].copy_from_slice(&section);
        }
    }

    fn read(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        let end = at.checked_add(into.len() as u64).ok_or(io::ErrorKind::NotFound)?;
        let bytes = self.bytes.get(at as usize..end as usize).ok_or(io::ErrorKind::NotFound)?;
        into.copy_from_slice(bytes);
        Ok(())
    }

    fn all(&self) -> Vec<Range<u64>> {
        std::iter::once(0..self.bytes.len() as u64).collect()
    }
}

fn text_end(image: &Image) -> u64 {
    image.executable_ranges().last().expect("code").end
}

#[test]
fn a_position_independent_image_is_found_where_it_was_moved_to() {
    let image = common::this_image();
    assert!(image.is_position_independent());
    let samples = TextSamples::new(&image).expect("much text");
    let bias = 0x7f_3000;
    let mut memory = Memory::noise((text_end(&image) + bias + 10 * PAGE) as usize / 8 * 8);
    assert_eq!(samples.find(&memory.all(), |at, into| memory.read(at, into)), []);
    memory.load(&image, bias);
    let found = samples.find(&memory.all(), |at, into| memory.read(at, into));
    let [only] = &found[..] else { panic!("{found:?}") };
    assert_eq!((only.bias, only.equal), (LoadBias::new(bias), only.samples));
    assert!(only.samples > 50 && only.is_sure());
    assert!(!samples.compare(LoadBias::NONE, |at, into| memory.read(at, into)).is_sure());
}

#[test]
fn patched_text_is_recognised_and_another_build_is_not() {
    let image = common::this_image();
    let mut memory = Memory::noise((text_end(&image) + 4 * PAGE) as usize / 8 * 8);
    memory.load(&image, 0);
    let text = image.section(".text").expect("readable").expect("present");
    let range = text.address.0 as usize..text.address.0 as usize + text.len();
    // Five bytes in about every two kilobytes, out of step with the samples: more than alternatives and tracepoints come to.
    for at in range.clone().step_by(2039) {
        memory.bytes[at..range.end.min(at + 5)].fill(0x90);
    }
    let samples = TextSamples::new(&image).expect("much text");
    let found = samples.find(&memory.all(), |at, into| memory.read(at, into));
    assert!(found[0].bias == LoadBias::NONE && found[0].equal < found[0].samples, "{found:?}");
    let identity = check_identity(&image, LoadBias::NONE, None, |at: GuestVirtual, into: &mut [u8]| {
        memory.read(at.0, into)
    });
    assert!(matches!(identity, Ok(Match::Patched { .. })), "{identity:?}");

    // Code that moved by an instruction, from the middle on.
    memory.load(&image, 0);
    let middle = range.start + range.len() / 2;
    memory.bytes.copy_within(middle..range.end - 16, middle + 7);
    assert_eq!(samples.find(&memory.all(), |at, into| memory.read(at, into)), []);
    check_identity(&image, LoadBias::NONE, None, |at: GuestVirtual, into: &mut [u8]| memory.read(at.0, into))
        .expect_err("another build");
}

#[test]
fn memory_with_gaps_is_searched_around_them() {
    let image = common::this_image();
    let samples = TextSamples::new(&image).expect("much text");
    let mut memory = Memory::noise((text_end(&image) + 64 * PAGE) as usize / 8 * 8);
    memory.load(&image, 8 * PAGE);
    let end = memory.bytes.len() as u64;
    let found = samples
        .find(&[0..7, 3..5 * PAGE + 1, 8 * PAGE - 5..end, end..end + PAGE], |at, into| memory.read(at, into));
    assert_eq!(found.first().map(|found| found.bias), Some(LoadBias::new(8 * PAGE)));
}

/// `cargo test --release -p uniprof-symbolizer --test bias -- --ignored --nocapture` says how long it takes.
#[test]
#[ignore = "measures"]
fn how_long_256_mebibytes_take() {
    let image = common::this_image();
    let samples = TextSamples::new(&image).expect("much text");
    let mut memory = Memory::noise(256 << 20);
    memory.load(&image, 0x800_0000);
    let began = std::time::Instant::now();
    let found = samples.find(&memory.all(), |at, into| memory.read(at, into));
    println!("256 MiB searched in {:?}: {found:?}", began.elapsed());
    assert_eq!(found.len(), 1);
}
