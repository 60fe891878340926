//! Where messages come from: a guest that runs, or a recording of one.

mod checkpoints;
mod live;
mod replay;
mod sites;

pub(crate) use live::{Live, Wanted};
pub(crate) use replay::Replay;
pub(crate) use sites::SiteStates;
