//! Patterns over the names of sites: what a collector asks for and a guest matches.
//!
//! ```text
//!  http.*            every name that begins with `http.`; `*` is any run of bytes, `?` any one byte
//!  http.*,-http.raw  but not that one: of the patterns that match a name, the last counts
//! ```

/// Whether `pattern` matches all of `name`.
#[must_use]
pub fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    // Where to go on if the run that the last `*` stands for has to be longer.
    let mut retry = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                p += 1;
                retry = Some((p, n));
            }
            Some(&byte) if byte == b'?' || byte == name[n] => (p, n) = (p + 1, n + 1),
            _ => {
                let Some((after, from)) = retry else { return false };
                (p, n) = (after, from + 1);
                retry = Some((after, from + 1));
            }
        }
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
}

/// What a list of patterns says of a name: whether to switch it on, or `None` where no pattern matches.
#[must_use]
pub fn selects(list: &[u8], name: &[u8]) -> Option<bool> {
    let said = |pattern: &[u8]| match pattern {
        [b'-', rest @ ..] => matches(rest, name).then_some(false),
        [] => None,
        _ => matches(pattern, name).then_some(true),
    };
    list.split(|&byte| byte == b',').filter_map(said).next_back()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks() {
        for (pattern, name) in [
            ("", ""),
            ("*", ""),
            ("*", "kv.get"),
            ("kv.*", "kv."),
            ("kv.?et", "kv.get"),
            ("*.g*t", "kv.gt"),
            ("*a*b*", "xxaxxbxx"),
            ("a**b", "ab"),
        ] {
            assert!(matches(pattern.as_bytes(), name.as_bytes()), "{pattern} {name}");
        }
        for (pattern, name) in
            [("", "a"), ("kv", "kv.get"), ("kv.get", "kv"), ("?", ""), ("*.put", "kv.get"), ("a*b", "abc")]
        {
            assert!(!matches(pattern.as_bytes(), name.as_bytes()), "{pattern} {name}");
        }
    }

    #[test]
    fn a_pattern_of_many_stars_takes_no_long_time() {
        assert!(!matches(&[b"*a".as_slice(); 100].concat(), &[b'a'; 99]));
        assert!(matches(&[b"*a".as_slice(); 100].concat(), &[b'a'; 1000]));
    }

    #[test]
    fn the_last_pattern_that_matches_counts() {
        assert_eq!(selects(b"http.*,-http.raw", b"http.get"), Some(true));
        assert_eq!(selects(b"http.*,-http.raw", b"http.raw"), Some(false));
        assert_eq!(selects(b"-*,http.raw", b"http.raw"), Some(true));
        assert_eq!(selects(b"http.*", b"kv.get"), None);
        assert_eq!(selects(b"", b""), None);
        assert_eq!(selects(b",,a", b"a"), Some(true));
    }
}
