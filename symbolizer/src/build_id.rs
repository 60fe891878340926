//! The build-id: what the linker wrote into the image to tell one build from another.

use std::fmt;
use std::str::FromStr;

/// The content of an `NT_GNU_BUILD_ID` note. Shown and parsed in hexadecimal.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BuildId(Box<[u8]>);

/// Why a text is no build-id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no build-id: 1 to {} bytes in hexadecimal are expected", BuildId::MAX_BYTES)]
pub struct BuildIdError {
    text: String,
}

impl BuildId {
    /// The longest build-id that is accepted; GNU ld writes 20 bytes, LLD up to 32.
    pub const MAX_BYTES: usize = 64;

    /// The build-id with these bytes; `None` where there are none or more than [`BuildId::MAX_BYTES`].
    #[must_use]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        (1..=Self::MAX_BYTES).contains(&bytes.len()).then(|| Self(bytes.into()))
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BuildId({self})")
    }
}

impl FromStr for BuildId {
    type Err = BuildIdError;

    fn from_str(text: &str) -> Result<Self, BuildIdError> {
        let error = || BuildIdError { text: text.chars().take(2 * Self::MAX_BYTES + 1).collect() };
        if !text.len().is_multiple_of(2) || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(error());
        }
        let digit = |byte: u8| (byte as char).to_digit(16).unwrap_or_default() as u8;
        let bytes: Vec<u8> =
            text.as_bytes().chunks_exact(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect();
        Self::new(&bytes).ok_or_else(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        let id: BuildId = "00ffA1".parse().expect("valid");
        assert_eq!(id.as_bytes(), [0, 0xff, 0xa1]);
        assert_eq!(id.to_string(), "00ffa1");
        for text in ["", "0", "0g", "+1", &"00".repeat(65), "äö"] {
            assert!(text.parse::<BuildId>().is_err(), "{text}");
        }
    }
}
