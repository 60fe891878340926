//! The command line of a benchmark.

/// What stands after the word `name`, if that is there.
#[must_use]
pub fn word(name: &str) -> Option<String> {
    std::env::args().skip_while(|given| given != name).nth(1)
}

/// The same, a number.
///
/// # Panics
/// Where it is none.
#[must_use]
pub fn number(name: &str) -> Option<u64> {
    word(name).map(|text| text.parse().unwrap_or_else(|_| panic!("{name} takes a number, not {text}")))
}
