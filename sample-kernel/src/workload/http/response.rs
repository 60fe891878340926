//! Answers, as bytes.

use alloc::vec::Vec;
use core::fmt::{self, Write};

use super::status::Status;

/// What a handler has to say.
pub(super) struct Response {
    pub(super) status: Status,
    pub(super) body: Vec<u8>,
    pub(super) kind: &'static str,
    /// The methods that would be allowed.
    pub(super) allow: Option<&'static str>,
}

pub(super) const TEXT: &str = "text/plain; charset=utf-8";
pub(super) const BYTES: &str = "application/octet-stream";
pub(super) const JSON: &str = "application/json";

impl Response {
    pub(super) fn new(status: Status, kind: &'static str, body: Vec<u8>) -> Self {
        Self { status, body, kind, allow: None }
    }

    /// The status in words, for those who look at it.
    pub(super) fn of(status: Status) -> Self {
        let mut body = Vec::new();
        if status != Status::NoContent {
            body.extend_from_slice(status.reason().as_bytes());
            body.push(b'\n');
        }
        Self::new(status, TEXT, body)
    }

    /// Appends it to what goes out.
    #[inline(never)]
    pub(super) fn write(&self, output: &mut Vec<u8>, with_body: bool, keeps_alive: bool) {
        let mut text = Text(output);
        // Writing to memory does not fail.
        let _ =
            write!(text, "HTTP/1.1 {} {}\r\nServer: uniprof\r\n", self.status.code(), self.status.reason());
        if self.status != Status::NoContent {
            let _ = write!(text, "Content-Type: {}\r\nContent-Length: {}\r\n", self.kind, self.body.len());
        }
        if let Some(allow) = self.allow {
            let _ = write!(text, "Allow: {allow}\r\n");
        }
        let _ = text.write_str(if keeps_alive { "\r\n" } else { "Connection: close\r\n\r\n" });
        if with_body && self.status != Status::NoContent {
            output.extend_from_slice(&self.body);
        }
    }
}

/// Bytes that text is appended to.
pub(super) struct Text<'a>(pub(super) &'a mut Vec<u8>);

impl Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}
