//! Requests as text: a verb, a key, and what the verb needs.

use core::fmt;

pub(super) enum Request<'a> {
    Get { key: &'a str },
    Put { key: &'a str, value: &'a str },
    Delete { key: &'a str },
    Scan { from: &'a str, limit: usize },
}

pub(super) enum RequestError {
    Empty,
    UnknownVerb,
    Missing(&'static str),
    BadKey,
    BadLimit,
    Trailing,
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "empty request"),
            Self::UnknownVerb => write!(f, "unknown verb"),
            Self::Missing(what) => write!(f, "no {what}"),
            Self::BadKey => write!(f, "a key is letters, ':' and digits"),
            Self::BadLimit => write!(f, "the limit is not a number"),
            Self::Trailing => write!(f, "more words than the verb takes"),
        }
    }
}

impl<'a> Request<'a> {
    #[inline(never)]
    pub(super) fn parse(text: &'a str) -> Result<Self, RequestError> {
        let mut words = Words { rest: text };
        let verb = words.next().ok_or(RequestError::Empty)?;
        let request = match verb {
            "get" => Self::Get { key: words.key()? },
            "put" => Self::Put { key: words.key()?, value: words.needed("value")? },
            "delete" => Self::Delete { key: words.key()? },
            "scan" => Self::Scan { from: words.key()?, limit: words.limit()? },
            _ => return Err(RequestError::UnknownVerb),
        };
        match words.next() {
            None => Ok(request),
            Some(_) => Err(RequestError::Trailing),
        }
    }
}

struct Words<'a> {
    rest: &'a str,
}

impl<'a> Words<'a> {
    #[inline(never)]
    fn next(&mut self) -> Option<&'a str> {
        let text = self.rest.trim_ascii_start();
        if text.is_empty() {
            return None;
        }
        let end = text.bytes().position(|byte| byte == b' ').unwrap_or(text.len());
        let (word, rest) = text.split_at(end);
        self.rest = rest;
        Some(word)
    }

    fn needed(&mut self, what: &'static str) -> Result<&'a str, RequestError> {
        self.next().ok_or(RequestError::Missing(what))
    }

    #[inline(never)]
    fn key(&mut self) -> Result<&'a str, RequestError> {
        let key = self.needed("key")?;
        if key.bytes().all(is_key_byte) { Ok(key) } else { Err(RequestError::BadKey) }
    }

    #[inline(never)]
    fn limit(&mut self) -> Result<usize, RequestError> {
        self.needed("limit")?.parse().map_err(|_| RequestError::BadLimit)
    }
}

#[inline(always)]
fn is_key_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b':'
}
