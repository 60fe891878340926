//! Functions by what was sampled in them.

use ratatui::layout::Rect;

use super::canvas::Canvas;
use super::look::Role;
use super::table::{figure, paths, table, words};
use super::text::{percent, share};
use super::{help, nothing};
use crate::picture::Picture;
use crate::state::{ListId, State, Target};
use crate::tables::{Functions, Inlined, Measure};

pub(super) fn draw(canvas: &mut Canvas<'_>, area: Rect, state: &State) {
    let Some(picture) = state.picture() else { return };
    let body = heading(canvas, area, state, picture);
    let functions = match (state.measure.of(picture), state.function_table()) {
        (Err(reason), _) => return nothing(canvas, body, reason),
        (Ok(_), None) => return working(canvas, body),
        (Ok(_), Some(functions)) => functions.clone(),
    };
    if functions.rows.is_empty() {
        return nothing(canvas, body, empty(state.measure));
    }
    let last = Rect { y: body.bottom() - 1, height: 1, ..body };
    let body = Rect { height: body.height - 1, ..body };
    let (look, plain, strong) = (canvas.look, canvas.style(Role::Plain), canvas.style(Role::Title));
    let columns = [figure(7), figure(7), paths(0), words(14).from(100)];
    table(canvas, body, state, ListId::Functions, &columns, |at| {
        let Some(row) = functions.rows.get(at) else { return Vec::new() };
        let mark = match row.inlined {
            Inlined::Never => "",
            Inlined::Sometimes => " (some inlined)",
            Inlined::Always => " (inlined)",
        };
        let module = look.module(state.palette.place(&row.module));
        let name = match (state.search.matches(&row.name), row.unknown) {
            (true, _) => look.style(Role::Match),
            (false, true) => look.style(Role::Dim),
            (false, false) => plain,
        };
        vec![
            (percent(share(row.own, functions.total)), strong),
            (percent(share(row.total, functions.total)), plain),
            (format!("{}{mark}", row.name), name),
            (row.module.clone(), module),
        ]
    });
    selected(canvas, last, state, picture, &functions);
}

/// All of the selected function, whose name may not have had room.
fn selected(canvas: &mut Canvas<'_>, line: Rect, state: &State, picture: &Picture, functions: &Functions) {
    let row = state.functions.row().and_then(|row| functions.rows.get(row));
    let text = match row {
        Some(row) => format!(
            "{}: {} self, {} total",
            row.name,
            amount(picture, state.measure, row.own),
            amount(picture, state.measure, row.total)
        ),
        None => "the selected function was not sampled in this span".into(),
    };
    canvas.say(line.x + 1, line.y, line.width - 2, &text, Role::Dim);
}

/// Which profile it is, and how many functions or what a search found; gives what is left.
pub(super) fn heading(canvas: &mut Canvas<'_>, area: Rect, state: &State, picture: &Picture) -> Rect {
    let mut x = area.x + 1;
    for measure in Measure::ALL {
        let start = x;
        let role = if measure.of(picture).is_ok() { Role::Plain } else { Role::Dim };
        x = canvas.say(x, area.y, area.right().saturating_sub(x), &format!(" {} ", measure.title()), role);
        let tab = Rect::new(start, area.y, x - start, 1);
        if measure == state.measure {
            canvas.restyle(tab, canvas.style(Role::Selected));
        }
        canvas.hit(tab, Target::Measure(measure));
    }
    let total = measured_words(state, picture);
    x = canvas.say(x + 1, area.y, area.right().saturating_sub(x + 1), &total, Role::Dim);
    if let (true, Some(shorter)) = (state.measure.of(picture).is_ok(), state.measure.shorter(picture)) {
        let room = area.right().saturating_sub(x + 1);
        x = canvas.say(x + 1, area.y, room, shorter, Role::Warning);
    }
    if state.search.is_on() {
        let found = help::matched(state);
        canvas.say(x + 2, area.y, area.right().saturating_sub(x + 2), &found, Role::Match);
    }
    Rect { y: area.y + 1, height: area.height - 1, ..area }
}

fn measured_words(state: &State, picture: &Picture) -> String {
    let Ok(profile) = state.measure.of(picture) else { return String::new() };
    let total = match (state.function_table(), state.pane_tree()) {
        (_, Some(tree)) => tree.total,
        (Some(table), None) => table.total,
        (None, None) => return String::new(),
    };
    let measured = profile.measured();
    match measured.measure() {
        uniprof_flamegraph::Measure::Samples => {
            let (one, many) = measured.counted();
            format!("{total} {}", if total == 1 { one } else { many })
        }
        uniprof_flamegraph::Measure::Weight => {
            format!("{} {}", measured.unit().short(total), measured.weight())
        }
    }
}

/// An amount in the profile's own unit.
pub(super) fn amount(picture: &Picture, measure: Measure, value: u64) -> String {
    let Ok(profile) = measure.of(picture) else { return value.to_string() };
    let measured = profile.measured();
    match measured.measure() {
        uniprof_flamegraph::Measure::Samples => value.to_string(),
        uniprof_flamegraph::Measure::Weight => measured.unit().short(value),
    }
}

/// Why there is nothing in a profile that is there.
pub(super) const fn empty(measure: Measure) -> &'static str {
    match measure {
        Measure::Cpu => "No sample in this span: the guest is idle, or t takes a longer one.",
        Measure::OffCpu => "No thread has ended a wait in this span; t takes a longer one.",
        Measure::Locks => "No thread has waited for a lock in this span; t takes a longer one.",
        Measure::Heap => "No block of the heap has been sampled.",
    }
}

pub(super) fn working(canvas: &mut Canvas<'_>, area: Rect) {
    canvas.say(area.x + 2, area.y + 1, area.width.saturating_sub(3), "Adding up …", Role::Dim);
}
