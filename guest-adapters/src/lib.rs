#![no_std]
//! The facades `log` and `tracing` as sources of uniprof's records. Runs in the guest.
//!
//! A kernel whose crates log through a facade gets all of that into its observation region with one call at boot:
//!
//! ```
//! # fn boot() {
//! // After `uniprof_probes::init`.
//! uniprof_adapters::log::install(log::LevelFilter::Info).expect("no other logger");
//! uniprof_adapters::tracing::install(tracing::Level::DEBUG).expect("no other subscriber");
//! # }
//! ```
//!
//! | facade | becomes | seen with |
//! |---|---|---|
//! | `log::info!` | a log line: `INFO target: message` | `uniprof logs` |
//! | `tracing::info!` | an event `tracing.event`: level, target, message, fields as text | `uniprof trace` |
//! | `tracing::info_span!` | a span `tracing.span`, from its making to its end, across threads | `uniprof trace --summary` |
//!
//! Nothing here allocates or locks: text is formatted into buffers of a fixed size, open spans are in a table of a fixed size.
//!
//! **Not here:** `uniprof_probes`' own macros, which cost less (text is formatted for every record here, where they store numbers) and have a
//! site for each place in the source. The facades' call sites can't become sites: those are static, one each for the
//! whole adapter. So patterns switch `tracing.event` as a whole, and its `target` argument is what to filter by. Unsuitable for NMI
//! handlers: formatting runs the kernel's own code, and `tracing-core` takes a lock when a call site is first met.
//!
//! `tracing-core` links `alloc`: the kernel needs a global allocator, from which [`tracing::install`] takes a few bytes, once.

#[cfg(feature = "log")]
pub mod log;
mod text;
#[cfg(feature = "tracing")]
pub mod tracing;
