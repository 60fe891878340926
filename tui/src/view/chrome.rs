//! What is around a pane: who is seen, tabs, a banner, the bar of time, the status and the keys.

use ratatui::layout::Rect;

use super::canvas::{Canvas, wrap_at_most};
use super::look::Role;
use super::text::{clock, count, fit, percent, span_words};
use super::{help, text};
use crate::picture::{Fate, Kind, Picture, Span};
use crate::state::{Message, Pane, Prompt, Purpose, State, Target};
use crate::talk::SaveAs;

/// Lines of a banner or a message at most, and for how many of the screen's rows there is one.
const MOST_LINES: u16 = 4;
const ROWS_FOR_A_LINE: u16 = 6;

/// Draws it; gives what is left for the pane.
pub(super) fn draw(canvas: &mut Canvas<'_>, area: Rect, state: &State) -> Rect {
    header(canvas, Rect { height: 1, ..area }, state);
    tabs(canvas, Rect { y: area.y + 1, height: 1, ..area }, state);
    let mut body = Rect { y: area.y + 2, height: area.height - 4, ..area };
    if let Some(banner) = banner(state) {
        let lines = draw_banner(canvas, body, &banner);
        body = Rect { y: body.y + lines, height: body.height - lines, ..body };
    }
    if has_slider(state) {
        body.height -= 1;
        slider(canvas, Rect { y: body.bottom(), height: 1, ..body }, state);
    }
    status(canvas, Rect { y: area.bottom() - 2, height: 1, ..area }, state);
    let last = Rect { y: area.bottom() - 1, height: 1, ..area };
    match &state.prompt {
        Some(prompt) => draw_prompt(canvas, last, state, prompt),
        None => keys(canvas, last, state),
    }
    body
}

fn header(canvas: &mut Canvas<'_>, area: Rect, state: &State) {
    let Some(picture) = state.picture() else {
        canvas.say(area.x + 1, area.y, area.width, "uniprof", Role::Title);
        return;
    };
    let subject = &picture.subject;
    let mut facts = Vec::new();
    if let Some(pid) = subject.pid {
        facts.push(format!("pid {pid}"));
    }
    if let Some(accelerator) = &subject.accelerator {
        facts.push(accelerator.clone());
    }
    facts.push(format!("{} vCPUs", picture.overview.vcpus.len()));
    facts.push(subject.transport.clone());
    if let Some(bytes) = subject.memory_bytes {
        facts.push(text::bytes(bytes as f64));
    }
    let right = format!("up {}", clock(picture.time.at));
    let room = area.width.saturating_sub(right.len() as u16 + 3);
    let mut x = canvas.say(area.x + 1, area.y, room, "uniprof ", Role::Dim);
    x = canvas.say(x, area.y, room.saturating_sub(x), &subject.name, Role::Title);
    canvas.say(x, area.y, (area.x + room).saturating_sub(x), &format!("  {}", facts.join(" · ")), Role::Dim);
    canvas.right(area.x, area.y, area.width - 1, &right, canvas.style(Role::Plain));
}

fn tabs(canvas: &mut Canvas<'_>, area: Rect, state: &State) {
    let wide = area.width >= 104;
    let mut x = area.x;
    for (at, pane) in Pane::ALL.into_iter().enumerate() {
        let start = x;
        let gap = if wide { " " } else { "" };
        x = canvas.say(x, area.y, area.right() - x, &format!("{gap}{}", at + 1), Role::Key);
        x = canvas.say(x, area.y, area.right() - x, &format!("{gap}{}{gap}", pane.title()), Role::Plain);
        let tab = Rect::new(start, area.y, x - start, 1);
        if pane == state.pane {
            canvas.restyle(tab, canvas.style(Role::Selected));
        }
        canvas.hit(tab, Target::Pane(pane));
        x += u16::from(x < area.right());
    }
    let help = Rect::new(area.right() - 1, area.y, 1, 1);
    canvas.say(help.x, area.y, 1, "?", Role::Key);
    canvas.hit(help, Target::Help);
}

/// What became of the guest, where it does not just run: the verdict, what can be done now, and whether that is bad.
fn banner(state: &State) -> Option<(String, &'static str, bool)> {
    let core = state.newest().is_some_and(|picture| picture.subject.can.core.is_ok());
    let offer = if core { "c core  s save  q end" } else { "s save  q end" };
    if state.unwatched {
        return Some(("Nobody watches the guest any more: nothing new will come".into(), "q end", true));
    }
    let (verdict, bad) = match state.fate() {
        Fate::Runs => return None,
        Fate::Paused => return Some(("The VMM has paused the guest".into(), "", false)),
        Fate::Wedged(why) => (format!("The guest is wedged: {why}"), true),
        Fate::Exited(None) => ("The guest has exited; its last state is shown".into(), false),
        Fate::Exited(Some(how)) => (format!("The guest has exited: {how}"), false),
        Fate::Crashed(words) => (format!("The guest has crashed: {words}"), true),
        Fate::VmmGone(None) => ("The guest's VMM is gone; its last state is shown".into(), true),
        Fate::VmmGone(Some(how)) => (format!("The guest's VMM is gone: {how}"), true),
        Fate::EndOfRecording(how) => {
            // The two come from different clocks.
            let at_end = state.picture().is_some_and(|picture| picture.time.at + 0.1 >= picture.time.range.1);
            return at_end.then(|| (format!("The recording's end: {how}"), "", false));
        }
    };
    Some((verdict, offer, bad))
}

/// Draws a banner on as many lines as its words take, if there is room for them; gives how many those are.
fn draw_banner(canvas: &mut Canvas<'_>, area: Rect, (verdict, offer, bad): &(String, &str, bool)) -> u16 {
    let style = canvas.look.banner(*bad);
    let room = area.width - offer.len() as u16 - 4;
    let lines = wrap_at_most(verdict, room, few(area), canvas.look.ascii);
    let height = lines.len() as u16;
    canvas.clear(Rect { height, ..area }, style);
    for (y, line) in (area.y..).zip(&lines) {
        canvas.text(area.x + 1, y, room, line, style);
    }
    canvas.right(area.x, area.y, area.width - 1, offer, style);
    height
}

/// A sentence that the status line has no room for, on lines above it.
pub(super) fn message(canvas: &mut Canvas<'_>, area: Rect, state: &State) {
    let Some(message) = state.message.as_ref().filter(|message| !fits(message, area, canvas.look.ascii))
    else {
        return;
    };
    let role = if message.done { Role::Title } else { Role::Bad };
    let lines = wrap_at_most(&message.text, area.width - 2, few(area), canvas.look.ascii);
    let height = lines.len() as u16;
    let place = Rect { y: area.bottom() - 1 - height, height, ..area };
    canvas.clear(place, ratatui::style::Style::new());
    for (y, line) in (place.y..).zip(&lines) {
        canvas.say(place.x + 1, y, place.width - 2, line, role);
    }
}

fn few(area: Rect) -> u16 {
    (area.height / ROWS_FOR_A_LINE).min(MOST_LINES)
}

fn fits(message: &Message, area: Rect, ascii: bool) -> bool {
    text::cells(&message.text, ascii) + 2 <= usize::from(area.width)
}

fn has_slider(state: &State) -> bool {
    state.kind() == Kind::Recording
        || state.paused
        || state.picture().is_some_and(|picture| !picture.time.runs && state.kind() == Kind::Live)
}

/// A bar of the time that can be shown, with a mark at the moment that is.
fn slider(canvas: &mut Canvas<'_>, area: Rect, state: &State) {
    let Some(picture) = state.picture() else { return };
    let (mut first, mut last) = picture.time.range;
    if let Some(newest) = state.newest() {
        (first, last) = newest.time.range;
    }
    let (begin, end) = (clock(first), clock(last));
    let sides = (begin.len() as u16 + 2, end.len() as u16 + 2);
    canvas.say(area.x + 1, area.y, sides.0, &begin, Role::Dim);
    canvas.right(area.x, area.y, area.width - 1, &end, canvas.style(Role::Dim));
    let bar = Rect { x: area.x + sides.0, width: area.width.saturating_sub(sides.0 + sides.1), ..area };
    let at = state.moment.unwrap_or(picture.time.at);
    let share = if last > first { ((at - first) / (last - first)).clamp(0.0, 1.0) } else { 1.0 };
    let mark = (share * f64::from(bar.width.saturating_sub(1))).round() as u16;
    let (done, open, dot) = if canvas.look.ascii { ('=', '-', 'O') } else { ('━', '─', '●') };
    for x in 0..bar.width {
        let (symbol, role) = match x.cmp(&mark) {
            std::cmp::Ordering::Less => (done, Role::Key),
            std::cmp::Ordering::Equal => (dot, Role::Title),
            std::cmp::Ordering::Greater => (open, Role::Dim),
        };
        canvas.cell(bar.x + x, bar.y, symbol, canvas.style(role));
    }
    canvas.hit(bar, Target::Slider);
}

/// What is seen, in one word: and whether that is as it should be.
fn mode(state: &State, picture: &Picture) -> (String, Role) {
    let at = clock(state.moment.unwrap_or(picture.time.at));
    match picture.subject.kind {
        Kind::Core => ("CORE".into(), Role::Title),
        Kind::Recording if state.paused || !picture.time.runs => {
            (format!("REPLAY paused {at}"), Role::Warning)
        }
        Kind::Recording => (format!("REPLAY {at} ×{}", picture.time.speed), Role::Good),
        Kind::Live if state.paused => (format!("PAUSED {at}"), Role::Warning),
        Kind::Live if state.fate().is_over() || state.unwatched => ("ENDED".into(), Role::Bad),
        Kind::Live => ("LIVE".into(), Role::Good),
    }
}

fn status(canvas: &mut Canvas<'_>, area: Rect, state: &State) {
    canvas.rule(area, area.y, "");
    let Some(picture) = state.picture() else { return };
    let (mode, role) = mode(state, picture);
    let overview = &picture.overview;
    let rate = match picture.rate {
        None => "rate not known".into(),
        Some(0) => "sampling off".into(),
        Some(rate) => format!("{rate} Hz"),
    };
    let loss = match overview.loss.received + overview.loss.lost {
        0 => "loss 0".into(),
        all => format!("loss {}", percent(overview.loss.lost as f64 / all as f64)),
    };
    let span = match picture.span {
        Span::All => "span all".into(),
        span => format!("span {}", span_words(span)),
    };
    let loss_role = if overview.loss_rate > 0.0 { Role::Bad } else { Role::Plain };
    let mut x = canvas.row(
        area,
        area.y,
        &[
            (" ", Role::Plain),
            (&mode, role),
            (" ", Role::Plain),
            (&rate, Role::Plain),
            (" ", Role::Plain),
            (&loss, loss_role),
            (" ", Role::Plain),
            (&span, Role::Plain),
            (" ", Role::Plain),
        ],
    );
    let samples = format!("{} samples ", count(overview.samples as f64));
    x = canvas.say(x, area.y, area.right().saturating_sub(x), &samples, Role::Dim);
    if state.search.is_on() {
        let text = format!("/{} ", state.search.text());
        x = canvas.say(x, area.y, area.right().saturating_sub(x), &text, Role::Match);
    }
    if let Some(message) = state.message.as_ref().filter(|message| fits(message, area, canvas.look.ascii)) {
        let role = if message.done { Role::Title } else { Role::Bad };
        // Over figures that are on other panes too, rather than cut off.
        let needed = text::cells(&message.text, canvas.look.ascii) as u16 + 2;
        let start = x.min(area.right() - needed);
        canvas.say(start, area.y, area.right() - start, &format!(" {} ", message.text), role);
    }
}

fn keys(canvas: &mut Canvas<'_>, area: Rect, state: &State) {
    // These two have a place of their own: whoever knows no key must find them.
    let ends = area.right() - 15;
    hints(canvas, Rect { x: area.x + 1, width: ends - area.x - 1, ..area }, &help::hints(state));
    hints(canvas, Rect { x: ends, width: 15, ..area }, &[("?", "help"), ("q", "end")]);
}

fn hints(canvas: &mut Canvas<'_>, area: Rect, hints: &[(&str, &str)]) {
    let mut x = area.x;
    for (key, does) in hints {
        let needed = text::cells(key, false) + text::cells(does, false) + 1;
        if usize::from(area.right().saturating_sub(x)) <= needed {
            break;
        }
        x = canvas.say(x, area.y, area.right() - x, key, Role::Key);
        x = canvas.say(x + 1, area.y, area.right().saturating_sub(x + 1), does, Role::Dim) + 2;
    }
}

fn draw_prompt(canvas: &mut Canvas<'_>, area: Rect, state: &State, prompt: &Prompt) {
    let label = match prompt.purpose {
        Purpose::Search => "/".into(),
        Purpose::Filter => "filter: ".into(),
        Purpose::Rate => "samples per second and vCPU (0: off): ".into(),
        Purpose::Save(kind) => format!("save {} as (empty: a name is found): ", save_words(kind)),
    };
    let mut x = canvas.say(area.x + 1, area.y, area.width, &label, Role::Key);
    let note = match (&prompt.mistake, prompt.purpose) {
        (Some(mistake), _) => mistake.clone(),
        (None, Purpose::Search) if state.matched > 0 => help::matched(state),
        (None, _) => "Enter takes it, Esc leaves".into(),
    };
    let role = if prompt.mistake.is_some() { Role::Bad } else { Role::Dim };
    let room = area.right().saturating_sub(x) as usize;
    let free = room.saturating_sub(text::cells(&prompt.text, canvas.look.ascii) + 1);
    let noted = (text::cells(&note, false) + 3).min(free.max(room / 2));
    // The end of what is typed is what one looks at.
    let mut typed = prompt.text.as_str();
    while text::cells(typed, canvas.look.ascii) + 1 > room - noted {
        let mut chars = typed.chars();
        if chars.next().is_none() {
            break;
        }
        typed = chars.as_str();
    }
    x = canvas.say(x, area.y, (room - noted) as u16, typed, Role::Title);
    canvas.say(x, area.y, 1, " ", Role::Selected);
    let (note, width) = fit(&note, noted.saturating_sub(2), canvas.look.ascii);
    canvas.say(area.right() - 1 - width as u16, area.y, width as u16, &note, role);
}

pub(super) const fn save_words(kind: SaveAs) -> &'static str {
    match kind {
        SaveAs::Recording => "a recording",
        SaveAs::Svg => "an SVG flame graph",
        SaveAs::Html => "an HTML page",
        SaveAs::Text => "the tables as text",
    }
}
