//! Requests, from bytes that may be anything. RFC 9112.

use httparse::{EMPTY_HEADER, Error, Header};

use super::status::Status;

/// Longest head, from the method to the empty line, and how many header fields it may have.
pub(super) const HEAD_BYTES: usize = 8 << 10;
const HEADERS: usize = 64;
/// Longest body.
pub(super) const BODY_BYTES: usize = 64 << 10;

/// A request, whole.
pub(super) struct Request<'a> {
    pub(super) method: &'a str,
    pub(super) target: &'a str,
    pub(super) body: &'a [u8],
    /// Another may follow on the same connection.
    pub(super) keeps_alive: bool,
    /// From its first byte to its last.
    pub(super) bytes: usize,
}

/// What the bytes begin with.
pub(super) enum Parsed<'a> {
    Request(Request<'a>),
    /// Part of a request: there is more to do with so many bytes.
    Part {
        wanted: usize,
        expects_continue: bool,
    },
    /// No request that can be served, and what it looked like: nothing after it can be trusted.
    Refused {
        status: Status,
        method: &'a str,
    },
}

/// What the header fields say that matters here.
struct Fields {
    length: usize,
    keeps_alive: bool,
    expects_continue: bool,
}

/// Reads a request from the beginning of the bytes.
#[inline(never)]
pub(super) fn parse(bytes: &[u8]) -> Parsed<'_> {
    let mut headers = [EMPTY_HEADER; HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let result = request.parse(&bytes[..bytes.len().min(HEAD_BYTES)]);
    let method = request.method.unwrap_or("");
    let refused = |status| Parsed::Refused { status, method };
    let head = match result {
        Ok(httparse::Status::Complete(head)) => head,
        Ok(httparse::Status::Partial) if bytes.len() >= HEAD_BYTES => {
            return refused(Status::HeaderFieldsTooLarge);
        }
        Ok(httparse::Status::Partial) => {
            return Parsed::Part { wanted: bytes.len() + 1, expects_continue: false };
        }
        Err(Error::TooManyHeaders) => return refused(Status::HeaderFieldsTooLarge),
        Err(Error::Version) => return refused(Status::VersionNotSupported),
        Err(_) => return refused(Status::BadRequest),
    };
    let (Some(target), Some(version)) = (request.path, request.version) else {
        return refused(Status::BadRequest);
    };
    let fields = match Fields::of(request.headers, version) {
        Ok(fields) => fields,
        Err(status) => return refused(status),
    };
    let whole = head + fields.length;
    match bytes.get(head..whole) {
        Some(body) => {
            Parsed::Request(Request { method, target, body, keeps_alive: fields.keeps_alive, bytes: whole })
        }
        None => Parsed::Part { wanted: whole, expects_continue: fields.expects_continue },
    }
}

impl Fields {
    fn of(headers: &[Header<'_>], version: u8) -> Result<Self, Status> {
        let mut length = None;
        let mut hosts = 0;
        let mut fields = Self { length: 0, keeps_alive: version >= 1, expects_continue: false };
        for Header { name, value } in headers {
            if name.eq_ignore_ascii_case("content-length") {
                let stated = number(value).ok_or(Status::BadRequest)?;
                // Two that differ are a way to smuggle a request past somebody.
                if length.is_some_and(|length| length != stated) {
                    return Err(Status::BadRequest);
                }
                length = Some(stated);
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                return Err(Status::NotImplemented);
            } else if name.eq_ignore_ascii_case("host") {
                hosts += 1;
            } else if name.eq_ignore_ascii_case("connection") {
                if has_word(value, "close") {
                    fields.keeps_alive = false;
                } else if has_word(value, "keep-alive") {
                    fields.keeps_alive = true;
                }
            } else if name.eq_ignore_ascii_case("expect") {
                fields.expects_continue = has_word(value, "100-continue");
            }
        }
        if hosts > 1 || (hosts == 0 && version >= 1) {
            return Err(Status::BadRequest);
        }
        fields.length = length.unwrap_or(0).try_into().unwrap_or(usize::MAX);
        if fields.length > BODY_BYTES { Err(Status::ContentTooLarge) } else { Ok(fields) }
    }
}

/// Digits and nothing else; a number too large for any body is still one.
fn number(value: &[u8]) -> Option<u64> {
    let digits = value.trim_ascii();
    let all = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    all.then(|| {
        digits.iter().fold(0_u64, |sum, digit| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0')))
    })
}

fn has_word(value: &[u8], word: &str) -> bool {
    value.split(|&byte| byte == b',').any(|part| part.trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
}
