//! Names of types as people write them, next to how compilers write them.

/// A name without the paths of its parts and without what is there by default: `Vec<u32>` of
/// `alloc::vec::Vec<u32, alloc::alloc::Global>`.
#[must_use]
pub fn simplified(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    // Where the part of a path begins that is being read.
    let mut part = 0;
    let mut chars = name.chars().peekable();
    while let Some(one) = chars.next() {
        match one {
            ':' if chars.peek() == Some(&':') => {
                chars.next();
                out.truncate(part);
            }
            ' ' => {
                let between_words =
                    out.chars().last().is_some_and(is_word) && chars.peek().copied().is_some_and(is_word);
                if between_words {
                    out.push(' ');
                    part = out.len();
                }
            }
            one if is_word(one) => out.push(one),
            one => {
                out.push(one);
                part = out.len();
            }
        }
    }
    let out = out.replace(",Global", "");
    out.replace(',', ", ").replace(';', "; ")
}

fn is_word(one: char) -> bool {
    one.is_alphanumeric() || matches!(one, '_' | '#' | '{' | '}' | '$' | '~')
}

/// The path without generic arguments: `alloc::vec::Vec`.
#[must_use]
pub fn base_name(name: &str) -> &str {
    match name.find('<') {
        Some(0) | None => name,
        Some(end) => &name[..end],
    }
}

/// Whether `wanted` is the end of a path, whole parts of it.
pub(super) fn ends_with(path: &str, wanted: &str) -> bool {
    path.strip_suffix(wanted).is_some_and(|before| before.is_empty() || before.ends_with("::"))
}

/// The last part of a path, with its generic arguments.
pub(super) fn last_part(path: &str) -> &str {
    let base = base_name(path).len();
    let start = path.get(..base).and_then(|base| base.rfind("::")).map_or(0, |at| at + 2);
    path.get(start..).unwrap_or(path)
}

/// Whether `wanted` means the type with that full name.
pub(super) fn means(full: &str, wanted: &str) -> bool {
    simplified(full) == simplified(wanted) && ends_with(base_name(full), base_name(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_paths_and_defaults() {
        for (name, short) in [
            ("u32", "u32"),
            ("alloc::vec::Vec<u32, alloc::alloc::Global>", "Vec<u32>"),
            (
                "alloc::collections::btree::map::BTreeMap<a::K, &[b::V], alloc::alloc::Global>",
                "BTreeMap<K, &[V]>",
            ),
            ("&mut [core::option::Option<u8>; 3]", "&mut[Option<u8>; 3]"),
            ("unsigned int", "unsigned int"),
            ("x::y::{closure_env#0}", "{closure_env#0}"),
            ("a::", ""),
            ("", ""),
        ] {
            assert_eq!(simplified(name), short, "{name}");
        }
    }

    #[test]
    fn ends_of_paths_mean_types() {
        let full = "alloc::vec::Vec<my::T, alloc::alloc::Global>";
        assert!(means(full, "Vec<T>"));
        assert!(means(full, "vec::Vec<my::T>"));
        assert!(!means(full, "ec<T>"));
        assert!(!means(full, "other::Vec<T>"));
        assert_eq!(last_part("a::b<c::d>"), "b<c::d>");
        assert_eq!(last_part("<A as B>::C"), "C");
        assert_eq!(last_part("C"), "C");
    }
}
