//! Keys that do the same in every pane.

use ratatui::crossterm::event::KeyCode;

use super::{Effect, search, time};
use crate::state::{Pane, Popup, Prompt, Purpose, State, Switches};
use crate::talk::{HIGHEST_RATE, Request};

/// Rates that `+` and `-` go through: odd ones, that don't beat with timers.
const RATES: [u32; 12] = [1, 9, 49, 99, 249, 499, 999, 1999, 2999, 4999, 9999, HIGHEST_RATE - 1];

pub(super) fn on_key(state: &mut State, code: KeyCode) -> Vec<Effect> {
    match code {
        KeyCode::Char('q') => return vec![Effect::Ask(Request::Quit), Effect::Quit],
        KeyCode::Char(digit @ '1'..='9') => return go(state, Pane::ALL[digit as usize - '1' as usize]),
        KeyCode::Tab => return go(state, state.pane.after(1)),
        KeyCode::BackTab => return go(state, state.pane.after(Pane::ALL.len() - 1)),
        KeyCode::Char('?') | KeyCode::F(1) => state.popup = Some(Popup::Help { offset: 0 }),
        KeyCode::Char('/') => state.prompt = Some(Prompt::new(Purpose::Search, "")),
        KeyCode::Char('n') => search::next(state, true),
        KeyCode::Char('N') => search::next(state, false),
        KeyCode::Char(' ') => return time::pause(state),
        KeyCode::Char('[') | KeyCode::Left => return time::step(state, -1.0),
        KeyCode::Char(']') | KeyCode::Right => return time::step(state, 1.0),
        KeyCode::Char('{') => return time::step(state, -10.0),
        KeyCode::Char('}') => return time::step(state, 10.0),
        KeyCode::Char('L') => return time::now(state),
        KeyCode::Char('<') => return time::speed(state, 0.5),
        KeyCode::Char('>') => return time::speed(state, 2.0),
        KeyCode::Char('t') => return time::next_span(state),
        KeyCode::Char('+' | '=') => return change_rate(state, true),
        KeyCode::Char('-') => return change_rate(state, false),
        KeyCode::Char('r') => ask_rate(state),
        KeyCode::Char('e') => choose_switches(state),
        KeyCode::Char('s') => state.popup = Some(Popup::Save),
        KeyCode::Char('c') => ask_core(state),
        KeyCode::Esc => {
            state.search = crate::state::Search::default();
            state.refresh();
        }
        _ => {}
    }
    Vec::new()
}

/// Shows another pane.
pub(super) fn go(state: &mut State, pane: Pane) -> Vec<Effect> {
    if pane == state.pane {
        return Vec::new();
    }
    let mut effects = Vec::new();
    if pane == Pane::Source {
        let function = state.function.clone().or_else(|| state.selected_function());
        effects = show_lines(state, function);
    } else if state.pane == Pane::Source && state.function.is_some() {
        // Nobody looks at its lines any more.
        effects.push(Effect::Ask(Request::Listing(None)));
    }
    state.pane = pane;
    state.refresh();
    effects
}

/// Shows a function's lines.
pub(super) fn show_lines(state: &mut State, function: Option<String>) -> Vec<Effect> {
    let Some(function) = function else { return Vec::new() };
    if state.pane != Pane::Source {
        state.back = Some(state.pane);
        state.pane = Pane::Source;
    }
    if state.function.as_ref() != Some(&function) {
        state.listing = None;
        state.source.release();
        state.instructions.release();
    }
    state.function = Some(function.clone());
    state.refresh();
    vec![Effect::Ask(Request::Listing(Some(function)))]
}

fn can_control(state: &mut State) -> bool {
    let refusal = state.newest().and_then(|picture| picture.subject.can.control.clone().err());
    match refusal {
        Some(reason) => state.say(false, reason),
        None if state.latest.is_none() => return false,
        None => return true,
    }
    false
}

fn change_rate(state: &mut State, up: bool) -> Vec<Effect> {
    if !can_control(state) {
        return Vec::new();
    }
    // What was asked for is not in effect at once.
    let told = state.newest().and_then(|picture| picture.rate);
    let now = state.asked_rate.or(told).unwrap_or(0);
    let next = if up {
        RATES.into_iter().find(|rate| *rate > now)
    } else {
        RATES.into_iter().rev().find(|rate| *rate < now)
    };
    match next {
        Some(rate) => ask_for(state, rate),
        None => {
            state.say(false, format!("rates go from {} to {HIGHEST_RATE}; r with 0 ends sampling", RATES[0]));
            Vec::new()
        }
    }
}

pub(super) fn ask_for(state: &mut State, rate: u32) -> Vec<Effect> {
    state.asked_rate = Some(rate);
    state.say(true, format!("asked for {rate} samples a second and vCPU"));
    vec![Effect::Ask(Request::Rate(rate))]
}

fn choose_switches(state: &mut State) {
    if can_control(state) {
        state.popup = Some(Popup::Switches(Switches::default()));
    }
}

fn ask_rate(state: &mut State) {
    if can_control(state) {
        state.prompt = Some(Prompt::new(Purpose::Rate, ""));
    }
}

fn ask_core(state: &mut State) {
    match state.newest().map(|picture| picture.subject.can.core.clone()) {
        Some(Ok(())) => state.popup = Some(Popup::Core),
        Some(Err(reason)) => state.say(false, reason),
        None => {}
    }
}
