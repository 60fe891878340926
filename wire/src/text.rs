//! Strings in words: fixed fields of tables, and the tails of log and thread records.

/// Words that `bytes` bytes of text occupy.
pub(crate) const fn words_for(bytes: usize) -> usize {
    bytes.div_ceil(8)
}

/// Word `index` of `text`, little-endian, zero-padded at the end.
pub(crate) fn word(text: &[u8], index: usize) -> u64 {
    let mut bytes = [0; 8];
    let tail = text.get(index * 8..).unwrap_or_default();
    let n = tail.len().min(8);
    bytes[..n].copy_from_slice(&tail[..n]);
    u64::from_le_bytes(bytes)
}

/// `N` bytes from `at` on, which must lie in `text`; as a copy, of which the compiler makes one load. (It keeps asking whether a reference to
/// them is null.)
#[inline(always)]
fn chunk<const N: usize>(text: &[u8], at: usize) -> [u8; N] {
    let mut chunk = [0; N];
    chunk.copy_from_slice(&text[at..at + N]);
    chunk
}

/// The word of one to seven bytes, of loads that overlap: texts in records are mostly short, and a loop over bytes would cost more than all the rest
/// of a record.
#[inline(always)]
pub(crate) fn short_word(text: &[u8]) -> u64 {
    let len = text.len();
    if len >= 4 {
        let last = u64::from(u32::from_le_bytes(chunk(text, len - 4)));
        u64::from(u32::from_le_bytes(chunk(text, 0))) | last << (8 * (len & 3))
    } else if len >= 2 {
        u64::from(u16::from_le_bytes(chunk(text, 0))) | u64::from(text[len - 1]) << (8 * (len - 1))
    } else {
        u64::from(text[0])
    }
}

/// The word of the last `count` bytes of at least eight; `count` is 1 to 7. One load, with bytes before them, which are shifted out.
#[inline(always)]
pub(crate) fn last_word(text: &[u8], count: usize) -> u64 {
    u64::from_le_bytes(chunk(text, text.len() - 8)) >> (64 - 8 * count)
}

/// Text in a record: bytes on the way in, words on the way out.
#[derive(Clone, Copy)]
pub enum Text<'a> {
    /// As the guest hands it in.
    Bytes(&'a [u8]),
    /// As it lies in a ring: words, and how many bytes of them count.
    Words(&'a [u64], usize),
}

impl Text<'_> {
    /// Length in bytes.
    #[must_use]
    pub const fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Words(_, len) => *len,
        }
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn word(&self, index: usize) -> u64 {
        match self {
            Self::Bytes(bytes) => word(bytes, index),
            Self::Words(words, _) => words.get(index).copied().unwrap_or(0),
        }
    }

    /// The bytes, one after the other.
    pub fn bytes(&self) -> impl Iterator<Item = u8> + '_ {
        (0..self.len()).map(|i| self.word(i / 8).to_le_bytes()[i % 8])
    }
}

impl PartialEq for Text<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.bytes().eq(other.bytes())
    }
}

impl Eq for Text<'_> {}

/// Lossy: what is not printable ASCII prints as an escape.
impl core::fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.bytes().try_for_each(|byte| write!(f, "{}", core::ascii::escape_default(byte)))
    }
}

/// A fixed-size text field of `N` words: cut at its capacity, padded with zeros.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct FixedText<const N: usize>(Padded<N>);

/// The field as bytes; a wrapper only because arrays longer than 32 have no `Default`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Padded<const N: usize>([[u8; 8]; N]);

impl<const N: usize> Default for Padded<N> {
    fn default() -> Self {
        Self([[0; 8]; N])
    }
}

impl<const N: usize> FixedText<N> {
    /// No text.
    pub const EMPTY: Self = Self(Padded([[0; 8]; N]));

    /// The first `8 * N` bytes of `text`.
    #[must_use]
    pub fn new(text: &[u8]) -> Self {
        Self::from_words(core::array::from_fn(|i| word(text, i)))
    }

    /// From the words of a table.
    #[must_use]
    pub fn from_words(words: [u64; N]) -> Self {
        Self(Padded(words.map(u64::to_le_bytes)))
    }

    /// As the words of a table.
    #[must_use]
    pub fn to_words(self) -> [u64; N] {
        self.0.0.map(u64::from_le_bytes)
    }

    /// The bytes up to the first zero.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        let all = self.0.0.as_flattened();
        let end = all.iter().position(|&b| b == 0).unwrap_or(all.len());
        &all[..end]
    }

    /// The text up to the first zero or the first byte that is not UTF-8: guest memory is untrusted.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let bytes = self.bytes();
        match core::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(e) => core::str::from_utf8(&bytes[..e.valid_up_to()]).unwrap_or_default(),
        }
    }
}

impl<const N: usize> core::fmt::Debug for FixedText<N> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_overlapping_loads_are_those_of_the_bytes() {
        let text: [u8; 23] = core::array::from_fn(|i| 0xa1 + i as u8);
        for len in 1..8 {
            assert_eq!(short_word(&text[..len]), word(&text[..len], 0), "{len}");
        }
        for len in (8..24).filter(|len| len % 8 != 0) {
            assert_eq!(last_word(&text[..len], len % 8), word(&text[..len], len / 8), "{len}");
        }
    }
}
