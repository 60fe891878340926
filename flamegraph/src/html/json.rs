//! JSON that may stand inside a script element of HTML.

use std::io::{self, Write};

/// Writes `text` as a JSON string. `<`, `>` and `&` are written as escapes, so that no text ends the element, opens a
/// comment in it, or reads as a character reference.
pub(super) fn string(out: &mut dyn Write, text: &str) -> io::Result<()> {
    out.write_all(b"\"")?;
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| is_special(*byte)) {
        out.write_all(&rest[..at])?;
        write!(out, "\\u{:04x}", rest[at])?;
        rest = &rest[at + 1..];
    }
    out.write_all(rest)?;
    out.write_all(b"\"")
}

fn is_special(byte: u8) -> bool {
    matches!(byte, 0..=0x1f | b'"' | b'\\' | b'<' | b'>' | b'&')
}

/// Writes a number, or `null` where there is none that JSON could hold.
pub(super) fn number(out: &mut dyn Write, value: Option<f64>) -> io::Result<()> {
    match value.filter(|value| value.is_finite()) {
        Some(value) => write!(out, "{value}"),
        None => out.write_all(b"null"),
    }
}

/// Writes a string, or `null`.
pub(super) fn optional(out: &mut dyn Write, text: Option<&str>) -> io::Result<()> {
    match text {
        Some(text) => string(out, text),
        None => out.write_all(b"null"),
    }
}

/// Writes an array, each of its items by `write`.
pub(super) fn array<T>(
    out: &mut dyn Write,
    items: impl IntoIterator<Item = T>,
    mut write: impl FnMut(&mut dyn Write, T) -> io::Result<()>,
) -> io::Result<()> {
    out.write_all(b"[")?;
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            out.write_all(b",")?;
        }
        write(out, item)?;
    }
    out.write_all(b"]")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> String {
        let mut out = Vec::new();
        string(&mut out, text).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn no_text_leaves_its_string_or_its_element() {
        assert_eq!(written("kv::serve"), "\"kv::serve\"");
        assert_eq!(written("a\"b\\c\n"), "\"a\\u0022b\\u005cc\\u000a\"");
        assert_eq!(written("</script><!--&amp;é"), "\"\\u003c/script\\u003e\\u003c!--\\u0026amp;é\"");
    }

    #[test]
    fn what_is_not_a_number_is_null() {
        let mut out = Vec::new();
        for value in [Some(0.25), Some(f64::NAN), Some(f64::INFINITY), None] {
            number(&mut out, value).unwrap();
        }
        assert_eq!(out, b"0.25nullnullnull");
    }
}
