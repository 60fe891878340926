//! The words of an expression.

use super::PrintError;

/// Expressions are typed by people.
const MAX_BYTES: usize = 4096;

/// A word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Integer(u128),
    Word(String),
    /// Between quotation marks: taken as it is.
    Quoted(String),
    Register(String),
    Sign(&'static str),
}

/// A word and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    pub(super) token: Token,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// Longer ones first. Angle brackets stand alone, since those of generics can be adjacent.
const SIGNS: [&str; 25] = [
    "::", "->", "..=", "..", ".", "[", "]", "(", ")", "*", "&", "+", "-", "/", "%", "|", "^", "!", "~", "<",
    ">", ",", ";", "@", "=",
];

pub(super) fn tokens(text: &str) -> Result<Vec<Placed>, PrintError> {
    if text.len() > MAX_BYTES {
        return Err(PrintError::syntax(0, format!("it is longer than {MAX_BYTES} bytes")));
    }
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(first) = text.get(at..).and_then(|rest| rest.chars().next()) {
        if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        }
        let rest = &text[at..];
        let (token, len) = match first {
            '0'..='9' => integer(rest, at)?,
            '\'' => quoted(rest, at)?,
            '$' => {
                let len = word(&rest[1..]);
                (Token::Register(rest[1..1 + len].to_owned()), 1 + len)
            }
            '{' => {
                let len = rest.find('}').ok_or_else(|| PrintError::syntax(at, "'{' is never closed"))? + 1;
                (Token::Word(rest[..len].to_owned()), len)
            }
            first if first.is_alphabetic() || first == '_' => {
                let len = word(rest);
                (Token::Word(rest[..len].to_owned()), len)
            }
            first => {
                let sign = SIGNS.into_iter().find(|sign| rest.starts_with(sign));
                let sign =
                    sign.ok_or_else(|| PrintError::syntax(at, format!("{first:?} means nothing here")))?;
                (Token::Sign(sign), sign.len())
            }
        };
        found.push(Placed { token, start: at, end: at + len });
        at += len;
    }
    Ok(found)
}

fn word(text: &str) -> usize {
    text.find(|one: char| !one.is_alphanumeric() && one != '_').unwrap_or(text.len())
}

fn integer(text: &str, at: usize) -> Result<(Token, usize), PrintError> {
    let len = word(text);
    let written = text[..len].replace('_', "").to_lowercase();
    let (digits, radix) = match written.get(..2) {
        Some("0x") => (&written[2..], 16),
        Some("0o") => (&written[2..], 8),
        Some("0b") => (&written[2..], 2),
        _ => (written.as_str(), 10),
    };
    let end = digits.find(|digit: char| !digit.is_digit(radix)).unwrap_or(digits.len());
    let suffixes = [
        "", "u8", "u16", "u32", "u64", "u128", "usize", "i8", "i16", "i32", "i64", "i128", "isize", "u", "l",
        "ul", "ull", "ll",
    ];
    let value =
        u128::from_str_radix(&digits[..end], radix).ok().filter(|_| suffixes.contains(&&digits[end..]));
    let value = value.ok_or_else(|| PrintError::syntax(at, format!("{:?} is no number", &text[..len])))?;
    Ok((Token::Integer(value), len))
}

/// `'a'` is a character's number; longer ones are names that can't be written otherwise.
fn quoted(text: &str, at: usize) -> Result<(Token, usize), PrintError> {
    let end =
        text[1..].find('\'').ok_or_else(|| PrintError::syntax(at, "the quotation mark is never closed"))?;
    let content = &text[1..=end];
    let mut chars = content.chars();
    Ok((
        match (chars.next(), chars.next()) {
            (Some(one), None) => Token::Integer(u128::from(u32::from(one))),
            _ => Token::Quoted(content.to_owned()),
        },
        end + 2,
    ))
}
