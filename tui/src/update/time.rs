//! Which moment is shown, and over how much time.

use super::Effect;
use crate::picture::{Kind, Shown, Span};
use crate::state::State;
use crate::talk::Request;

/// Spans that `t` goes through.
const SPANS: [Span; 4] = [Span::Last(1.0), Span::Last(10.0), Span::Decay(10.0), Span::All];
const SPEEDS: (f64, f64) = (1.0 / 16.0, 64.0);

/// Pauses, or goes on.
pub(super) fn pause(state: &mut State) -> Vec<Effect> {
    let Some((at, runs)) = state.picture().map(|picture| (picture.time.at, picture.time.runs)) else {
        return Vec::new();
    };
    match state.kind() {
        Kind::Core => {
            state.say(false, "a core has one moment only");
            Vec::new()
        }
        Kind::Live if state.paused => now(state),
        Kind::Live => {
            state.paused = true;
            state.moment = Some(at);
            state.next = None;
            ask(Request::Show(Shown::At(at)))
        }
        Kind::Recording if state.paused || !runs => {
            state.paused = false;
            state.moment = None;
            ask(Request::Speed(state.speed.unwrap_or(1.0)))
        }
        Kind::Recording => {
            state.paused = true;
            state.moment = Some(at);
            state.next = None;
            ask(Request::Speed(0.0))
        }
    }
}

/// Shows the present, or a recording's end.
pub(super) fn now(state: &mut State) -> Vec<Effect> {
    state.paused = false;
    state.moment = None;
    ask(Request::Show(Shown::Now))
}

/// Goes back or forth by seconds.
pub(super) fn step(state: &mut State, seconds: f64) -> Vec<Effect> {
    let Some(time) = state.picture().map(|picture| picture.time) else { return Vec::new() };
    let from = state.moment.filter(|_| state.paused || !time.runs).unwrap_or(time.at);
    show(state, from + seconds)
}

/// Shows one moment.
pub(super) fn show(state: &mut State, at: f64) -> Vec<Effect> {
    if state.kind() == Kind::Core {
        state.say(false, "a core has one moment only");
        return Vec::new();
    }
    let Some(newest) = state.newest() else { return Vec::new() };
    let (first, last) = newest.time.range;
    // A picture's figures come from outside this crate: a range may be turned round, or no number.
    let at = if first <= last { at.clamp(first, last) } else { at };
    if at >= last && state.kind() == Kind::Live {
        return now(state);
    }
    state.moment = Some(at);
    if state.kind() == Kind::Live {
        state.paused = true;
        state.next = None;
    }
    ask(Request::Show(Shown::At(at)))
}

/// A replay goes this many times as fast.
pub(super) fn speed(state: &mut State, times: f64) -> Vec<Effect> {
    if state.kind() != Kind::Recording {
        state.say(false, "only a recording can be replayed faster or slower");
        return Vec::new();
    }
    let shown = state.picture().map_or(1.0, |picture| picture.time.speed);
    let now = state.speed.unwrap_or(if shown > 0.0 { shown } else { 1.0 });
    let speed = (now * times).clamp(SPEEDS.0, SPEEDS.1);
    state.speed = Some(speed);
    state.say(true, format!("replayed {speed} times as fast"));
    if state.paused { Vec::new() } else { ask(Request::Speed(speed)) }
}

/// Sums go over the next span.
pub(super) fn next_span(state: &mut State) -> Vec<Effect> {
    let now = state.span.or_else(|| state.newest().map(|picture| picture.span)).unwrap_or_default();
    let place = SPANS.iter().position(|span| *span == now);
    let next = SPANS[place.map_or(0, |place| (place + 1) % SPANS.len())];
    state.span = Some(next);
    state.say(true, format!("sums over {}", crate::view::span_words(next)));
    ask(Request::Span(next))
}

fn ask(request: Request) -> Vec<Effect> {
    vec![Effect::Ask(request)]
}
