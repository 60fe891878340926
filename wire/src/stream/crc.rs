//! CRC-32 as in Ethernet, gzip and PNG (polynomial 0xedb88320, reflected), eight bytes a step.

const POLYNOMIAL: u32 = 0xedb8_8320;

/// `TABLES[n][byte]`: what `byte` contributes with `n` bytes after it.
static TABLES: [[u32; 256]; 8] = tables();

const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 != 0 { crc >> 1 ^ POLYNOMIAL } else { crc >> 1 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut after = 1;
    while after < 8 {
        let mut byte = 0;
        while byte < 256 {
            let crc = tables[after - 1][byte];
            tables[after][byte] = crc >> 8 ^ tables[0][(crc & 0xff) as usize];
            byte += 1;
        }
        after += 1;
    }
    tables
}

/// A checksum under way.
#[derive(Clone, Copy, Debug)]
pub struct Crc(u32);

impl Default for Crc {
    fn default() -> Self {
        Self::new()
    }
}

impl Crc {
    /// Of nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self(u32::MAX)
    }

    /// With a word's eight bytes, the lowest first.
    #[must_use]
    pub fn word(self, word: u64) -> Self {
        let [a, b, c, d, e, f, g, h] = (word ^ u64::from(self.0)).to_le_bytes().map(usize::from);
        let t = &TABLES;
        Self(t[7][a] ^ t[6][b] ^ t[5][c] ^ t[4][d] ^ t[3][e] ^ t[2][f] ^ t[1][g] ^ t[0][h])
    }

    /// With bytes.
    #[must_use]
    pub fn bytes(self, bytes: &[u8]) -> Self {
        let (words, rest) = bytes.as_chunks::<8>();
        let crc = words.iter().fold(self, |crc, word| crc.word(u64::from_le_bytes(*word)));
        rest.iter()
            .fold(crc, |Self(crc), byte| Self(crc >> 8 ^ TABLES[0][usize::from(crc.to_le_bytes()[0] ^ byte)]))
    }

    /// The checksum.
    #[must_use]
    pub const fn value(self) -> u32 {
        !self.0
    }
}

#[cfg(test)]
mod tests {
    use super::Crc;

    #[test]
    fn the_check_values_of_the_standard() {
        assert_eq!(Crc::new().bytes(b"123456789").value(), 0xcbf4_3926);
        assert_eq!(Crc::new().value(), 0);
        let bytes: [u8; 32] = core::array::from_fn(|i| i as u8);
        assert_eq!(Crc::new().bytes(&bytes).value(), 0x9126_7e8a);
    }

    #[test]
    fn words_are_their_bytes() {
        let word = 0x0123_4567_89ab_cdef;
        assert_eq!(Crc::new().word(word).value(), Crc::new().bytes(&word.to_le_bytes()).value());
    }
}
