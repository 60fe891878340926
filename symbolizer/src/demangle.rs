//! Names as their authors wrote them.

use std::fmt::{self, Write};

use crate::ocaml;

/// The longest readable name. Both manglings can say in a few bytes what is gigabytes long when written out.
const MAX_NAME: usize = 16 << 10;

/// A string that refuses to grow beyond [`MAX_NAME`].
struct Bounded(String);

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.0.len() + text.len() > MAX_NAME {
            return Err(fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

/// The readable form of a symbol's name: Rust's (legacy and v0, without the hash), C++'s and OCaml's are demangled, any
/// other, and any that would be absurdly long, stays as it is.
#[must_use]
pub fn demangle(raw: &str) -> String {
    if raw.len() <= MAX_NAME {
        let mut readable = Bounded(String::new());
        if let Ok(name) = rustc_demangle::try_demangle(raw) {
            if write!(readable, "{name:#}").is_ok() {
                return readable.0;
            }
        } else if let Some(name) = ocaml::demangle(raw) {
            return name;
        } else if raw.starts_with("_Z")
            && let Ok(name) = cpp_demangle::Symbol::new(raw)
            && name.structured_demangle(&mut readable, &cpp_demangle::DemangleOptions::default()).is_ok()
        {
            return readable.0;
        }
    }
    raw.to_owned()
}

#[cfg(test)]
mod tests {
    use super::demangle;

    #[test]
    fn names_of_four_languages() {
        for (raw, readable) in [
            ("_ZN4core3fmt9Formatter3pad17h0123456789abcdefE", "core::fmt::Formatter::pad"),
            ("_RNvCs1234_7mycrate3foo", "mycrate::foo"),
            ("_ZN3foo3barEi", "foo::bar(int)"),
            (
                "_ZNSt6vectorIiSaIiEE9push_backERKi",
                "std::vector<int, std::allocator<int> >::push_back(int const&)",
            ),
            ("camlStdlib__List__map_501", "Stdlib.List.map"),
            ("main", "main"),
            ("memcpy.part.0", "memcpy.part.0"),
            ("_Znonsense", "_Znonsense"),
            ("", ""),
        ] {
            assert_eq!(demangle(raw), readable);
        }
    }
}
