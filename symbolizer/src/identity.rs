//! Is this file the image that the guest runs?

use std::fmt;
use std::ops::Range;

use uniprof_wire::address::{GuestVirtual, LinkAddress};

use crate::address::LoadBias;
use crate::bias::TextSamples;
use crate::build_id::BuildId;
use crate::image::Image;

/// How much of a guest's memory or of a file is read at a time.
const CHUNK: usize = 64 << 10;

/// Fewer samples cannot tell patched text from another build's.
const FEWEST_SAMPLES: usize = 16;

/// A hash of the bytes of all executable sections, in the order of their addresses: 128-bit FNV-1a (RFC 9923). It tells
/// builds apart; it is no protection against a forged image.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TextHash(pub [u8; 16]);

struct Fnv(u128);

impl Fnv {
    fn new() -> Self {
        Self(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d)
    }

    fn update(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u128::from(*byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
        }
    }

    fn finish(self) -> TextHash {
        TextHash(self.0.to_be_bytes())
    }
}

impl TextHash {
    /// The hash of an image's text; `None` where the file does not hold all of it.
    pub(crate) fn of_image(image: &Image) -> Option<Self> {
        let text = text_of(image)?;
        let mut hash = Fnv::new();
        for (_, file) in text {
            let mut at = file.start;
            while at < file.end {
                let next = file.end.min(at + CHUNK);
                hash.update(&image.file.bytes(at..next).ok()?);
                at = next;
            }
        }
        Some(hash.finish())
    }
}

impl fmt::Display for TextHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for TextHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TextHash({self})")
    }
}

/// The executable parts of the image with where their bytes lie in the file.
fn text_of(image: &Image) -> Option<Vec<(LinkAddress, Range<usize>)>> {
    let mut text = Vec::new();
    for section in &image.sections {
        if section.allocated && section.executable && section.size > 0 {
            if section.file.len() as u64 != section.size {
                return None;
            }
            text.push((section.address, section.file.clone()));
        }
    }
    if text.is_empty() {
        let code = image.segments().iter().filter(|segment| segment.executable && !segment.file.is_empty());
        text.extend(code.map(|segment| (segment.address, segment.file.clone())));
    }
    text.sort_by_key(|(address, _)| *address);
    (!text.is_empty()).then_some(text)
}

/// The hash and the place of a text that a slim image no longer has; kept in it as a note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TextRecord {
    pub(crate) hash: TextHash,
    ranges: Vec<(LinkAddress, u64)>,
}

impl TextRecord {
    pub(crate) const NOTE_NAME: &[u8] = b"uniprof";
    pub(crate) const NOTE_TYPE: u32 = 1;

    pub(crate) fn of_image(image: &Image) -> Option<Self> {
        if let Some(record) = image.text_record() {
            return Some(record.clone());
        }
        let ranges =
            text_of(image)?.into_iter().map(|(address, file)| (address, file.len() as u64)).collect();
        Some(Self { hash: image.text_hash()?, ranges })
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = self.hash.0.to_vec();
        for (address, size) in &self.ranges {
            bytes.extend(address.0.to_le_bytes());
            bytes.extend(size.to_le_bytes());
        }
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (hash, rest) = bytes.split_first_chunk::<16>()?;
        let words = |pair: &[u8]| -> Option<(LinkAddress, u64)> {
            let (address, size) = pair.split_first_chunk::<8>()?;
            let size = u64::from_le_bytes(*size.first_chunk::<8>()?);
            Some((LinkAddress(u64::from_le_bytes(*address)), size))
        };
        let ranges: Option<Vec<_>> = rest.chunks(16).map(words).collect();
        ranges.filter(|ranges| !ranges.is_empty()).map(|ranges| Self { hash: TextHash(*hash), ranges })
    }
}

/// What tells one build of an image from another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Identity {
    /// The linker's build-id.
    BuildId(BuildId),
    /// A hash of the text.
    TextHash(TextHash),
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuildId(id) => write!(f, "build-id {id}"),
            Self::TextHash(hash) => write!(f, "text hash {hash}"),
        }
    }
}

impl Image {
    /// A number for the debug information that the image has: the same image may be had with and without it, or with more
    /// of it in other files. Made of the sizes of what names come from, so it costs nothing.
    pub(crate) fn fingerprint(&self) -> u64 {
        let mut hash = Fnv::new();
        let mut add = |image: &Image| {
            for section in &image.sections {
                let names = section.name().contains("debug") || section.name().contains("symtab");
                if names && !section.name().contains("loc") {
                    hash.update(section.name().as_bytes());
                    hash.update(&section.file.len().to_le_bytes());
                }
            }
            hash.update(&[0]);
        };
        add(self);
        let parts = [&self.parts.debug, &self.parts.supplement, &self.parts.package];
        parts.into_iter().flatten().for_each(|file| add(file));
        self.parts.objects.iter().for_each(|(_, file)| add(file));
        hash.update(env!("CARGO_PKG_VERSION").as_bytes());
        hash.0 as u64
    }
}

/// How image and guest were found to be the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Match {
    /// Both have the same build-id.
    BuildId,
    /// The guest's memory holds the image's text.
    Text {
        /// How many bytes were compared.
        bytes: u64,
    },
    /// The guest's memory holds the image's text but for what is patched at run time.
    Patched {
        /// Samples of the text that are equal.
        equal: usize,
        /// Samples that were compared.
        samples: usize,
    },
}

/// Two different builds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the image is {expected}, but the guest runs {found}; give the file that the guest was started from")]
pub struct Mismatch {
    /// The image's identity.
    pub expected: Identity,
    /// The guest's.
    pub found: Identity,
}

/// Why image and guest are not known to be the same.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError<E: std::error::Error + 'static> {
    /// They are not the same.
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
    /// There is nothing to compare: no build-id on both sides, and no text in the file.
    #[error(
        "the image has no text to compare with the guest's memory; give the file that the guest was started from"
    )]
    NoText,
    /// The guest's memory could not be read where the image's text should be.
    #[error(
        "cannot read the guest's memory at {address} to compare the image's text: {error}; the image may not be the guest's, or its load bias is not {bias}"
    )]
    Unreadable {
        /// Where.
        address: GuestVirtual,
        /// The load bias that was assumed.
        bias: LoadBias,
        /// Why.
        #[source]
        error: E,
    },
}

/// Compares an image with the guest: by build-id where both have one, else by all bytes of the text. `read_guest` fills
/// the buffer from guest memory. Text that is patched or relocated at run time differs in some bytes: it is still the
/// image's where nine tenths of at least 16 samples of 32 bytes are equal, for then code lies where the image has it,
/// and that is what names depend on. A slim image has no text to sample, and is compared as a whole.
///
/// # Errors
///
/// [`IdentityError`], which names both identities where they differ.
pub fn check_identity<E: std::error::Error + 'static>(
    image: &Image,
    bias: LoadBias,
    guest_build_id: Option<&BuildId>,
    mut read_guest: impl FnMut(GuestVirtual, &mut [u8]) -> Result<(), E>,
) -> Result<Match, IdentityError<E>> {
    if let (Some(expected), Some(found)) = (image.build_id(), guest_build_id) {
        if expected == found {
            return Ok(Match::BuildId);
        }
        let expected = Identity::BuildId(expected.clone());
        return Err(Mismatch { expected, found: Identity::BuildId(found.clone()) }.into());
    }
    let record = TextRecord::of_image(image).ok_or(IdentityError::NoText)?;
    let mut hash = Fnv::new();
    let mut buffer = vec![0; CHUNK];
    let mut bytes = 0;
    for (start, size) in record.ranges {
        let mut done = 0;
        while done < size {
            let part = &mut buffer[..(size - done).min(CHUNK as u64) as usize];
            let address = bias.to_guest(LinkAddress(start.0.wrapping_add(done)));
            read_guest(address, part).map_err(|error| IdentityError::Unreadable { address, bias, error })?;
            hash.update(part);
            done += part.len() as u64;
            bytes += part.len() as u64;
        }
    }
    let (expected, found) = (record.hash, hash.finish());
    if expected == found {
        return Ok(Match::Text { bytes });
    }
    if let Some(samples) = TextSamples::new(image) {
        let there = samples.compare(bias, |at, part| read_guest(GuestVirtual(at), part));
        if there.samples >= FEWEST_SAMPLES && there.equal * 10 >= there.samples * 9 {
            return Ok(Match::Patched { equal: there.equal, samples: there.samples });
        }
    }
    Err(Mismatch { expected: Identity::TextHash(expected), found: Identity::TextHash(found) }.into())
}
