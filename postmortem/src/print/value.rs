//! A value as a tree that can be printed and written as JSON.

use std::fmt;

use serde::ser::{SerializeMap as _, SerializeSeq as _};
use serde::{Serialize, Serializer};
use uniprof_symbolizer::types::VariableKind;

/// Values no longer than this are printed on one line.
const WIDTH: usize = 100;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    /// Its type's name; empty where it has none.
    pub ty: String,
    /// Where it lies in the guest's memory, where it does.
    pub address: Option<u64>,
    /// The value.
    pub data: Data,
}

/// A variable of a frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// What it is to its function.
    pub kind: VariableKind,
    /// Its type's name; empty where it is not known.
    pub ty: String,
    /// The value, or why there is none in a few words: `optimised out`.
    pub value: Result<Value, String>,
}

/// What a value is made of.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// A number without a sign.
    Unsigned(u128),
    /// A number with a sign.
    Signed(i128),
    /// `true` or `false`.
    Bool(bool),
    /// A character of C, which is a number, too.
    Byte(i128),
    /// A Unicode character.
    Char(char),
    /// A floating-point number of 32 bits.
    Float(f32),
    /// A larger one.
    Double(f64),
    /// Text, which need not be UTF-8, and how many bytes of it are left out.
    Text(Vec<u8>, u64),
    /// An address, and what is known to lie there.
    Pointer(u64, Option<String>),
    /// A reference that was followed.
    Reference(u64, Box<Data>),
    /// A structure or an alternative of an enum with named fields.
    Fields(String, Vec<(String, Data)>),
    /// The same with numbered ones; a tuple where the name is empty.
    Tuple(String, Vec<Data>),
    /// A name: an enumerator, an alternative without fields.
    Name(String),
    /// Elements, and how many are left out.
    List(Vec<Data>, u64),
    /// The elements of a set.
    Set(Vec<Data>, u64),
    /// Keys with their values.
    Map(Vec<(Data, Data)>, u64),
    /// What is left out, for there is enough already.
    More,
    /// Not known, and why.
    Unknown(String),
}

impl Value {
    /// Whether it is a value and not a reason why there is none.
    #[must_use]
    pub fn is_known(&self) -> bool {
        !matches!(self.data, Data::Unknown(_))
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.data)
    }
}

impl fmt::Display for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::new();
        self.pretty(0, 0, &mut out);
        f.write_str(&out)
    }
}

/// What a value is between: a name, the opening and the closing sign.
type Frame<'a> = (&'a str, &'a str, &'a str);

impl Data {
    /// On one line.
    #[must_use]
    pub fn flat(&self) -> String {
        let mut out = String::new();
        self.write(None, 0, &mut out);
        out
    }

    /// On one line if it fits behind `used` columns, else on several.
    fn pretty(&self, indent: usize, used: usize, out: &mut String) {
        let flat = self.flat();
        if flat.chars().count() + used <= WIDTH || !self.has_parts() {
            out.push_str(&flat);
        } else {
            self.write(Some(indent), used, out);
        }
    }

    fn has_parts(&self) -> bool {
        match self {
            Self::Fields(..) | Self::Tuple(..) | Self::List(..) | Self::Set(..) | Self::Map(..) => true,
            Self::Reference(_, to) => to.has_parts(),
            _ => false,
        }
    }

    /// With an indent: on several lines.
    fn write(&self, indent: Option<usize>, used: usize, out: &mut String) {
        match self {
            Self::Unsigned(value) => out.push_str(&value.to_string()),
            Self::Signed(value) => out.push_str(&value.to_string()),
            Self::Bool(value) => out.push_str(&value.to_string()),
            Self::Byte(value) => {
                out.push_str(&value.to_string());
                let shown =
                    u8::try_from(*value & 0xff).ok().filter(|byte| byte.is_ascii_graphic() || *byte == b' ');
                out.push_str(&shown.map(|byte| format!(" {:?}", char::from(byte))).unwrap_or_default());
            }
            Self::Char(value) => out.push_str(&format!("{value:?}")),
            Self::Float(value) => out.push_str(&format!("{value:?}")),
            Self::Double(value) => out.push_str(&format!("{value:?}")),
            Self::Text(text, more) => {
                out.push_str(&quoted(text));
                out.push_str(&if *more > 0 { format!("… ({more} more bytes)") } else { String::new() });
            }
            Self::Pointer(address, note) => {
                out.push_str(&format!("{address:#x}"));
                out.push_str(&note.as_ref().map(|note| format!(" {note}")).unwrap_or_default());
            }
            Self::Reference(_, to) => {
                out.push('&');
                match indent {
                    Some(indent) => to.pretty(indent, used + 1, out),
                    None => to.write(None, 0, out),
                }
            }
            Self::Fields(name, fields) => {
                let space = if name.is_empty() { "" } else { " " };
                let parts = fields.iter().map(|(name, value)| (format!("{name}: "), value));
                join((name, &format!("{space}{{"), "}"), parts, 0, indent, out);
            }
            Self::Tuple(name, fields) => {
                join((name, "(", ")"), fields.iter().map(|value| (String::new(), value)), 0, indent, out);
            }
            Self::List(items, more) => {
                join(("", "[", "]"), items.iter().map(|value| (String::new(), value)), *more, indent, out);
            }
            Self::Set(items, more) => {
                join(("", "{", "}"), items.iter().map(|value| (String::new(), value)), *more, indent, out);
            }
            Self::Map(entries, more) => {
                let parts = entries.iter().map(|(key, value)| (format!("{}: ", key.flat()), value));
                join(("", "{", "}"), parts, *more, indent, out);
            }
            Self::Name(name) => out.push_str(name),
            Self::More => out.push('…'),
            Self::Unknown(why) => {
                out.push('<');
                out.push_str(why);
                out.push('>');
            }
        }
    }

    fn is_small(&self) -> bool {
        !self.has_parts() && !matches!(self, Self::Text(..))
    }
}

fn join<'a>(
    (name, open, close): Frame<'_>,
    parts: impl Iterator<Item = (String, &'a Data)>,
    more: u64,
    indent: Option<usize>,
    out: &mut String,
) {
    out.push_str(name);
    out.push_str(open);
    let parts: Vec<_> = parts.collect();
    let padded = open.ends_with('{') && !parts.is_empty() && name.len() + open.len() > 1;
    // Numbers stand side by side, as many as fit on a line.
    let run = indent.is_some() && parts.iter().all(|(label, value)| label.is_empty() && value.is_small());
    let inner = indent.map(|indent| indent + 4);
    let mut column = usize::MAX;
    for (number, (label, value)) in parts.iter().enumerate() {
        let text = match inner {
            Some(inner) => {
                let mut text = label.clone();
                value.pretty(inner, inner + label.chars().count(), &mut text);
                text
            }
            None => format!("{label}{}", value.flat()),
        };
        match inner {
            Some(inner) if !run || column.saturating_add(text.len() + 2) > WIDTH => {
                out.push_str(&format!("{}\n{:inner$}", if number > 0 { "," } else { "" }, ""));
                column = inner;
            }
            _ if number > 0 => out.push_str(", "),
            _ if padded => out.push(' '),
            _ => {}
        }
        column = column.saturating_add(text.len() + 2);
        out.push_str(&text);
    }
    if more > 0 {
        let before = if parts.is_empty() { "" } else { ", " };
        out.push_str(&format!("{before}… ({more} more)"));
    }
    match indent {
        Some(indent) if !parts.is_empty() => out.push_str(&format!("\n{:indent$}", "")),
        _ if padded => out.push(' '),
        _ => {}
    }
    out.push_str(close);
}

/// As Rust writes text; bytes that are no UTF-8 as `\xNN`.
fn quoted(text: &[u8]) -> String {
    let mut out = String::from("\"");
    for chunk in text.utf8_chunks() {
        for one in chunk.valid().chars() {
            match one {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\0' => out.push_str("\\0"),
                one if one.is_control() => out.push_str(&one.escape_default().to_string()),
                one => out.push(one),
            }
        }
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out.push('"');
    out
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("type", &self.ty)?;
        map.serialize_entry("value", &self.data)?;
        map.serialize_entry("address", &self.address.map(|address| format!("{address:#x}")))?;
        map.end()
    }
}

impl Serialize for Variable {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(5))?;
        map.serialize_entry("name", &self.name)?;
        map.serialize_entry("kind", if self.kind == VariableKind::Argument { "argument" } else { "local" })?;
        map.serialize_entry("type", &self.ty)?;
        map.serialize_entry("value", &self.value.as_ref().ok().map(|value| &value.data))?;
        map.serialize_entry("unknown", &self.value.as_ref().err())?;
        map.end()
    }
}

/// Numbers are numbers where JSON's readers keep them exact, that is up to 2^53, else text; so are addresses. What is shown of
/// a value is what people read: a list that was cut short ends in an object that says how much is missing.
impl Serialize for Data {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        const EXACT: u128 = 1 << 53;
        match self {
            Self::Unsigned(value) if *value <= EXACT => serializer.serialize_u64(*value as u64),
            Self::Unsigned(value) => serializer.collect_str(value),
            Self::Signed(value) | Self::Byte(value) if value.unsigned_abs() <= EXACT => {
                serializer.serialize_i64(*value as i64)
            }
            Self::Signed(value) | Self::Byte(value) => serializer.collect_str(value),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Char(value) => serializer.serialize_char(*value),
            Self::Float(value) if value.is_finite() => serializer.serialize_f32(*value),
            Self::Float(value) => serializer.collect_str(value),
            Self::Double(value) if value.is_finite() => serializer.serialize_f64(*value),
            Self::Double(value) => serializer.collect_str(value),
            Self::Text(text, 0) => serializer.serialize_str(&String::from_utf8_lossy(text)),
            Self::Pointer(..) => serializer.serialize_str(&self.flat()),
            Self::Text(text, more) => {
                let text = String::from_utf8_lossy(text);
                serializer.collect_str(&format_args!("{text}… ({more} more bytes)"))
            }
            Self::Reference(_, to) => to.serialize(serializer),
            Self::Name(name) => serializer.serialize_str(name),
            Self::More => serializer.serialize_str("…"),
            Self::Fields(_, fields) => {
                serializer.collect_map(fields.iter().map(|(name, value)| (name, value)))
            }
            Self::Tuple(name, fields) => match (name.as_str(), fields.as_slice()) {
                ("", fields) => serializer.collect_seq(fields),
                (name, [one]) => one_entry(serializer, name, one),
                (name, fields) => one_entry(serializer, name, &fields),
            },
            Self::List(items, more) | Self::Set(items, more) => {
                let mut list = serializer.serialize_seq(None)?;
                items.iter().try_for_each(|item| list.serialize_element(item))?;
                if *more > 0 {
                    list.serialize_element(&Left { more: *more })?;
                }
                list.end()
            }
            Self::Map(entries, more) => {
                let mut list = serializer.serialize_seq(None)?;
                let pair = |(key, value)| Pair { key, value };
                entries
                    .iter()
                    .map(|(key, value)| pair((key, value)))
                    .try_for_each(|pair| list.serialize_element(&pair))?;
                if *more > 0 {
                    list.serialize_element(&Left { more: *more })?;
                }
                list.end()
            }
            Self::Unknown(why) => one_entry(serializer, "unknown", why),
        }
    }
}

#[derive(Serialize)]
struct Left {
    more: u64,
}

#[derive(Serialize)]
struct Pair<'a> {
    key: &'a Data,
    value: &'a Data,
}

fn one_entry<S: Serializer>(serializer: S, name: &str, value: &impl Serialize) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(1))?;
    map.serialize_entry(name, value)?;
    map.end()
}
