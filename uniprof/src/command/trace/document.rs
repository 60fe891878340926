//! An event as a document for programs.

use std::borrow::Cow;
use std::fmt;

use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use uniprof_events::{Event, Guest, Value};

use super::line;
use super::times::Times;

const SCHEMA: &str = "uniprof.trace/2";

/// What is printed.
#[derive(Serialize)]
pub(super) struct Document<'a> {
    schema: &'static str,
    /// Since the guest's boot.
    seconds: f64,
    tsc: u64,
    /// On the wall, since 1970, and by how much that may be off.
    #[serde(skip_serializing_if = "Option::is_none")]
    wall_ns: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wall_bound_ns: Option<u64>,
    vcpu: u32,
    thread: u32,
    thread_name: Cow<'a, str>,
    kind: &'static str,
    /// The site's name; the kind where there is no site.
    name: Cow<'a, str>,
    #[serde(skip_serializing_if = "Fields::is_empty")]
    args: Fields<'a>,
    /// What a call returned.
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'a Value>,
    /// How long it took.
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_ns: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    /// Arguments that were longer than is kept, and how many bytes they had.
    #[serde(skip_serializing_if = "Cut::is_empty")]
    cut: Cut<'a>,
    /// Where the site is in the source.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u32>,
}

impl<'a> Document<'a> {
    pub(super) fn new(event: &'a Event, guest: &'a Guest, times: &Times) -> Self {
        let wall = times.wall(event, guest);
        let site = event.site.as_deref();
        Self {
            schema: SCHEMA,
            seconds: guest.seconds(event.tsc),
            tsc: event.tsc,
            wall_ns: wall.map(|wall| wall.ns),
            wall_bound_ns: wall.and_then(|wall| wall.bound_ns),
            vcpu: event.vcpu,
            thread: event.thread,
            thread_name: guest.thread(event.thread),
            kind: event.kind.name(),
            name: event.name(),
            args: Fields { event, guest },
            result: event.result(),
            duration_ns: event.ticks.and_then(|ticks| guest.nanoseconds(ticks)),
            text: event.text(),
            cut: Cut(event),
            file: site.map(|site| site.file.as_str()),
            line: site.map(|site| site.line),
        }
    }
}

/// By name, in order. A thread has its number and its name, a duration its unit.
struct Fields<'a> {
    event: &'a Event,
    guest: &'a Guest,
}

impl Fields<'_> {
    fn is_empty(&self) -> bool {
        self.event.text().is_some() || self.event.fields().next().is_none()
    }
}

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for field in self.event.fields() {
            match field.value {
                Value::Thread(id) => {
                    map.serialize_entry(&field.name, id)?;
                    map.serialize_entry(&format!("{}_name", field.name), &self.guest.thread(*id))?;
                }
                Value::Ticks(ticks) => {
                    map.serialize_entry(&format!("{}_ns", field.name), &self.guest.nanoseconds(*ticks))?;
                }
                value => map.serialize_entry(&field.name, value)?,
            }
        }
        map.end()
    }
}

struct Cut<'a>(&'a Event);

impl Cut<'_> {
    fn is_empty(&self) -> bool {
        !self.0.fields().any(|field| field.value.is_cut())
    }
}

impl Serialize for Cut<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for field in self.0.fields().filter(|field| field.value.is_cut()) {
            if let Value::Text { total, .. } | Value::Bytes { total, .. } = field.value {
                map.serialize_entry(&field.name, total)?;
            }
        }
        map.end()
    }
}

/// An event that is told later: its document, and its line of text.
pub(crate) struct Line {
    document: serde_json::Value,
    text: String,
}

impl Line {
    pub(super) fn new(event: &Event, guest: &Guest) -> Self {
        let document =
            serde_json::to_value(Document::new(event, guest, &Times::default())).unwrap_or_default();
        Self { document, text: line::plain(event, guest) }
    }
}

impl Serialize for Line {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.document.serialize(serializer)
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
