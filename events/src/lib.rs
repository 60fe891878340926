//! What a guest's events say. Runs on the host; pure: records go in, events, choices and sums come out, no I/O.
//!
//! ```text
//!   record ──► Event (decode) ──► Reorder ──► Filter ──► a line, a document, a row of a view
//!               ▲                                │
//!   Sites ──────┘  names, types                  └─────► Summary, Calls
//!   Guest ───────  its clock, names of threads
//! ```
//!
//! - [`Sites`] is the table of a guest's event sites, [`Event`] a record by its names and types, [`Guest`] what it takes to tell
//!   of it: the clock's rate, the names of threads.
//! - [`Reorder`] brings the events of several rings into the order of the guest's clock, in bounded memory.
//! - [`Spans`] gives the end of a span what its begin said.
//! - [`Filter`] is an expression such as `name ~ 'http.*' and arg.bytes > 4096`; a mistake in it is an error that points at it.
//! - [`Summary`] counts by name and has the latencies of spans and calls, [`Calls`] is a table like that of `strace -c`.
//! - [`Apart`] bounds how far the clocks of two vCPUs differ.
//! - [`waits`] joins records of waiting, waking, locks and the heap to intervals.
//!
//! **Not here:** where records come from (`uniprof-collector`), stacks and their names (`uniprof-symbolizer`), how a line looks on a
//! terminal (the binary). Unsuitable for CPU samples: they are not events, and [`Event::new`] has none for them.
//!
//! ```
//! use uniprof_events::{Event, Filter, Guest, Sites};
//! use uniprof_wire::record::{EventRecord, Record};
//! use uniprof_wire::site::{SiteKind, entry_bytes, first_word};
//!
//! // An entry of the section that a guest's sites lie in: "net.drop" with an unsigned argument.
//! let text = "net.dropnet.rs\0ubytes\0";
//! let mut section = Vec::new();
//! section.extend(first_word(SiteKind::Event, entry_bytes(text.len()), 1, 8).to_le_bytes());
//! section.extend((1 | 7u64 << 32).to_le_bytes());
//! section.extend(0u64.to_le_bytes());
//! section.extend(text.bytes());
//! section.resize(entry_bytes(text.len()), 0);
//! let sites = Sites::of_section(&section);
//!
//! let record = Record::Event(EventRecord { tsc: 1_500, site: 0, thread: 3, args: &[9000] });
//! let event = Event::new(0, &record, &sites).expect("no sample");
//! assert_eq!(event.name(), "net.drop");
//!
//! let guest = Guest { tsc_hz: 1_000, ..Guest::default() };
//! let filter = Filter::parse("net.* and arg.bytes > 4KiB and time in 1s..2s")?;
//! assert!(filter.matches(&event, &guest));
//! # Ok::<(), uniprof_events::FilterError>(())
//! ```

#![forbid(unsafe_code)]

mod apart;
pub mod buckets;
mod calls;
mod decode;
mod event;
mod filter;
mod guest;
mod kind;
mod latencies;
mod packet;
mod reorder;
mod sites;
mod spans;
mod summary;
mod value;
pub mod waits;

pub use apart::{Apart, Lead};
pub use calls::{CallRow, Calls};
pub use event::{Event, Field};
pub use filter::{Filter, FilterError};
pub use guest::Guest;
pub use kind::EventKind;
pub use latencies::Latencies;
pub use packet::packet_summary;
pub use reorder::Reorder;
pub use sites::{Site, SiteArg, Sites};
pub use spans::Spans;
pub use summary::{NameSummary, Summary};
pub use value::Value;
