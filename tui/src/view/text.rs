//! Text for cells: what comes from a guest must neither obey nor break a terminal.

use unicode_width::UnicodeWidthChar;

use crate::picture::Span;

/// The characters of a text that may be drawn, with their widths. What a terminal would obey becomes a mark that can be seen; what has no width
/// (accents on their own, marks that turn the direction of writing) is left out, since terminals don't agree on where it goes.
fn drawable(text: &str, ascii: bool) -> impl Iterator<Item = (char, usize)> + '_ {
    text.chars().filter_map(move |c| match c {
        ' '..='~' => Some((c, 1)),
        '\t' => Some((' ', 1)),
        _ if ascii => Some((in_ascii(c), 1)),
        _ if c.is_control() => Some(('·', 1)),
        _ => match c.width() {
            Some(width @ 1..=2) => Some((c, width)),
            _ => None,
        },
    })
}

/// What this crate itself draws in Unicode, in ASCII.
fn in_ascii(c: char) -> char {
    match c {
        '…' => '~',
        '·' => '-',
        '─' | '—' | '–' => '-',
        '│' => '|',
        '▶' | '›' => '>',
        '▼' => 'v',
        '▲' => '^',
        '●' => '*',
        '○' => 'o',
        '×' => 'x',
        '←' | '◀' => '<',
        '→' => '>',
        '≈' => '~',
        'µ' => 'u',
        _ => '?',
    }
}

/// As much of a text as fits into so many cells, and how many it takes. What does not fit is cut off, and an ellipsis says so.
pub(crate) fn fit(text: &str, width: usize, ascii: bool) -> (String, usize) {
    let mut fitted = String::new();
    let mut used = 0;
    // Where to cut if more comes than fits.
    let mut cut = (0, 0);
    for (c, wide) in drawable(text, ascii) {
        if used + wide > width {
            fitted.truncate(cut.0);
            if width > 0 {
                fitted.push(if ascii { '~' } else { '…' });
            }
            return (fitted, (cut.1 + 1).min(width));
        }
        fitted.push(c);
        used += wide;
        if used < width {
            cut = (fitted.len(), used);
        }
    }
    (fitted, used)
}

/// As [`fit`], but what is cut off is the beginning: of the path of a function or a file the end says most.
pub(crate) fn fit_end(text: &str, width: usize, ascii: bool) -> String {
    let characters: Vec<(char, usize)> = drawable(text, ascii).collect();
    let all: usize = characters.iter().map(|(_, wide)| wide).sum();
    if all <= width {
        return characters.into_iter().map(|(c, _)| c).collect();
    }
    let mut room = width.saturating_sub(1);
    let fits = |(_, wide): &&(char, usize)| {
        let fits = *wide <= room;
        room = room.saturating_sub(*wide);
        fits
    };
    let kept = characters.iter().rev().take_while(fits).count();
    let ellipsis = (width > 0).then_some(if ascii { '~' } else { '…' });
    ellipsis.into_iter().chain(characters[characters.len() - kept..].iter().map(|(c, _)| *c)).collect()
}

/// How many cells a text takes.
pub(crate) fn cells(text: &str, ascii: bool) -> usize {
    drawable(text, ascii).map(|(_, width)| width).sum()
}

/// The last part of a path of names: `get` of `kv::store::Map<K, V>::get`.
pub(crate) fn last_part(name: &str) -> &str {
    let mut depth = 0i32;
    let mut start = 0;
    let mut before = None;
    for (at, c) in name.char_indices() {
        match c {
            '<' | '(' | '{' | '[' => depth += 1,
            // An arrow is no bracket.
            '>' if before == Some('-') => {}
            '>' | ')' | '}' | ']' => depth -= 1,
            ':' if depth <= 0 && before == Some(':') => start = at + 1,
            _ => {}
        }
        before = Some(c);
    }
    if start < name.len() { &name[start..] } else { name }
}

/// The last parts of a path of names, so many of them: two of `kv::store::Map<K, V>::get` are `Map<K, V>::get`.
pub(crate) fn last_parts(name: &str, parts: usize) -> &str {
    let mut rest = name;
    let mut kept = name.len();
    for _ in 0..parts {
        let part = last_part(rest);
        kept = rest.len() - part.len();
        match rest[..kept].strip_suffix("::") {
            Some(before) if !before.is_empty() => rest = before,
            _ => break,
        }
    }
    &name[kept..]
}

pub(crate) fn percent(share: f64) -> String {
    if !share.is_finite() {
        return "?".into();
    }
    let percent = share * 100.0;
    if percent >= 99.95 { format!("{percent:.0}%") } else { format!("{percent:.1}%") }
}

/// A share of a whole, where the whole may be nothing.
pub(crate) fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// A count in at most five characters.
pub(crate) fn count(value: f64) -> String {
    if !value.is_finite() {
        return "?".into();
    }
    let steps = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
    match steps.into_iter().find(|(step, _)| value.abs() >= *step * 9.9995) {
        Some((step, letter)) => {
            let value = value / step;
            if value.abs() >= 99.95 { format!("{value:.0}{letter}") } else { format!("{value:.1}{letter}") }
        }
        None if value.fract() != 0.0 && value.abs() < 99.95 => format!("{value:.1}"),
        None => format!("{value:.0}"),
    }
}

/// Bytes in binary units.
pub(crate) fn bytes(value: f64) -> String {
    if !value.is_finite() {
        return "?".into();
    }
    // Less than half a byte would be written with the sign of nothing.
    let value = if value.abs() < 0.5 { 0.0 } else { value };
    let steps = [(f64::from(1 << 30), "GiB"), (f64::from(1 << 20), "MiB"), (1024.0, "KiB")];
    match steps.into_iter().find(|(step, _)| value.abs() >= *step) {
        Some((step, unit)) if value % step == 0.0 => format!("{:.0} {unit}", value / step),
        Some((step, unit)) => format!("{:.1} {unit}", value / step),
        None => format!("{value:.0} B"),
    }
}

/// A time for people.
pub(crate) fn nanoseconds(value: u64) -> String {
    uniprof_flamegraph::Unit::Nanoseconds.short(value)
}

/// Seconds as a clock shows them, to the tenth.
pub(crate) fn clock(seconds: f64) -> String {
    if !seconds.is_finite() {
        return "?".into();
    }
    let tenths = (seconds.max(0.0) * 10.0) as u64;
    let (hours, minutes, rest) = (tenths / 36_000, tenths / 600 % 60, tenths % 600);
    match hours {
        0 => format!("{minutes:02}:{:02}.{}", rest / 10, rest % 10),
        _ => format!("{hours}:{minutes:02}:{:02}.{}", rest / 10, rest % 10),
    }
}

/// Seconds as a length.
pub(crate) fn seconds(value: f64) -> String {
    if !value.is_finite() || value < 0.0 {
        return "?".into();
    }
    match value {
        value if value >= 3600.0 => format!("{:.1} h", value / 3600.0),
        value if value >= 100.0 => format!("{value:.0} s"),
        value => nanoseconds((value * 1e9) as u64),
    }
}

/// What a span is called.
pub(crate) fn span_words(span: Span) -> String {
    match span {
        Span::Last(seconds) => format!("the last {seconds:.0} s"),
        Span::Decay(seconds) => format!("all, half-life {seconds:.0} s"),
        Span::All => "all".into(),
    }
}

/// A date and time of the day in UTC. The civil calendar by days since 1970 is Howard Hinnant's `civil_from_days`.
pub(crate) fn utc(wall_ns: u64) -> String {
    let seconds = wall_ns / 1_000_000_000;
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = era * 400 + year_of_era + carry;
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_takes_the_cells_that_it_says() {
        assert_eq!(fit("plain", 9, false), ("plain".into(), 5));
        assert_eq!(fit("plain", 5, false), ("plain".into(), 5));
        assert_eq!(fit("plainer", 5, false), ("plai…".into(), 5));
        assert_eq!(fit("plainer", 5, true), ("plai~".into(), 5));
        assert_eq!(fit("plain", 0, false), (String::new(), 0));
        // Two cells each; half a character is none.
        assert_eq!(fit("日本語", 6, false), ("日本語".into(), 6));
        assert_eq!(fit("日本語", 5, false), ("日本…".into(), 5));
        assert_eq!(fit("日本語", 4, false), ("日…".into(), 3));
        assert_eq!(fit("日本語", 4, true), ("???".into(), 3));
    }

    #[test]
    fn of_a_path_the_end_is_kept() {
        assert_eq!(fit_end("kv::store::get", 14, false), "kv::store::get");
        assert_eq!(fit_end("kv::store::get", 9, false), "…ore::get");
        assert_eq!(fit_end("kv::store::get", 9, true), "~ore::get");
        assert_eq!(fit_end("日本語", 4, false), "…語");
        assert_eq!(fit_end("get", 1, false), "…");
        assert_eq!(fit_end("get", 0, false), "");
    }

    #[test]
    fn a_terminal_obeys_no_name() {
        assert_eq!(fit("a\x1b[2Jb\u{9b}c\u{202e}d\r\n", 20, false).0, "a·[2Jb·cd··");
        assert_eq!(fit("e\u{301}\u{301}\u{200d}x", 20, false), ("ex".into(), 2));
    }

    #[test]
    fn the_last_part_of_a_path_is_outside_brackets() {
        assert_eq!(last_part("kv::store::Map<K, a::B>::get"), "get");
        assert_eq!(last_part("<a::B as c::D>::e"), "e");
        assert_eq!(last_part("a::b::{{closure}}"), "{{closure}}");
        assert_eq!(last_part("f<fn(a::X) -> b::Y>"), "f<fn(a::X) -> b::Y>");
        assert_eq!(last_part("main"), "main");
        assert_eq!(last_part("odd::"), "odd::");
        assert_eq!(last_parts("kv::store::Map<K, a::B>::get", 2), "Map<K, a::B>::get");
        assert_eq!([1, 2, 9].map(|parts| last_parts("a::b::C", parts)), ["C", "b::C", "a::b::C"]);
        assert_eq!([0, 1, 2].map(|parts| last_parts("main", parts)), ["", "main", "main"]);
        assert_eq!(last_parts("::odd::", 3), "::odd::");
    }

    #[test]
    fn figures_are_short() {
        let counts = [0.0, 1.5, 99.99, 999.0, 9_999.0, 12_345.0, 1e6, 123_456_789.0, f64::NAN].map(count);
        assert_eq!(counts, ["0", "1.5", "100", "999", "9999", "12.3k", "1000k", "123M", "?"]);
        assert_eq!([0.0, 0.126, 1.0].map(percent), ["0.0%", "12.6%", "100%"]);
        assert_eq!([3.25, 75.0, 3_700.0].map(clock), ["00:03.2", "01:15.0", "1:01:40.0"]);
        assert_eq!(utc(1_764_111_600_000_000_000), "2025-11-25 23:00:00 UTC");
        assert_eq!(utc(951_782_400_000_000_000), "2000-02-29 00:00:00 UTC");
        assert_eq!([512.0, 1536.0, 5e9].map(bytes), ["512 B", "1.5 KiB", "4.7 GiB"]);
        assert_eq!([-0.0, -0.3, 0.4, -2.0].map(bytes), ["0 B", "0 B", "0 B", "-2 B"]);
    }
}
