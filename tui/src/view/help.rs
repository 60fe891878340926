//! The keys.

use super::text::{percent, share};
use crate::picture::Kind;
use crate::state::{ListId, Pane, State, columns};

/// Keys and what they do.
pub(super) type Keys = &'static [(&'static str, &'static str)];

pub(super) const EVERYWHERE: Keys = &[
    ("1 … 9, Tab", "panes"),
    ("?", "this help"),
    ("q, Ctrl-C", "end"),
    ("Ctrl-Z", "stop, as any program; fg goes on"),
    ("/", "search, in every pane; n and N: the next, the one before; Esc: no more"),
    ("Space", "pause what is seen, and go on; the guest is not paused"),
    ("[ ]", "a second back, forth; { } ten; ← → where a pane has no use for them"),
    ("L", "back to the present, or to a recording's end"),
    ("< >", "replay slower, faster"),
    ("t", "sums over the last second, ten, all with a half-life, all"),
    ("+ -", "sample more, less often; r: type a rate"),
    ("e", "what is recorded: classes and event sites, on or off; type +kv.* or -kv.*"),
    ("s", "save: a recording, an SVG, an HTML page, text"),
    ("c", "take a core"),
    ("mouse", "tabs, rows, heads of columns, frames, the bar of time, the wheel"),
];

pub(super) const TABLES: Keys = &[
    ("↑ ↓ j k", "another row; PgUp, PgDn, Home, End"),
    ("o O", "sort by the next column; the other way round"),
];

pub(super) const fn of(pane: Pane) -> Keys {
    match pane {
        Pane::Overview => &[("Enter", "the functions")],
        Pane::Functions => &[
            ("Enter", "source and instructions"),
            ("b", "by whom it is called"),
            ("p", "CPU, off-CPU, locks, heap"),
        ],
        Pane::Tree => &[
            ("↑ ↓ j k", "another call; PgUp, PgDn, Home, End"),
            ("→ ←", "unfold, fold; Enter: either"),
            ("u U", "unfold, fold all below"),
            ("i", "callers instead of callees, and back"),
            ("d", "source and instructions"),
            ("p", "CPU, off-CPU, locks, heap"),
        ],
        Pane::Flame => &[
            ("↑ ↓ ← →", "another frame"),
            ("Enter", "zoom in; Esc, Backspace: out; Home: all"),
            ("d", "source and instructions"),
            ("p", "CPU, off-CPU, locks, heap"),
        ],
        Pane::Threads => &[
            ("J K", "its stack further down, up; Shift with ↓ ↑ does the same"),
            ("w", "to the thread that it waits for"),
            ("Enter", "source and instructions of where it is"),
        ],
        Pane::Events => &[
            ("f", "filter, as trace --filter takes it; empty: all"),
            ("v", "move in the names, or in the last events"),
            ("Enter", "in the names: only this one's events"),
        ],
        Pane::Locks => &[("w", "to the thread that holds it"), ("Enter", "source of where it was held")],
        Pane::Memory => &[
            ("J K", "the stack further down, up; Shift with ↓ ↑ does the same"),
            ("Enter", "source and instructions of who asked for it"),
        ],
        Pane::Source => &[
            ("h", "the line with the most hits, the next most, …"),
            ("v", "both, source, instructions"),
            ("← →", "move in the source, in the instructions"),
            ("Esc", "back"),
        ],
    }
}

/// The keys that are of most use now, the most important first.
pub(super) fn hints(state: &State) -> Vec<(&'static str, &'static str)> {
    let mut hints: Vec<(&str, &str)> = match state.pane {
        Pane::Overview => vec![("Enter", "functions")],
        Pane::Functions => vec![("Enter", "source"), ("b", "callers"), ("o", "sort"), ("p", "profile")],
        Pane::Tree => vec![("→←", "fold"), ("i", "invert"), ("d", "source"), ("p", "profile")],
        Pane::Flame => vec![("Enter", "zoom"), ("Esc", "out"), ("d", "source"), ("p", "profile")],
        Pane::Threads => vec![("w", "whom it waits for"), ("JK", "stack"), ("o", "sort")],
        Pane::Events => vec![("f", "filter"), ("v", "names"), ("o", "sort")],
        Pane::Locks => vec![("w", "holder"), ("o", "sort")],
        Pane::Memory => vec![("Enter", "source"), ("JK", "stack"), ("o", "sort")],
        Pane::Source => vec![("h", "hottest"), ("v", "view"), ("Esc", "back")],
    };
    hints.push(("/", "search"));
    match state.kind() {
        Kind::Live if state.fate().is_over() => {
            // Of a VMM that is gone there is none to take.
            let core = state.newest().is_some_and(|picture| picture.subject.can.core.is_ok());
            hints.extend(core.then_some(("c", "core")));
            hints.extend([("s", "save"), ("t", "span"), ("[]", "step")]);
        }
        Kind::Live => hints.extend([
            ("Space", if state.paused { "go on" } else { "pause" }),
            ("t", "span"),
            ("e", "events"),
            ("+-", "rate"),
            ("s", "save"),
            ("c", "core"),
            ("[]", "step"),
        ]),
        Kind::Recording => {
            hints.extend([("Space", "play"), ("[]", "step"), ("<>", "speed"), ("t", "span"), ("s", "save")])
        }
        Kind::Core => hints.push(("s", "save")),
    }
    hints
}

/// All keys, as lines of a head or of a key and what it does. The pane's own come first.
pub(super) fn lines(state: &State) -> Vec<(&'static str, &'static str)> {
    let mut lines = vec![(state.pane.title(), "")];
    lines.extend(of(state.pane));
    if state.active_list().is_some_and(|list| list == ListId::EventTail || !columns::titles(list).is_empty())
    {
        lines.extend(TABLES);
    }
    lines.extend([("", ""), ("Everywhere", "")]);
    lines.extend(EVERYWHERE);
    for pane in Pane::ALL.into_iter().filter(|pane| *pane != state.pane) {
        lines.extend([("", ""), (pane.title(), "")]);
        lines.extend(of(pane));
    }
    lines
}

/// How much of what is measured a search has found.
pub(super) fn matched(state: &State) -> String {
    let total = match state.pane {
        Pane::Functions | Pane::Overview => state.function_table().map_or(0, |table| table.total),
        _ => state.pane_tree().map_or(0, |tree| tree.total),
    };
    format!("matched {}", percent(share(state.matched, total)))
}
