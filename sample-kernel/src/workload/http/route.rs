//! What is asked for, from a method and a target.

use alloc::string::String;
use alloc::vec::Vec;

use super::status::Status;

/// Longest key.
const KEY_BYTES: usize = 256;

/// What there is to be asked for. A request for nothing of it is counted, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Get,
    Put,
    Delete,
    Scan,
    Slow,
    Lock,
    Leak,
    Health,
    Stats,
    None,
}

impl Route {
    pub(super) const COUNT: usize = Self::ALL.len();

    pub(super) const ALL: [Self; 10] = [
        Self::Get,
        Self::Put,
        Self::Delete,
        Self::Scan,
        Self::Slow,
        Self::Lock,
        Self::Leak,
        Self::Health,
        Self::Stats,
        Self::None,
    ];

    /// Its path, without what differs from request to request.
    pub(super) const fn path(self) -> &'static str {
        match self {
            Self::Get | Self::Put | Self::Delete => "/kv",
            Self::Scan => "/scan",
            Self::Slow => "/slow",
            Self::Lock => "/lock",
            Self::Leak => "/leak",
            Self::Health => "/healthz",
            Self::Stats => "/stats",
            Self::None => "",
        }
    }

    pub(super) const fn method(self) -> &'static str {
        match self {
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::None => "",
            _ => "GET",
        }
    }
}

/// A request that can be served.
#[derive(Debug)]
pub(super) enum Call {
    Get { key: String },
    Put { key: String },
    Delete { key: String },
    Scan { from: String, count: usize },
    Slow { ms: u64 },
    Lock { us: u64 },
    Leak { bytes: usize },
    Health,
    Stats,
}

/// Why a request can't be served, and by what it would be.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: Status,
    pub(super) allow: Option<&'static str>,
}

impl Refusal {
    const fn of(status: Status) -> Self {
        Self { status, allow: None }
    }
}

impl Call {
    /// What a method and a target ask for. `HEAD` asks for what `GET` does.
    pub(super) fn of(method: &str, target: &str) -> Result<Self, Refusal> {
        let read = matches!(method, "GET" | "HEAD");
        if !read && !matches!(method, "PUT" | "DELETE" | "POST" | "OPTIONS" | "PATCH" | "TRACE" | "CONNECT") {
            return Err(Refusal::of(Status::NotImplemented));
        }
        // The absolute form, which proxies use, is the same without its authority.
        let target = target
            .strip_prefix("http://")
            .map_or(target, |rest| &rest[rest.find('/').unwrap_or(rest.len())..]);
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        if let Some(key) = path.strip_prefix("/kv/") {
            let key = decode(key).filter(|key| (1..=KEY_BYTES).contains(&key.len()));
            let key = key.ok_or(Refusal::of(Status::BadRequest))?;
            return match method {
                "PUT" => Ok(Self::Put { key }),
                "DELETE" => Ok(Self::Delete { key }),
                _ if read => Ok(Self::Get { key }),
                _ => Err(Refusal { status: Status::MethodNotAllowed, allow: Some("GET, HEAD, PUT, DELETE") }),
            };
        }
        let number =
            |name, default, most| number(query, name, default, most).ok_or(Refusal::of(Status::BadRequest));
        let call = match path {
            "/scan" => Self::Scan {
                from: decode(value(query, "from").unwrap_or("")).ok_or(Refusal::of(Status::BadRequest))?,
                count: number("count", 16, 1_000)? as usize,
            },
            "/slow" => Self::Slow { ms: number("ms", 100, 10_000)? },
            "/lock" => Self::Lock { us: number("us", 1_000, 1_000_000)? },
            "/leak" => Self::Leak { bytes: number("bytes", 4_096, 1 << 20)? as usize },
            "/healthz" => Self::Health,
            "/stats" => Self::Stats,
            _ => return Err(Refusal::of(Status::NotFound)),
        };
        if read {
            Ok(call)
        } else {
            Err(Refusal { status: Status::MethodNotAllowed, allow: Some("GET, HEAD") })
        }
    }

    pub(super) const fn route(&self) -> Route {
        match self {
            Self::Get { .. } => Route::Get,
            Self::Put { .. } => Route::Put,
            Self::Delete { .. } => Route::Delete,
            Self::Scan { .. } => Route::Scan,
            Self::Slow { .. } => Route::Slow,
            Self::Lock { .. } => Route::Lock,
            Self::Leak { .. } => Route::Leak,
            Self::Health => Route::Health,
            Self::Stats => Route::Stats,
        }
    }
}

/// A parameter of the query.
fn value<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query
        .split('&')
        .find_map(|part| part.split_once('=').filter(|(key, _)| *key == name))
        .map(|(_, value)| value)
}

/// One that is a number; `None`: it is none, or too large.
fn number(query: &str, name: &str, default: u64, most: u64) -> Option<u64> {
    match value(query, name) {
        None => Some(default),
        Some(text) => text.parse().ok().filter(|&number| number <= most),
    }
}

/// Text with `%` and two hexadecimal digits for what a target can't have.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, more)) = rest.split_first() {
        rest = more;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (digits, more) = rest.split_first_chunk::<2>()?;
        let digit = |byte: u8| char::from(byte).to_digit(16);
        bytes.push((digit(digits[0])? << 4 | digit(digits[1])?) as u8);
        rest = more;
    }
    String::from_utf8(bytes).ok()
}
