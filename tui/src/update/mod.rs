//! What a key, a click or an answer changes: a function of the state, which asks and never waits.

mod answer;
mod global;
mod mouse;
mod panes;
mod popup;
mod prompt;
mod search;
mod time;

use std::sync::Arc;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseEvent};

use crate::state::{Message, Pane, State};
use crate::tables::Prepared;
use crate::talk::{Answer, Request};

/// Something that happened.
#[derive(Debug, Clone)]
pub(crate) enum Input {
    Key(KeyEvent),
    Mouse(MouseEvent),
    Paste(String),
    /// The terminal has another size.
    Resize,
    Answer(Answer),
    /// The tables of a picture are ready.
    Prepared(Arc<Prepared>),
    /// No answer will come any more.
    Unwatched,
}

/// What is to be done about it outside.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Effect {
    Ask(Request),
    Quit,
    /// Stop, as Ctrl-Z does with any program.
    Suspend,
}

/// Takes note of what happened.
pub(crate) fn update(state: &mut State, input: Input) -> Vec<Effect> {
    match input {
        Input::Key(key) => on_key(state, key),
        Input::Mouse(event) => mouse::on_mouse(state, event),
        Input::Paste(text) => prompt::on_paste(state, &text),
        Input::Resize => Vec::new(),
        Input::Answer(answer) => answer::on_answer(state, answer),
        Input::Prepared(prepared) => answer::on_prepared(state, prepared),
        Input::Unwatched => {
            state.unwatched = true;
            Vec::new()
        }
    }
}

fn on_key(state: &mut State, key: KeyEvent) -> Vec<Effect> {
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        match key.code {
            KeyCode::Char('c') => return vec![Effect::Ask(Request::Quit), Effect::Quit],
            KeyCode::Char('z') => return vec![Effect::Suspend],
            _ => {}
        }
    }
    if state.prompt.is_some() {
        return prompt::on_key(state, key);
    }
    state.message = None;
    if state.popup.is_some() {
        return popup::on_key(state, key);
    }
    if key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT) {
        return Vec::new();
    }
    let code = match key.code {
        KeyCode::Down if shifted(state, key) => KeyCode::Char('J'),
        KeyCode::Up if shifted(state, key) => KeyCode::Char('K'),
        code => code,
    };
    if let Some(effects) = panes::on_key(state, code) {
        return effects;
    }
    global::on_key(state, code)
}

/// Whether an arrow moves in the stack rather than in the table.
fn shifted(state: &State, key: KeyEvent) -> bool {
    key.modifiers.contains(KeyModifiers::SHIFT) && matches!(state.pane, Pane::Threads | Pane::Memory)
}

impl State {
    fn say(&mut self, done: bool, text: impl Into<String>) {
        self.message = Some(Message { done, text: text.into() });
    }
}
