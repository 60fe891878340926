//! Text of bounded length, formatted where nothing can be allocated.

use core::fmt;

/// The first bytes of a text; where there were more, it ends with `…`.
pub(crate) struct Text<const N: usize> {
    bytes: [u8; N],
    len: usize,
    is_cut: bool,
}

const CUT: &str = "…";

impl<const N: usize> Text<N> {
    pub(crate) const fn new() -> Self {
        const { assert!(N > CUT.len()) };
        Self { bytes: [0; N], len: 0, is_cut: false }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn as_str(&self) -> &str {
        // Only whole characters were put in.
        core::str::from_utf8(&self.bytes[..self.len]).unwrap_or_default()
    }

    fn append(&mut self, text: &str) {
        self.bytes[self.len..self.len + text.len()].copy_from_slice(text.as_bytes());
        self.len += text.len();
    }
}

impl<const N: usize> fmt::Write for Text<N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.is_cut {
            return Ok(());
        }
        let room = N - self.len;
        if text.len() <= room {
            self.append(text);
            return Ok(());
        }
        self.is_cut = true;
        self.append(&text[..text.floor_char_boundary(room)]);
        let keep = self.as_str().floor_char_boundary(N - CUT.len());
        self.len = keep.min(self.len);
        self.append(CUT);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use core::fmt::Write;

    use super::*;

    fn text(parts: &[&str]) -> Text<8> {
        let mut text = Text::new();
        parts.iter().for_each(|part| text.write_str(part).unwrap());
        text
    }

    #[test]
    fn what_does_not_fit_is_cut_between_characters() {
        assert_eq!(text(&["abc", "defgh"]).as_str(), "abcdefgh");
        assert_eq!(text(&["abc", "defghi", "j"]).as_str(), "abcde…");
        assert_eq!(text(&["abcdefgh", "i"]).as_str(), "abcde…");
        // Two bytes each: the third would begin at byte 4 and end beyond byte 5.
        assert_eq!(text(&["ääääb"]).as_str(), "ää…");
        assert!(text(&[]).is_empty());
    }
}
