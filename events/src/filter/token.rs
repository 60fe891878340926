//! The words of an expression.

use super::Op;
use super::error::FilterError;

/// A word, and where it begins.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub(super) at: usize,
    pub(super) kind: TokenKind,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum TokenKind {
    Open,
    Close,
    Not,
    And,
    Or,
    Op(Op),
    Word(String),
    Quoted(String),
    End,
}

impl TokenKind {
    /// As an error names it.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Open => "`(`".into(),
            Self::Close => "`)`".into(),
            Self::Not => "`not`".into(),
            Self::And => "`and`".into(),
            Self::Or => "`or`".into(),
            Self::Op(op) => format!("`{}`", op.shown()),
            Self::Word(word) => format!("`{word}`"),
            Self::Quoted(text) => format!("\"{text}\""),
            Self::End => "the end".into(),
        }
    }
}

impl Op {
    pub(super) const fn shown(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::Unequal => "!=",
            Self::Like => "~",
            Self::Unlike => "!~",
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::More => ">",
            Self::AtLeast => ">=",
        }
    }
}

const SIGNS: [(&str, TokenKind); 15] = [
    ("==", TokenKind::Op(Op::Equal)),
    ("!=", TokenKind::Op(Op::Unequal)),
    ("!~", TokenKind::Op(Op::Unlike)),
    ("<=", TokenKind::Op(Op::AtMost)),
    (">=", TokenKind::Op(Op::AtLeast)),
    ("=~", TokenKind::Op(Op::Like)),
    ("&&", TokenKind::And),
    ("||", TokenKind::Or),
    ("=", TokenKind::Op(Op::Equal)),
    ("~", TokenKind::Op(Op::Like)),
    ("<", TokenKind::Op(Op::Less)),
    (">", TokenKind::Op(Op::More)),
    ("!", TokenKind::Not),
    ("(", TokenKind::Open),
    (")", TokenKind::Close),
];

/// All words; the last one is the end.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, FilterError> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let rest = &text[at..];
        let (kind, len) = match c {
            _ if c.is_whitespace() => {
                at += c.len_utf8();
                continue;
            }
            '"' | '\'' => quoted(rest, c)
                .ok_or_else(|| FilterError::new(text, at, format!("there is no closing {c}")))?,
            _ => match SIGNS.iter().find(|(sign, _)| rest.starts_with(sign)) {
                Some((sign, kind)) => (kind.clone(), sign.len()),
                None => word(rest),
            },
        };
        if len == 0 {
            return Err(FilterError::new(text, at, format!("`{c}` has no meaning here")));
        }
        tokens.push(Token { at, kind });
        at += len;
    }
    tokens.push(Token { at: text.len(), kind: TokenKind::End });
    Ok(tokens)
}

fn word(rest: &str) -> (TokenKind, usize) {
    let ends = |c: char| c.is_whitespace() || "()!=<>~\"'&|".contains(c);
    let len = rest.find(ends).unwrap_or(rest.len());
    let kind = match &rest[..len] {
        "and" => TokenKind::And,
        "or" => TokenKind::Or,
        "not" => TokenKind::Not,
        word => TokenKind::Word(word.to_owned()),
    };
    (kind, len)
}

/// Text up to the closing quote; a backslash takes the next character as it is.
fn quoted(rest: &str, quote: char) -> Option<(TokenKind, usize)> {
    let mut text = String::new();
    let mut chars = rest.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            _ if c == quote => return Some((TokenKind::Quoted(text), at + 1)),
            '\\' => text.push(chars.next()?.1),
            _ => text.push(c),
        }
    }
    None
}
