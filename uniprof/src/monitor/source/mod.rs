//! Where messages come from: a guest that runs, or a recording of one.

mod live;
mod replay;

pub(crate) use live::{Live, Wanted};
pub(crate) use replay::Replay;
