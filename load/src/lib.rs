//! A bounded load of HTTP requests that keeps exact count of what it did: what a guest tells of its connections and requests is compared
//! with this, and `uniprof demo` gives its guest something to do with it.
//!
//! A closed loop: each connection has one request under way at most, so a slow server gets fewer requests and not a queue.

#![forbid(unsafe_code)]

mod connection;
mod plan;
mod running;
mod tally;

pub use connection::{Answer, Failure, get};
pub use plan::{Kind, Mix, Plan};
pub use running::{Load, LoadError};
pub use tally::{ConnectionTally, RouteTally, Tally};

#[cfg(test)]
mod tests;
