//! A guest while somebody looks at it: what is known of it, kept small, and pictures of that.
//!
//! ```text
//!  source (live, replay) ─messages─> model: sums of all time, and the last five minutes in quarters of a second
//!                                      │ a few times a second
//!  terminal ─Request─> engine ─────────┴─> picture ─Answer─> terminal, or `--once`
//! ```
//!
//! Whatever the guest does, the model takes no more than a fixed amount of memory: rare stacks, names and threads are counted together.

mod clock;
mod cost;
mod cut;
mod ending;
mod engine;
mod events;
mod growth;
mod heap;
mod heap_sites;
mod history;
mod inside;
mod keep;
mod listing;
mod model;
#[cfg(test)]
mod moments;
mod open;
mod picture;
mod pulse;
mod requests;
mod save;
#[cfg(test)]
mod simulated;
mod slots;
mod source;
mod span;
mod stacks;
mod tables;
#[cfg(test)]
mod tests;
mod waits;

pub(crate) use engine::{Engine, Options};
