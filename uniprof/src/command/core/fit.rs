//! Names and sentences that fit a line.

use crate::output;

/// Columns of a page: what a terminal, a ticket and a mail all have room for.
pub(super) const PAGE: usize = 100;
/// Fewer columns leave no room for a name.
const LEAST: usize = 40;

/// How wide lines may be: those of a terminal fit it, those for a program are whole.
pub(super) fn width() -> usize {
    output::terminal().map_or(usize::MAX, |(columns, _)| columns.max(LEAST))
}

/// A function's name in at most `room` characters: first without the inside of its generics, then without the start of its
/// path, then cut.
pub(super) fn name(name: &str, room: usize) -> String {
    if name.chars().count() <= room {
        return name.to_owned();
    }
    let mut shorter = without_generics(name);
    while shorter.chars().count() > room {
        let body = shorter.strip_prefix("…::").unwrap_or(&shorter);
        match body.split_once("::") {
            Some((_, rest)) => shorter = format!("…::{rest}"),
            None => break,
        }
    }
    cut(&shorter, room)
}

/// What a thread waits for in at most `room` characters: the words before its name stay.
pub(super) fn what(text: &str, room: usize) -> String {
    let path = text.find("::").unwrap_or(text.len());
    let start = text[..path].rfind(' ').map_or(0, |blank| blank + 1);
    let (words, rest) = text.split_at(start);
    format!("{words}{}", name(rest, room.saturating_sub(words.chars().count())))
}

/// `a<b<c>>::d` as `a<…>::d`. A leading `<T as Trait>::f` stays, since nothing else says whose `f` it is.
fn without_generics(name: &str) -> String {
    let (mut short, mut depth) = (String::new(), 0_usize);
    let (head, rest) = match name.strip_prefix('<') {
        Some(rest) => ("<", rest),
        None => ("", name),
    };
    short.push_str(head);
    let mut before = ' ';
    for c in rest.chars() {
        let arrow = std::mem::replace(&mut before, c) == '-';
        match c {
            '<' if depth == 0 => {
                short.push_str("<…>");
                depth = 1;
            }
            '<' => depth += 1,
            // An arrow's head closes nothing.
            '>' if depth > 0 && arrow => {}
            '>' if depth > 0 => depth -= 1,
            c if depth == 0 => short.push(c),
            _ => {}
        }
    }
    short
}

/// The first `room` characters, the last of them an ellipsis where some are left out.
pub(super) fn cut(text: &str, room: usize) -> String {
    if text.chars().count() <= room {
        return text.to_owned();
    }
    let kept: String = text.chars().take(room.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

/// A sentence in lines of at most `room` characters, broken at blanks where that can be.
pub(super) fn wrap(text: &str, room: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let long = word.chars().count();
        let last = lines.last_mut().map_or(0, |line| line.chars().count());
        if last > 0 && last + 1 + long > room {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(&cut(word, room));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_get_shorter_step_by_step() {
        let long = "core::ptr::drop_in_place<kernel::sync::MutexGuard<kernel::Tree<String, String>>>";
        assert_eq!(name(long, 100), long);
        assert_eq!(name(long, 40), "core::ptr::drop_in_place<…>");
        assert_eq!(name(long, 23), "…::drop_in_place<…>");
        assert_eq!(name(long, 8), "…::drop…");
        let method = "<alloc::boxed::Box<F,A> as core::ops::function::FnOnce<Args>>::call_once";
        assert_eq!(name(method, 68), "<alloc::boxed::Box<…> as core::ops::function::FnOnce<…>>::call_once");
    }

    #[test]
    fn what_is_waited_for_keeps_its_words() {
        assert_eq!(what("the lock shop::cart::deadlock::JOURNAL", 30), "the lock …::deadlock::JOURNAL");
        assert_eq!(what("the end of main (thread 1)", 40), "the end of main (thread 1)");
        assert_eq!(what("", 40), "");
    }

    #[test]
    fn sentences_break_at_blanks() {
        assert_eq!(wrap("the kernel panicked: out of heap", 12), ["the kernel", "panicked:", "out of heap"]);
        assert_eq!(wrap("", 10), [""]);
        assert_eq!(wrap("0123456789abcdef", 8), ["0123456…"]);
    }
}
