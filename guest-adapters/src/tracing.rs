//! `tracing`, by its `tracing-core`: events become events, spans become spans.
//!
//! A span is recorded from when it is made to when its last handle is dropped, wherever that happens. When threads enter and leave
//! it are events (`tracing.enter`, `tracing.exit`), with the span's number, which its beginning and all events about it carry. Which span an event
//! happened in is told where the event names it (`parent: &span`); else it is the one that its thread had entered last.
//!
//! Every site can be switched by its name as any other: `tracing.event`, `tracing.span`, `tracing.record` (values that a span gets
//! later), `tracing.follows`, `tracing.enter`, `tracing.exit`.

mod open;

use core::cell::OnceCell;
use core::fmt::{Debug, Write};

use tracing_core::dispatcher::{Dispatch, SetGlobalDefaultError, set_global_default};
use tracing_core::field::{Field, Visit};
use tracing_core::span::{Attributes, Id, Record};
use tracing_core::subscriber::{Interest, Subscriber};
use tracing_core::{Event, Level, LevelFilter, Metadata};
use uniprof_probes as probe;

use self::open::OpenSpans;
use crate::text::Text;

/// Bytes of a message or of the fields of one record: what an argument keeps.
const TEXT_BYTES: usize = 128;
/// The field that has the text of an event.
const MESSAGE: &str = "message";

/// Writes what `tracing` tells into the observation region.
#[derive(Clone, Copy, Debug)]
pub struct Adapter {
    level: Level,
}

static OPEN: OpenSpans = OpenSpans::new();

impl Adapter {
    /// One that takes what is at least as urgent as `level`.
    #[must_use]
    pub const fn new(level: Level) -> Self {
        Self { level }
    }
}

/// Spans that were not recorded, because 256 were open already.
#[must_use]
pub fn refused_spans() -> u64 {
    OPEN.refused()
}

/// Makes an [`Adapter`] the subscriber of this kernel. `tracing-core` allocates its handle, once.
///
/// # Errors
/// There is another subscriber.
pub fn install(level: Level) -> Result<(), SetGlobalDefaultError> {
    set_global_default(Dispatch::new(Adapter::new(level)))
}

/// The fields of a record as text: the message, and all others.
struct Fields {
    message: Text<TEXT_BYTES>,
    others: Text<TEXT_BYTES>,
}

impl Fields {
    fn of(record: impl FnOnce(&mut dyn Visit)) -> Self {
        let mut fields = Self { message: Text::new(), others: Text::new() };
        record(&mut fields);
        fields
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // Only a value's own formatting can fail, and then what it wrote so far is its text.
        let _ = if field.name() == MESSAGE {
            write!(self.message, "{value:?}")
        } else {
            let gap = if self.others.is_empty() { "" } else { " " };
            write!(self.others, "{gap}{field}={value:?}")
        };
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == MESSAGE {
            let _ = self.message.write_str(value);
        } else {
            self.record_debug(field, &value);
        }
    }
}

impl Subscriber for Adapter {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.enabled(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.level
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::from_level(self.level))
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let metadata = span.metadata();
        let parent = span.parent().map_or(0, Id::into_u64);
        OPEN.begin(|id| {
            probe::span!(
                "tracing.span",
                span = id,
                parent = parent,
                level: str = metadata.level().as_str(),
                target: str = metadata.target(),
                name: str = metadata.name(),
                fields: str = Fields::of(|to| span.record(to)).others.as_str(),
            )
        })
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        probe::event!(
            "tracing.record",
            span = span.into_u64(),
            fields: str = Fields::of(|to| values.record(to)).others.as_str(),
        );
    }

    fn record_follows_from(&self, span: &Id, follows: &Id) {
        probe::event!("tracing.follows", span = span.into_u64(), follows = follows.into_u64());
    }

    fn event(&self, event: &Event<'_>) {
        let metadata = event.metadata();
        // Formatted once, and not at all where the site is off.
        let fields = OnceCell::new();
        let fields = || fields.get_or_init(|| Fields::of(|to| event.record(to)));
        probe::event!(
            "tracing.event",
            span = event.parent().map_or(0, Id::into_u64),
            level: str = metadata.level().as_str(),
            target: str = metadata.target(),
            message: str = fields().message.as_str(),
            fields: str = fields().others.as_str(),
        );
    }

    fn enter(&self, span: &Id) {
        probe::event!("tracing.enter", span = span.into_u64());
    }

    fn exit(&self, span: &Id) {
        probe::event!("tracing.exit", span = span.into_u64());
    }

    fn clone_span(&self, span: &Id) -> Id {
        OPEN.hold(span);
        span.clone()
    }

    fn try_close(&self, span: Id) -> bool {
        OPEN.release(&span)
    }
}
