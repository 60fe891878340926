//! What comes from whoever watches the guest.

use std::sync::Arc;

use super::Effect;
use crate::state::{Key, ListId, Message, State};
use crate::tables::Prepared;
use crate::talk::{Answer, Request};

pub(super) fn on_answer(state: &mut State, answer: Answer) -> Vec<Effect> {
    match answer {
        Answer::Picture(picture) => {
            state.asked_rate = state.asked_rate.filter(|asked| picture.rate != Some(*asked));
            state.next = Some(Arc::clone(&picture));
            state.latest = Some(picture);
            if !is_wanted(state) {
                state.next = None;
            }
        }
        Answer::Listing(listing) => {
            if state.function.as_ref() == Some(&listing.function) {
                state.listing = Some(listing);
                state.refresh();
            }
        }
        Answer::Said { done, text } => {
            if !done {
                state.asked_rate = None;
            }
            state.message = Some(Message { done, text });
        }
    }
    Vec::new()
}

/// While paused, pictures of the present pass by; one of a moment that was asked for is taken.
fn is_wanted(state: &State) -> bool {
    let Some(next) = &state.next else { return false };
    !state.paused || !next.time.runs || state.shown.is_none()
}

pub(super) fn on_prepared(state: &mut State, prepared: Arc<Prepared>) -> Vec<Effect> {
    let same = state.shown.as_ref().is_some_and(|shown| shown.picture.number == prepared.picture.number);
    if state.paused && prepared.picture.time.runs && state.shown.is_some() && !same {
        return Vec::new();
    }
    let first = state.shown.is_none();
    let culprit = prepared.picture.culprit;
    state.shown = Some(prepared);
    if let Some(thread) = culprit.filter(|thread| state.culprit != Some(*thread)) {
        state.culprit = culprit;
        // Whoever looks at another thread goes on doing so.
        if state.threads.selected.is_none() {
            state.select_key(ListId::Threads, Key::Number(thread.into()));
        }
    }
    state.refresh();
    // A program that was told a function before it had a picture.
    match (&state.function, first) {
        (Some(function), true) => vec![Effect::Ask(Request::Listing(Some(function.clone())))],
        _ => Vec::new(),
    }
}
