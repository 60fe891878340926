//! Figures of the whole guest.

use ratatui::layout::Rect;

use super::canvas::{Canvas, wrap};
use super::look::Role;
use super::text::{bytes, count, percent, share, utc};
use crate::picture::{Picture, VcpuNow};
use crate::state::{ListId, State, Target};

/// More vCPUs than these are shown in two columns, then cut off.
const VCPU_ROWS: u16 = 8;

pub(super) fn draw(canvas: &mut Canvas<'_>, area: Rect, state: &State) {
    let Some(picture) = state.picture() else { return };
    let mut y = vcpus(canvas, area, state, picture);
    let half = area.width / 2;
    let left = Rect { y, width: half, height: area.bottom().saturating_sub(y), ..area };
    let right = Rect { x: area.x + half, width: area.width - half, ..left };
    let after_rates = rates(canvas, left, picture);
    let after_facts = facts(canvas, right, picture);
    y = after_rates.max(after_facts);
    y = notes(canvas, Rect { y, height: area.bottom().saturating_sub(y), ..area }, picture);
    top(canvas, Rect { y, height: area.bottom().saturating_sub(y), ..area }, state);
}

fn vcpus(canvas: &mut Canvas<'_>, area: Rect, state: &State, picture: &Picture) -> u16 {
    let vcpus = &picture.overview.vcpus;
    let columns = if vcpus.len() > usize::from(VCPU_ROWS) { 2 } else { 1 };
    let room = usize::from(VCPU_ROWS.min(area.height / 3)).max(1);
    let width = area.width / columns as u16;
    for (at, vcpu) in vcpus.iter().take(room * columns).enumerate() {
        let x = area.x + (at / room) as u16 * width;
        let line = Rect::new(x, area.y + (at % room) as u16, width, 1);
        one_vcpu(canvas, line, state, vcpu);
    }
    let rows = vcpus.len().min(room);
    let hidden = vcpus.len().saturating_sub(room * columns);
    let y = area.y + rows as u16;
    if hidden > 0 {
        canvas.say(area.x + 1, y, area.width, &format!("and {hidden} vCPUs more"), Role::Dim);
        return y + 1;
    }
    y
}

fn one_vcpu(canvas: &mut Canvas<'_>, line: Rect, state: &State, vcpu: &VcpuNow) {
    let name = format!(" {:>3} ", vcpu.id);
    let x = canvas.say(line.x, line.y, line.width, &name, Role::Title);
    let irq = match (vcpu.irq, vcpu.interrupts) {
        (Some(irq), Some(rate)) => format!(" irq {} {}/s", percent(irq), count(rate)),
        (Some(irq), None) => format!(" irq {}", percent(irq)),
        _ => String::new(),
    };
    let wide = line.width >= 70;
    let thread = vcpu.thread.filter(|_| wide).map_or(String::new(), |id| state.thread_name(id));
    let figures = format!("{:>6} idle {:>6}{irq:<18}", percent(vcpu.busy), percent(vcpu.idle));
    let figures = if wide { figures } else { format!("{:>6}", percent(vcpu.busy)) };
    let (figures_width, thread_width) = (figures.chars().count() as u16, if wide { 16 } else { 0 });
    let bar = line.right().saturating_sub(x + figures_width + thread_width + 4);
    canvas.say(x, line.y, 1, "[", Role::Dim);
    canvas.bar(x + 1, line.y, bar, &[(vcpu.busy, Role::Busy), (vcpu.irq.unwrap_or(0.0), Role::Irq)]);
    let after = canvas.say(x + 1 + bar, line.y, 1, "]", Role::Dim);
    let after = canvas.say(after, line.y, line.right().saturating_sub(after), &figures, Role::Plain);
    canvas.say(
        after + 1,
        line.y,
        line.right().saturating_sub(after + 1).min(thread_width),
        &thread,
        Role::Dim,
    );
}

/// Rates of the last second, with their last minute.
fn rates(canvas: &mut Canvas<'_>, area: Rect, picture: &Picture) -> u16 {
    let overview = &picture.overview;
    let use_now = overview.history.last().map_or(0.0, |values| values[0]);
    let rows = [
        ("CPU", percent(use_now), 0, Role::Busy),
        ("samples/s", count(overview.samples_rate), 1, Role::Key),
        ("events/s", count(overview.events_rate), 2, Role::Key),
        ("lost/s", count(overview.loss_rate), 3, Role::Bad),
    ];
    let mut y = area.y + 1;
    for (name, value, which, role) in rows {
        if y >= area.bottom() {
            return y;
        }
        canvas.say(area.x + 1, y, 10, name, Role::Plain);
        let alarming = which == 3 && overview.loss_rate > 0.0;
        canvas.right(area.x + 11, y, 7, &value, canvas.style(if alarming { Role::Bad } else { Role::Title }));
        let values = overview.history.iter().map(|values| values[which]);
        let most = if which == 0 { 1.0 } else { values.clone().fold(0.0, f64::max) };
        canvas.spark(area.x + 20, y, area.width.saturating_sub(21).min(60), values, most, role);
        y += 1;
    }
    y
}

/// Who it is, and what looking costs.
fn facts(canvas: &mut Canvas<'_>, area: Rect, picture: &Picture) -> u16 {
    let (overview, subject) = (&picture.overview, &picture.subject);
    let loss = &overview.loss;
    let causes: Vec<String> =
        loss.causes.iter().map(|(cause, number)| format!("{cause} {}", count(*number as f64))).collect();
    let lost = match loss.lost {
        0 => format!("nothing of {}", count(loss.received as f64)),
        lost => format!("{}: {}", count(lost as f64), causes.join(", ")),
    };
    let own =
        overview.own_cost.map_or("guest: not measured".into(), |share| format!("guest {}", percent(share)));
    let here = |(cpu, memory): (f64, u64)| format!(", here {}, {}", percent(cpu), bytes(memory as f64));
    let collector = overview.collector.map_or(String::new(), here);
    let wall = picture.time.wall_ns.map_or("not known".into(), utc);
    let build =
        subject.build_id.as_ref().map_or("no build-id".into(), |id| id.chars().take(12).collect::<String>());
    let symbols = match &subject.symbols {
        Ok(from) => (from.clone(), Role::Plain),
        Err(reason) => (reason.clone(), Role::Warning),
    };
    let rows = [
        ("threads", format!("{}, {} waiting for a vCPU", overview.threads, overview.run_queue), Role::Plain),
        ("lost", lost, if loss.lost > 0 { Role::Bad } else { Role::Plain }),
        ("cost", format!("{own}{collector}"), Role::Plain),
        ("clock", wall, Role::Plain),
        ("kernel", format!("{} ({build})", subject.kernel), Role::Plain),
        ("symbols", symbols.0, symbols.1),
    ];
    let mut y = area.y + 1;
    for (name, value, role) in rows {
        if y >= area.bottom() {
            return y;
        }
        canvas.say(area.x, y, 8, name, Role::Dim);
        let (room, style) = (area.width.saturating_sub(9), canvas.style(role));
        if name == "kernel" {
            canvas.path(area.x + 8, y, room, &value, style);
        } else {
            canvas.text(area.x + 8, y, room, &value, style);
        }
        y += 1;
    }
    y
}

fn notes(canvas: &mut Canvas<'_>, area: Rect, picture: &Picture) -> u16 {
    let mut y = area.y;
    for note in picture.notes.iter() {
        for line in wrap(note, usize::from(area.width.saturating_sub(4)), canvas.look.ascii) {
            // Something of the functions is to be seen whatever there is to say.
            if y + 4 >= area.bottom() {
                return y;
            }
            canvas.say(area.x + 1, y, 2, if y == area.y { "!" } else { " " }, Role::Warning);
            canvas.say(area.x + 3, y, area.width.saturating_sub(4), &line, Role::Warning);
            y += 1;
        }
    }
    y
}

/// The functions that most was sampled in.
fn top(canvas: &mut Canvas<'_>, area: Rect, state: &State) {
    let Some(picture) = state.picture() else { return };
    if area.height < 3 {
        return;
    }
    canvas.rule(area, area.y, "Functions");
    let body = Rect { y: area.y + 1, height: area.height - 1, ..area };
    let table = match (&picture.cpu, state.function_table()) {
        (Err(reason), _) => {
            canvas.paragraph(Rect { x: body.x + 1, width: body.width - 2, ..body }, reason, Role::Plain);
            return;
        }
        (Ok(_), None) => return,
        (Ok(_), Some(table)) => table,
    };
    for (at, row) in state.heaviest.iter().take(body.height.into()).enumerate() {
        let Some(row) = table.rows.get(*row as usize) else { continue };
        let y = body.y + at as u16;
        let own = share(row.own, table.total);
        canvas.right(body.x, y, 7, &percent(own), canvas.style(Role::Title));
        canvas.bar(body.x + 8, y, 12, &[(own, Role::Busy)]);
        let style = if state.search.matches(&row.name) {
            canvas.style(Role::Match)
        } else {
            canvas.look.module(state.palette.place(&row.module))
        };
        canvas.path(body.x + 21, y, body.width.saturating_sub(22), &row.name, style);
        canvas.hit(Rect::new(body.x, y, body.width, 1), Target::Row(ListId::Functions, at));
    }
}
