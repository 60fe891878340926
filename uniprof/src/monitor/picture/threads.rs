//! Threads: of the guest's table what they do, of their last samples or of memory where.

use std::sync::Arc;

use uniprof_tui::picture::{Known, ThreadRow};
use uniprof_wire::tables::{ThreadEntry, ThreadState, WaitKind};

use super::Moment;
use crate::command::core::ps::state_name;
use crate::command::core::shares::Shares;
use crate::monitor::inside;
use crate::monitor::model::Model;
use crate::profile::naming;

/// The threads at a moment, by id.
pub(super) fn threads(
    model: &mut Model,
    moment: &Moment,
    inside: Option<&inside::Seen>,
) -> Known<Arc<[ThreadRow]>> {
    let Model { images, seen, .. } = model;
    let Some(now) = &moment.now else {
        return Err("the guest's table of threads has not been seen yet".into());
    };
    let shares = Shares::between(moment.earlier.as_ref().map(|look| &*look.tables), &now.tables);
    let last = seen.stacks.last_of_threads(moment.quarter);
    let seconds = |ticks: u64| (seen.clock.tsc_hz > 0).then(|| seen.clock.span(ticks));
    let entries = now.tables.threads.iter().filter_map(|slot| slot.entry());
    let alive = entries.filter(|entry| entry.state != ThreadState::Exited);
    let mut rows: Vec<ThreadRow> = alive
        .map(|entry| {
            let in_state = now.tsc.saturating_sub(entry.since);
            let ran = if entry.state == ThreadState::Running { in_state } else { 0 };
            let sampled = last.get(&entry.id).and_then(|place| seen.stacks.get(*place));
            // Where a thread that waits was sampled last, it is no more.
            let sampled =
                sampled.filter(|_| entry.state == ThreadState::Running || entry.state == ThreadState::Ready);
            let stack = sampled.map(|stack| naming::functions(images, &stack)).unwrap_or_default();
            // Where its stack is at rest, memory tells more than the last sample; of a guest that is dead all are.
            let is_off = !matches!(entry.state, ThreadState::Running) || !moment.is_live;
            let doing = inside
                .and_then(|inside| inside.threads.get(&entry.id))
                .filter(|_| is_off || stack.is_empty());
            let (waits_for, held_by) =
                doing.and_then(|doing| doing.waits_for.clone()).or_else(|| waits(&entry)).unzip();
            let function = doing.and_then(|doing| doing.function.clone()).or_else(|| stack.first().cloned());
            let stack = match doing {
                Some(doing) if !doing.stack.is_empty() => Arc::clone(&doing.stack),
                _ => stack.into(),
            };
            ThreadRow {
                id: entry.id,
                name: String::from_utf8_lossy(entry.name.bytes()).into_owned(),
                state: state_name(entry.state),
                vcpu: entry.vcpu.into(),
                cpu_share: shares.as_ref().and_then(|shares| Some(shares.of(entry.id)?.min(1.0))),
                cpu_seconds: seconds(entry.cpu_time.saturating_add(ran)),
                since_seconds: seconds(in_state),
                waits_for,
                held_by: held_by.flatten(),
                function,
                stack,
            }
        })
        .collect();
    rows.sort_by_key(|row| row.id);
    Ok(rows.into())
}

/// What a thread says that it waits for, and who has it.
fn waits(entry: &ThreadEntry) -> Option<(String, Option<u32>)> {
    if !matches!(entry.state_now(), ThreadState::Blocked | ThreadState::Sleeping) {
        return None;
    }
    let owner = (entry.waits_on != 0).then_some(entry.waits_on);
    let what = match entry.wait {
        // Its state says that it sleeps.
        WaitKind::None | WaitKind::Sleep => return None,
        WaitKind::Lock => format!("a lock at {}", entry.waits_for),
        WaitKind::Join => match owner {
            Some(id) => format!("the end of thread {id}"),
            None => "the end of a thread".into(),
        },
        WaitKind::Event if entry.waits_for.0 != 0 => format!("an event at {}", entry.waits_for),
        WaitKind::Event => "an event".into(),
        WaitKind::Other => "something else".into(),
    };
    Some((what, owner))
}
