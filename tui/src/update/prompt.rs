//! A line of input.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use uniprof_flamegraph::Measured;

use super::{Effect, global, search};
use crate::state::{Pane, Popup, Prompt, Purpose, Search, State};
use crate::tables::Measure;
use crate::talk::{HIGHEST_RATE, Request, Seen};

pub(super) fn on_key(state: &mut State, key: KeyEvent) -> Vec<Effect> {
    let Some(prompt) = &mut state.prompt else { return Vec::new() };
    match key.code {
        KeyCode::Esc => close(state),
        KeyCode::Enter => return take(state),
        KeyCode::Backspace => {
            prompt.text.pop();
            prompt.mistake = None;
            while_typing(state);
        }
        KeyCode::Char('u') if key.modifiers.contains(KeyModifiers::CONTROL) => {
            prompt.text.clear();
            while_typing(state);
        }
        KeyCode::Char(c) if !key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT) => {
            prompt.push(c.encode_utf8(&mut [0; 4]));
            while_typing(state);
        }
        _ => {}
    }
    Vec::new()
}

/// Pasted text is text, whatever keys it looks like.
pub(super) fn on_paste(state: &mut State, text: &str) -> Vec<Effect> {
    if let Some(prompt) = &mut state.prompt {
        prompt.push(text);
        while_typing(state);
    } else if let Some(Popup::Switches(switches)) = &mut state.popup {
        let room = 200usize.saturating_sub(switches.typed.len());
        switches.typed.extend(text.chars().filter(|c| !c.is_control()).take(room));
    }
    Vec::new()
}

/// What matches lights up while one types.
fn while_typing(state: &mut State) {
    if let Some(Prompt { purpose: Purpose::Search, text, .. }) = &state.prompt {
        state.search = Search::new(text);
        state.refresh();
    }
}

fn close(state: &mut State) {
    if let Some(Prompt { purpose: Purpose::Search, .. }) = state.prompt.take() {
        state.search = Search::default();
        state.refresh();
    }
}

fn take(state: &mut State) -> Vec<Effect> {
    let Some(mut prompt) = state.prompt.take() else { return Vec::new() };
    let text = prompt.text.trim().to_owned();
    match prompt.purpose {
        Purpose::Search => {
            state.search = Search::new(&prompt.text);
            state.refresh();
            if state.search.is_on() {
                search::first(state);
            }
        }
        Purpose::Filter => return vec![Effect::Ask(Request::Filter(text))],
        Purpose::Rate => match text.parse::<u32>() {
            Ok(rate) if rate <= HIGHEST_RATE => return global::ask_for(state, rate),
            _ => {
                prompt.mistake = Some(format!("a number from 0 (off) to {HIGHEST_RATE}"));
                state.prompt = Some(prompt);
            }
        },
        Purpose::Save(kind) => {
            let path = (!text.is_empty()).then(|| text.into());
            state.say(true, "saving …");
            return vec![Effect::Ask(Request::Save(kind, path, seen(state)))];
        }
    }
    Vec::new()
}

/// What is on the screen.
fn seen(state: &State) -> Seen {
    let measure = match state.pane {
        Pane::Functions | Pane::Tree | Pane::Flame => state.measure,
        Pane::Locks => Measure::Locks,
        Pane::Memory => Measure::Heap,
        Pane::Overview | Pane::Threads | Pane::Events | Pane::Source => Measure::Cpu,
    };
    let measured = match measure {
        Measure::Cpu => Measured::Cpu,
        Measure::OffCpu => Measured::OffCpu,
        Measure::Locks => Measured::Locks,
        Measure::Heap => Measured::LiveHeap,
    };
    Seen { pane: state.pane, measured }
}
