//! What a field of an event says.

use std::fmt;

use serde::{Serialize, Serializer};
use uniprof_wire::site;

/// The value of a field.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// An unsigned integer.
    Unsigned(u64),
    /// A signed integer.
    Signed(i64),
    /// A floating-point number.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// A character.
    Char(char),
    /// A guest-virtual address.
    Address(u64),
    /// Text, or what was kept of it; bytes that are no UTF-8 are U+FFFD.
    Text {
        /// What was kept.
        kept: Box<str>,
        /// How many bytes there were.
        total: usize,
        /// Whether those are more than were kept.
        cut: bool,
    },
    /// Bytes, or what was kept of them.
    Bytes {
        /// Those that were kept.
        kept: Box<[u8]>,
        /// How many there were.
        total: usize,
    },
    /// One of a few words, such as why a thread left the CPU.
    Word(&'static str),
    /// A thread's number; 0 none.
    Thread(u32),
    /// A duration in ticks of the guest's clock.
    Ticks(u64),
}

impl Value {
    /// Text that is whole.
    #[must_use]
    pub fn text(bytes: &[u8]) -> Self {
        Self::Text { kept: String::from_utf8_lossy(bytes).into(), total: bytes.len(), cut: false }
    }

    pub(crate) fn of(value: site::Value<'_>) -> Self {
        match value {
            site::Value::Unsigned(value) => Self::Unsigned(value),
            site::Value::Signed(value) => Self::Signed(value),
            site::Value::Float(value) => Self::Float(value),
            site::Value::Bool(value) => Self::Bool(value),
            site::Value::Char(value) => Self::Char(value),
            site::Value::Address(value) => Self::Address(value),
            site::Value::Text(text) => {
                let kept: Vec<u8> = text.kept.bytes().collect();
                let cut = text.total > kept.len();
                Self::Text { kept: String::from_utf8_lossy(&kept).into(), total: text.total, cut }
            }
            site::Value::Bytes(bytes) => {
                Self::Bytes { kept: bytes.kept.bytes().collect(), total: bytes.total }
            }
        }
    }

    /// Whether the guest kept less than there was.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        match self {
            Self::Text { cut, .. } => *cut,
            Self::Bytes { kept, total } => *total > kept.len(),
            _ => false,
        }
    }

    /// Whether it says that something went wrong: a negative number, as kernels return errors.
    #[must_use]
    pub const fn is_error(&self) -> bool {
        matches!(self, Self::Signed(value) if *value < 0)
    }
}

/// Text in quotes, bytes as hexadecimal, what was cut ends in `…`; threads and ticks as plain numbers, since names and the clock's rate are a
/// [`Guest`](crate::Guest)'s.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsigned(value) | Self::Ticks(value) => value.fmt(f),
            Self::Signed(value) => value.fmt(f),
            Self::Float(value) => write!(f, "{value:?}"),
            Self::Bool(value) => value.fmt(f),
            Self::Char(value) => write!(f, "{value:?}"),
            Self::Address(value) => write!(f, "{value:#x}"),
            Self::Text { kept, total, cut } => {
                write!(f, "\"{}\"", kept.escape_debug())?;
                if *cut { write!(f, "… ({total} bytes)") } else { Ok(()) }
            }
            Self::Bytes { kept, total } => {
                kept.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
                if *total > kept.len() { write!(f, "… ({total} bytes)") } else { Ok(()) }
            }
            Self::Word(word) => f.write_str(word),
            Self::Thread(id) => id.fmt(f),
        }
    }
}

/// Numbers as numbers (those that JSON has none for, NaN and the infinities, as null), addresses and bytes as hexadecimal text, characters and
/// text as text.
impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Unsigned(value) | Self::Ticks(value) => serializer.serialize_u64(*value),
            Self::Signed(value) => serializer.serialize_i64(*value),
            Self::Float(value) => serializer.serialize_f64(*value),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Char(value) => serializer.serialize_char(*value),
            Self::Address(value) => serializer.collect_str(&format_args!("{value:#x}")),
            Self::Text { kept, .. } => serializer.serialize_str(kept),
            Self::Bytes { kept, .. } => {
                serializer.serialize_str(&kept.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
            }
            Self::Word(word) => serializer.serialize_str(word),
            Self::Thread(id) => serializer.serialize_u32(*id),
        }
    }
}
