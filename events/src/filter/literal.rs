//! The right-hand side of a comparison.

/// A value as it was written, and what it means as a number or a duration.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Literal {
    text: String,
    pub(super) number: Option<Number>,
    /// In nanoseconds.
    pub(super) duration: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    Integer(i128),
    Float(f64),
}

const MULTIPLES: [(&str, i128); 6] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("k", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
];

const UNITS: [(&str, f64); 7] =
    [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("ms", 1e6), ("min", 60e9), ("s", 1e9), ("m", 60e9)];

impl Literal {
    /// A word: what looks like a number is one.
    pub(super) fn word(text: &str) -> Self {
        Self { text: text.into(), number: number(text), duration: duration(text) }
    }

    /// Text in quotes is nothing else.
    pub(super) fn quoted(text: &str) -> Self {
        Self { text: text.into(), number: None, duration: None }
    }

    /// As it was written, without quotes.
    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

impl Number {
    pub(super) fn float(self) -> f64 {
        match self {
            Self::Integer(value) => value as f64,
            Self::Float(value) => value,
        }
    }
}

fn number(text: &str) -> Option<Number> {
    if let Some(digits) = text.strip_prefix("0x") {
        return i128::from_str_radix(digits, 16).ok().filter(|n| *n >= 0).map(Number::Integer);
    }
    for (unit, factor) in MULTIPLES {
        if let Some(number) = text.strip_suffix(unit) {
            return match plain(number)? {
                Number::Integer(value) => value.checked_mul(factor).map(Number::Integer),
                Number::Float(value) => Some(Number::Float(value * factor as f64)),
            };
        }
    }
    plain(text)
}

fn plain(text: &str) -> Option<Number> {
    // `inf` and `nan` are words.
    if !text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c)) {
        return None;
    }
    let integer = text.parse().ok().map(Number::Integer);
    integer.or_else(|| text.parse().ok().filter(|value: &f64| value.is_finite()).map(Number::Float))
}

/// Nanoseconds of a number with a unit.
fn duration(text: &str) -> Option<f64> {
    let (number, factor) =
        UNITS.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)))?;
    Some(plain(number)?.float() * factor)
}

/// Nanoseconds of a point in time: a number with a unit, or seconds.
pub(super) fn time(text: &str) -> Option<f64> {
    duration(text).or_else(|| Some(plain(text)?.float() * 1e9)).filter(|ns| *ns >= 0.0)
}
