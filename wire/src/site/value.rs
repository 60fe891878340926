//! Arguments of records: their types, and what their words say.
//!
//! A scalar is one word. Text and bytes are a word, `bytes there were:32 │ bytes kept:32`, and then those kept, zero-padded.

use core::fmt;

use crate::record::MAX_ARG_BYTES;
use crate::text::Text;

/// What an argument's words mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ArgType {
    /// An unsigned integer.
    Unsigned,
    /// A signed integer, extended to 64 bits.
    Signed,
    /// A floating-point number, as an `f64`.
    Float,
    /// True or false.
    Bool,
    /// A character.
    Char,
    /// A guest-virtual address.
    Address,
    /// UTF-8.
    Text,
    /// Bytes.
    Bytes,
}

impl ArgType {
    /// The letter that stands for it in a site's entry.
    #[must_use]
    pub const fn letter(self) -> char {
        match self {
            Self::Unsigned => 'u',
            Self::Signed => 'i',
            Self::Float => 'f',
            Self::Bool => 'b',
            Self::Char => 'c',
            Self::Address => 'p',
            Self::Text => 's',
            Self::Bytes => 'y',
        }
    }

    /// The type of a letter.
    #[must_use]
    pub const fn from_letter(letter: char) -> Option<Self> {
        Some(match letter {
            'u' => Self::Unsigned,
            'i' => Self::Signed,
            'f' => Self::Float,
            'b' => Self::Bool,
            'c' => Self::Char,
            'p' => Self::Address,
            's' => Self::Text,
            'y' => Self::Bytes,
            _ => return None,
        })
    }

    /// A word for people and JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unsigned => "unsigned",
            Self::Signed => "signed",
            Self::Float => "float",
            Self::Bool => "bool",
            Self::Char => "char",
            Self::Address => "address",
            Self::Text => "text",
            Self::Bytes => "bytes",
        }
    }
}

/// Words of an argument that keeps `kept` bytes, its first word among them.
#[must_use]
pub const fn text_words(kept: usize) -> usize {
    1 + kept.div_ceil(8)
}

/// Bytes that a record kept of an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes<'a> {
    /// Those that were kept.
    pub kept: Text<'a>,
    /// How many there were.
    pub total: usize,
}

/// One argument.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// An unsigned integer.
    Unsigned(u64),
    /// A signed integer.
    Signed(i64),
    /// A floating-point number.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// A character; what is none is U+FFFD.
    Char(char),
    /// A guest-virtual address.
    Address(u64),
    /// Text; the guest may have written bytes that are none.
    Text(Bytes<'a>),
    /// Bytes.
    Bytes(Bytes<'a>),
}

/// As `trace` shows it: text in quotes, bytes as hexadecimal, what was cut ends in `…`.
impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsigned(value) => value.fmt(f),
            Self::Signed(value) => value.fmt(f),
            Self::Float(value) => write!(f, "{value:?}"),
            Self::Bool(value) => value.fmt(f),
            Self::Char(value) => write!(f, "{value:?}"),
            Self::Address(value) => write!(f, "{value:#x}"),
            Self::Text(text) => {
                let mut buffer = [0; MAX_ARG_BYTES];
                let mut len = 0;
                for (to, byte) in buffer.iter_mut().zip(text.kept.bytes()) {
                    *to = byte;
                    len += 1;
                }
                f.write_str("\"")?;
                for chunk in buffer[..len].utf8_chunks() {
                    write!(f, "{}", chunk.valid().escape_debug())?;
                    chunk.invalid().iter().try_for_each(|byte| write!(f, "\\x{byte:02x}"))?;
                }
                f.write_str("\"")?;
                cut(text, f)
            }
            Self::Bytes(bytes) => {
                bytes.kept.bytes().try_for_each(|byte| write!(f, "{byte:02x}"))?;
                cut(bytes, f)
            }
        }
    }
}

fn cut(bytes: &Bytes<'_>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if bytes.total > bytes.kept.len() { write!(f, "… ({} bytes)", bytes.total) } else { Ok(()) }
}

/// Reads arguments from the words of a record, one after the other.
#[derive(Clone, Debug)]
pub struct Values<'a>(&'a [u64]);

impl<'a> Values<'a> {
    /// Over the arguments of a record.
    #[must_use]
    pub const fn new(words: &'a [u64]) -> Self {
        Self(words)
    }

    /// The words that have not been read.
    #[must_use]
    pub const fn rest(&self) -> &'a [u64] {
        self.0
    }

    /// The next argument, if its words are there and make sense.
    pub fn next(&mut self, ty: ArgType) -> Option<Value<'a>> {
        let (&word, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(match ty {
            ArgType::Unsigned => Value::Unsigned(word),
            ArgType::Signed => Value::Signed(word.cast_signed()),
            ArgType::Float => Value::Float(f64::from_bits(word)),
            ArgType::Bool => Value::Bool(word != 0),
            ArgType::Char => {
                Value::Char(u32::try_from(word).ok().and_then(char::from_u32).unwrap_or('\u{fffd}'))
            }
            ArgType::Address => Value::Address(word),
            ArgType::Text => Value::Text(self.bytes(word)?),
            ArgType::Bytes => Value::Bytes(self.bytes(word)?),
        })
    }

    fn bytes(&mut self, word: u64) -> Option<Bytes<'a>> {
        let (total, kept) = (word as u32 as usize, (word >> 32) as usize);
        if kept > MAX_ARG_BYTES || kept > total {
            return None;
        }
        let (words, rest) = self.0.split_at_checked(text_words(kept) - 1)?;
        self.0 = rest;
        Some(Bytes { kept: Text::Words(words, kept), total })
    }
}
