//! Addresses in text: a bare list of them, or a log or backtrace that mentions some.

use std::ops::Range;

use uniprof_wire::address::GuestVirtual;

/// Shorter words of hexadecimal digits without `0x` are far more often a number or a word (`face`, `1024`).
const MIN_UNMARKED: usize = 8;
/// The digits of 64 bits.
const MAX_DIGITS: usize = 16;

/// An address that a line of text holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mention {
    /// Its bytes in the line, `0x` included.
    pub range: Range<usize>,
    /// The address.
    pub address: GuestVirtual,
}

/// The address that is all that `line` holds: hexadecimal digits, with or without `0x`, at most 16.
#[must_use]
pub fn bare_address(line: &str) -> Option<GuestVirtual> {
    let word = line.trim();
    digits(unmarked(word).unwrap_or(word))
}

/// The addresses that `line` mentions, from left to right: words of 1 to 16 hexadecimal digits after `0x`, and words of 8 to
/// 16 without. Offsets (`main+0x1c/0x40`) are none.
pub fn mentions(line: &str) -> impl Iterator<Item = Mention> + '_ {
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_' || !byte.is_ascii();
    let bytes = line.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        while at < bytes.len() {
            let start = at + bytes[at..].iter().position(is_word)?;
            let end =
                bytes[start..].iter().position(|byte| !is_word(byte)).map_or(bytes.len(), |len| start + len);
            at = end;
            let is_offset = start > 0 && matches!(bytes[start - 1], b'+' | b'-' | b'/');
            if is_offset {
                continue;
            }
            if let Some(address) = line.get(start..end).and_then(mentioned) {
                return Some(Mention { range: start..end, address });
            }
        }
        None
    })
}

fn mentioned(word: &str) -> Option<GuestVirtual> {
    match unmarked(word) {
        Some(marked) => digits(marked),
        None if word.len() >= MIN_UNMARKED => digits(word),
        None => None,
    }
}

fn unmarked(word: &str) -> Option<&str> {
    word.strip_prefix("0x").or_else(|| word.strip_prefix("0X"))
}

fn digits(word: &str) -> Option<GuestVirtual> {
    let fine = (1..=MAX_DIGITS).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    fine.then(|| u64::from_str_radix(word, 16).ok()).flatten().map(GuestVirtual)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(line: &str) -> Vec<(&str, u64)> {
        mentions(line).map(|mention| (&line[mention.range.clone()], mention.address.0)).collect()
    }

    #[test]
    fn bare_addresses() {
        for (line, address) in
            [("401136", 0x40_1136), (" 0x1F\n", 0x1f), ("ffffffff81000000", 0xffff_ffff_8100_0000)]
        {
            assert_eq!(bare_address(line), Some(GuestVirtual(address)), "{line}");
        }
        for line in ["", "0x", "main", "1 2", "-1", "+1", "11112222333344445", "0x0x1", "é"] {
            assert_eq!(bare_address(line), None, "{line}");
        }
    }

    #[test]
    fn addresses_in_text() {
        assert_eq!(found("#1 0x401136 in ?? ()"), [("0x401136", 0x40_1136)]);
        assert_eq!(
            found("[<ffffffff81012345>] do_one+0x52/0x1f0"),
            [("ffffffff81012345", 0xffff_ffff_8101_2345)]
        );
        assert_eq!(found("rip=0x101f,rsp=0x2000é"), [("0x101f", 0x101f)]);
        assert_eq!(found("a decade of 1024 faces, deadbeef_x, 123456789"), [("123456789", 0x1_2345_6789)]);
        assert_eq!(found("0x11112222333344445 0x"), []);
        assert_eq!(found("é0x10 0x20é 0x30"), [("0x30", 0x30)]);
    }
}
