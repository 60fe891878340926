//! A profile as a file of another tool. Which of them holds what is listed in `docs/exports.md`.
//!
//! Every writer takes the profile, the [title](crate::Title) with the facts that are not in its stacks, and a
//! [`Write`](std::io::Write). What was measured over time goes out with its times where they were kept; where they were
//! not, formats that can do without hold the sums, and the others refuse by [`RenderError::NoTimes`](crate::RenderError).

mod dense;
mod firefox;
mod json;
mod perf_script;
mod perfetto;
mod perfetto_events;
mod pprof;
mod row;
mod speedscope;

pub use firefox::{firefox, firefox_with};
pub use json::json;
pub use perf_script::perf_script;
pub use perfetto::{perfetto, perfetto_with};
pub use pprof::pprof;
pub use speedscope::speedscope;

/// What wrote the file, for formats that say so.
const PRODUCER: &str = concat!("uniprof ", env!("CARGO_PKG_VERSION"));

/// The name of a thread, for formats that need one.
fn thread_name(profile: &crate::Profile, id: u32) -> std::borrow::Cow<'_, str> {
    match profile.thread_name(id) {
        Some(name) if !name.is_empty() => name.into(),
        _ => format!("thread {id}").into(),
    }
}

/// The frame's name with the mark that a function has where it was inlined, as in folded text.
fn marked_name(frame: &crate::Frame<'_>) -> String {
    if frame.inlined { format!("{} (inlined)", frame.name) } else { frame.name.to_owned() }
}
