//! Keys of what lies over a pane.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::Effect;
use crate::picture::Switch;
use crate::state::{Popup, Prompt, Purpose, State};
use crate::talk::{Request, SaveAs};

pub(super) fn on_key(state: &mut State, key: KeyEvent) -> Vec<Effect> {
    match state.popup {
        Some(Popup::Help { .. }) => in_help(state, key.code),
        Some(Popup::Switches(_)) => return in_switches(state, key),
        Some(Popup::Save) => in_save(state, key.code),
        Some(Popup::Core) => return in_core(state, key.code),
        None => {}
    }
    Vec::new()
}

fn in_help(state: &mut State, code: KeyCode) {
    let Some(Popup::Help { offset }) = &mut state.popup else { return };
    match code {
        KeyCode::Up | KeyCode::Char('k') => *offset = offset.saturating_sub(1),
        KeyCode::Down | KeyCode::Char('j') => *offset += 1,
        KeyCode::PageUp => *offset = offset.saturating_sub(10),
        KeyCode::PageDown | KeyCode::Char(' ') => *offset += 10,
        KeyCode::Home | KeyCode::Char('g') => *offset = 0,
        _ => state.popup = None,
    }
}

fn in_save(state: &mut State, code: KeyCode) {
    let kind = match code {
        KeyCode::Char('r') => SaveAs::Recording,
        KeyCode::Char('v') => SaveAs::Svg,
        KeyCode::Char('h') => SaveAs::Html,
        KeyCode::Char('t') => SaveAs::Text,
        _ => {
            state.popup = None;
            return;
        }
    };
    state.popup = None;
    state.prompt = Some(Prompt::new(Purpose::Save(kind), ""));
}

fn in_core(state: &mut State, code: KeyCode) -> Vec<Effect> {
    state.popup = None;
    match code {
        KeyCode::Enter | KeyCode::Char('y' | 'c') => {
            state.say(true, "taking a core …");
            vec![Effect::Ask(Request::Core)]
        }
        _ => Vec::new(),
    }
}

fn in_switches(state: &mut State, key: KeyEvent) -> Vec<Effect> {
    let Some(all) = state.latest.as_ref().map(|picture| std::sync::Arc::clone(&picture.switches)) else {
        state.popup = None;
        return Vec::new();
    };
    let Some(Popup::Switches(switches)) = &mut state.popup else { return Vec::new() };
    let shown = switches.shown(&all);
    let cursor = switches.cursor(&shown);
    let page = switches.page.max(2) - 1;
    let select =
        |place: usize| shown.get(place.min(shown.len().saturating_sub(1))).map(|switch| switch.name.clone());
    match key.code {
        KeyCode::Esc => state.popup = None,
        KeyCode::Up => switches.selected = select(cursor.saturating_sub(1)),
        KeyCode::Down => switches.selected = select(cursor + 1),
        KeyCode::PageUp => switches.selected = select(cursor.saturating_sub(page)),
        KeyCode::PageDown => switches.selected = select(cursor + page),
        KeyCode::Char('u') if key.modifiers.contains(KeyModifiers::CONTROL) => switches.typed.clear(),
        KeyCode::Backspace => {
            switches.typed.pop();
        }
        KeyCode::Enter if switches.pattern().is_some() => {
            let pattern = switches.pattern().map(|(pattern, on)| (pattern.to_owned(), on));
            switches.typed.clear();
            return pattern.map_or(Vec::new(), |(what, on)| record(state, what, on));
        }
        KeyCode::Enter | KeyCode::Char(' ') => {
            let switch = shown.get(cursor).map(|switch| (*switch).clone());
            if let Some(Switch { name, on, .. }) = switch {
                switches.selected = Some(name.clone());
                return record(state, name, !on);
            }
        }
        KeyCode::Char(c)
            if !key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT)
                && switches.typed.len() < 200 =>
        {
            switches.typed.push(c);
        }
        _ => {}
    }
    Vec::new()
}

pub(super) fn record(state: &mut State, what: String, on: bool) -> Vec<Effect> {
    state.say(true, format!("asked for {what} to be {}", if on { "recorded" } else { "left out" }));
    vec![Effect::Ask(Request::Record { what, on })]
}
