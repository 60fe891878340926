//! What each thread's life was made of: running, ready and waiting for a CPU, blocked.

use std::collections::BTreeMap;

use uniprof_events::waits::{Interval, State, States};
use uniprof_wire::record::Class;

use super::Figures;

/// A thread's time, or that of several, in ticks of the guest's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Life {
    /// On a CPU.
    pub(crate) running: u64,
    /// Ready, and waiting for a CPU: after it was preempted or woken, or had been started.
    pub(crate) runnable: u64,
    /// From its start, or that of the recording, to its end.
    pub(crate) all: u64,
}

/// The threads that are known of, by number.
pub(crate) type Lives = BTreeMap<u32, Life>;

/// Sums what is known of each thread; `None` where switches were not recorded, or not all of them are here.
pub(super) fn of(states: States, figures: &Figures) -> Option<Lives> {
    let window = figures.window?;
    let is_whole = states.left_out() == 0 && figures.class(Class::Switch).lost() == 0;
    if states.is_empty() || !is_whole {
        return None;
    }
    let mut lives = Lives::new();
    states.finish(window, &figures.last_threads, &mut |Interval { thread, from, to, state }| {
        let life = lives.entry(thread).or_default();
        life.all += to - from;
        match state {
            State::Running(_) => life.running += to - from,
            State::Ready => life.runnable += to - from,
            State::Blocked | State::Sleeping => {}
        }
    });
    Some(lives)
}
