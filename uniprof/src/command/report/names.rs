//! Stacks and names of functions in a few words, for a line of a table. Whole names are in JSON documents.

/// Functions of a stack that are shown where there is room for them.
const MOST_FRAMES: usize = 5;
/// Characters that a name may have: what is longer loses its middle.
const MOST_OF_NAME: usize = 48;
/// How far from the innermost function an allocator is looked for.
const WRAPPERS: usize = 8;

/// The innermost functions of a stack, given from the root on, in at most `room` characters. Those that switch threads, allocate or probe are in all of
/// them, and left out.
pub(super) fn innermost(functions: &[String], room: usize) -> String {
    let innermost_first = || functions.iter().rev().map(String::as_str);
    let allocators = innermost_first().take(WRAPPERS).collect::<Vec<_>>();
    let allocator = allocators.iter().rposition(|name| is_allocator(name)).map_or(0, |last| last + 1);
    let own: Vec<&str> = innermost_first()
        .skip(allocator)
        .skip_while(|name| is_machinery(name))
        .filter(|name| !is_library(name))
        .collect();
    // A stack that is nothing else is shown as it is.
    let shown = if own.is_empty() { innermost_first().collect() } else { own };
    let mut text = String::new();
    for (index, name) in shown.iter().enumerate() {
        let name = elided(&short(name), MOST_OF_NAME.min(room));
        let more = if index == 0 { name } else { format!(" < {name}") };
        let rest = if index + 1 < shown.len() { " < …".chars().count() } else { 0 };
        let is_too_long = text.chars().count() + more.chars().count() + rest > room;
        if index == MOST_FRAMES || (index > 0 && is_too_long) {
            text.push_str(" < …");
            break;
        }
        text.push_str(&more);
    }
    text
}

/// A text of at most `most` characters: the middle of a longer one is left out, because names differ at both ends.
pub(super) fn elided(text: &str, most: usize) -> String {
    let length = text.chars().count();
    if length <= most {
        return text.to_owned();
    }
    let kept = most.saturating_sub(1);
    let head: String = text.chars().take(kept.div_ceil(2)).collect();
    let tail: String = text.chars().skip(length - kept / 2).collect();
    format!("{head}…{tail}")
}

/// A function's name without what it is found by: `<a::b::Store<c::T> as d::Handler>::run` is `Store<T>::run`, `a::b::c` is `b::c`.
pub(super) fn short(name: &str) -> String {
    let Some((of_type, rest)) = impl_of(name) else { return last_parts(&inner_short(name)).to_owned() };
    let bracketed = inner_short(&format!("<{of_type}>"));
    let of_type = bracketed.strip_prefix('<').and_then(|text| text.strip_suffix('>')).unwrap_or(&bracketed);
    format!("{of_type}{}", inner_short(rest))
}

/// The type of `<TYPE as TRAIT>::f` or `<TYPE>::f`, and what follows the bracket.
fn impl_of(name: &str) -> Option<(&str, &str)> {
    let inside = name.strip_prefix('<')?;
    let end = closing(inside)?;
    let (inside, rest) = (&inside[..end], &inside[end + 1..]);
    // Of the trait nothing is told: what it is of tells more.
    let of_type = split_at_depth_zero(inside, " as ").map_or(inside, |(of_type, _)| of_type);
    Some((of_type.trim_start_matches(['&', '*']).trim_start_matches("mut "), rest))
}

/// Where the bracket closes that was open before `text`.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0_i32;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'<' => depth += 1,
            b'>' if at > 0 && text.as_bytes()[at - 1] == b'-' => {}
            b'>' if depth == 0 => return Some(at),
            b'>' => depth -= 1,
            _ => {}
        }
    }
    None
}

fn split_at_depth_zero<'a>(text: &'a str, separator: &str) -> Option<(&'a str, &'a str)> {
    let mut depth = 0_i32;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'<' | b'(' | b'[' | b'{' => depth += 1,
            b'>' if at > 0 && text.as_bytes()[at - 1] == b'-' => {}
            b'>' | b')' | b']' | b'}' => depth -= 1,
            _ if depth == 0 && text.get(at..).is_some_and(|rest| rest.starts_with(separator)) => {
                return Some((&text[..at], &text[at + separator.len()..]));
            }
            _ => {}
        }
    }
    None
}

/// The name with every path inside of brackets reduced to its last part.
fn inner_short(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    // Where the path that is being read began, inside of brackets.
    let (mut depth, mut path) = (0_i32, 0);
    let mut before = ' ';
    let mut chars = name.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '<' | '(' | '[' | '{' => depth += 1,
            '>' if before == '-' => {}
            '>' | ')' | ']' | '}' => depth -= 1,
            ':' if chars.peek() == Some(&':') && depth > 0 => {
                chars.next();
                text.truncate(path);
                continue;
            }
            _ => {}
        }
        text.push(char);
        before = char;
        if !(char.is_alphanumeric() || char == '_') {
            path = text.len();
        }
    }
    text
}

/// The last two parts of a path, and more where those are closures only; brackets hold paths of their own.
fn last_parts(name: &str) -> &str {
    let (mut depth, mut parts, mut is_named) = (0_i32, 0, false);
    let bytes = name.as_bytes();
    for at in (1..bytes.len()).rev() {
        match bytes[at] {
            b'>' | b')' | b'}' | b']' => depth += 1,
            b'<' | b'(' | b'{' | b'[' => depth -= 1,
            b':' if depth == 0 && bytes[at - 1] == b':' => {
                parts += 1;
                is_named |= !name[at + 1..].starts_with("{{");
                if parts >= 2 && is_named {
                    return &name[at + 1..];
                }
            }
            _ => {}
        }
    }
    name
}

fn is_machinery(name: &str) -> bool {
    let last = name.rsplit("::").next().unwrap_or(name);
    name.starts_with("uniprof_probes::")
        || matches!(last, "switch_away" | "switch_to" | "schedule" | "context_switch")
}

/// Whether it belongs to an allocator, or to the language's way to it.
fn is_allocator(name: &str) -> bool {
    const PARTS: [&str; 4] = ["__rust_alloc", "__rust_realloc", "GlobalAlloc", "__rg_"];
    let last = name.rsplit("::").next().unwrap_or(name);
    PARTS.iter().any(|part| name.contains(part))
        || matches!(last, "malloc" | "calloc" | "realloc" | "memalign" | "posix_memalign" | "kmalloc")
}

/// Whether it is a function of Rust's own libraries, of which a stack has many.
fn is_library(name: &str) -> bool {
    let is_of_it = |name: &str| ["core::", "alloc::", "std::"].iter().any(|start| name.starts_with(start));
    is_of_it(name.trim_start_matches('<'))
        || impl_of(name).is_some()
            && [" as core::", " as alloc::", " as std::"].iter().any(|of| name.contains(of))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stack_is_shown_from_the_function_that_waits() {
        let stack =
            ["thread_entry", "k::waits::waits_sleep", "k::sched::sleep", "k::sched::run::switch_away"];
        let stack = stack.map(str::to_owned);
        assert_eq!(innermost(&stack, 100), "sched::sleep < waits::waits_sleep < thread_entry");
        assert_eq!(innermost(&stack, 40), "sched::sleep < waits::waits_sleep < …");
        assert_eq!(innermost(&stack, 20), "sched::sleep < …");
        assert_eq!(innermost(&stack, 8), "sche…eep < …");
        assert_eq!(innermost(&stack[3..], 100), "run::switch_away");
        assert_eq!(innermost(&[], 100), "");
    }

    #[test]
    fn a_block_is_shown_from_whoever_wanted_it() {
        let stack = [
            "thread_entry",
            "k::leak::leak_forget",
            "<u8 as alloc::vec::spec_from_elem::SpecFromElem>::from_elem",
            "__rustc::__rust_alloc",
            "k::heap::observed::alloc",
        ];
        assert_eq!(innermost(&stack.map(str::to_owned), 100), "leak::leak_forget < thread_entry");
    }

    #[test]
    fn names_keep_the_type_and_the_function() {
        assert_eq!(short("a::b::c::d"), "c::d");
        assert_eq!(short("a::Mutex<b::c::T>::lock"), "Mutex<T>::lock");
        assert_eq!(short("<a::b as c::d>::drop"), "b::drop");
        assert_eq!(
            short("<&mut a::b::Store<c::T> as d::Handler<e::F>>::run::{{closure}}"),
            "Store<T>::run::{{closure}}"
        );
        assert_eq!(short("<a::Guard<x::Y>>::new"), "Guard<Y>::new");
        assert_eq!(short("waits::{{closure}}"), "waits::{{closure}}");
        assert_eq!(short("k::waits::run::{{closure}}::{{closure}}"), "run::{{closure}}::{{closure}}");
        assert_eq!(short("main"), "main");
        assert_eq!(short("<fn(a::B) -> c::D as e::F>::call"), "fn(B) -> D::call");
        // Names are a recording's: of any form.
        for odd in ["<", "<a", "a<b>>::", "::", ">::<", "<<a>::b", "é::<ü as ö>::ß"] {
            assert!(!innermost(&[odd.to_owned()], 5).contains('\u{fffd}'), "{odd}");
        }
    }

    #[test]
    fn what_is_too_long_loses_its_middle() {
        assert_eq!(elided("abcdefghij", 10), "abcdefghij");
        assert_eq!(elided("abcdefghij", 5), "ab…ij");
        assert_eq!(elided("äöüäöüäöü", 4), "äö…ü");
        assert_eq!(elided("abc", 1), "…");
        assert_eq!(elided("abc", 0), "…");
    }
}
