//! Whether an event matches.

use std::cmp::Ordering;

use uniprof_wire::pattern;

use super::literal::{self, Literal, Number};
use super::{Comparison, Expression, Field, Filter, Op};
use crate::event::Event;
use crate::guest::Guest;
use crate::kind::EventKind;
use crate::value::Value;

impl Filter {
    /// Whether the expression is true of `event`.
    #[must_use]
    pub fn matches(&self, event: &Event, guest: &Guest) -> bool {
        self.0.is_true(event, guest)
    }
}

impl Expression {
    fn is_true(&self, event: &Event, guest: &Guest) -> bool {
        match self {
            Self::Or(parts) => parts.iter().any(|part| part.is_true(event, guest)),
            Self::And(parts) => parts.iter().all(|part| part.is_true(event, guest)),
            Self::Not(part) => !part.is_true(event, guest),
            Self::Compare(comparison) => comparison.is_true(event, guest),
            Self::TimeIn(from, to) => {
                guest.since_boot_ns(event.tsc).is_some_and(|at| (*from..=*to).contains(&at))
            }
        }
    }
}

impl Comparison {
    fn is_true(&self, event: &Event, guest: &Guest) -> bool {
        let Self { op, value, .. } = self;
        match &self.field {
            Field::Name => text(&event.name(), *op, value),
            Field::Kind => {
                let is_span = matches!(event.kind, EventKind::SpanBegin | EventKind::SpanEnd);
                match (op, value.text()) {
                    (Op::Equal, "span") => is_span,
                    (Op::Unequal, "span") => !is_span,
                    _ => text(event.kind.name(), *op, value),
                }
            }
            Field::Class => text(event.kind.class().name(), *op, value),
            Field::Thread => thread(event.thread, *op, value, guest),
            Field::Vcpu => integer(event.vcpu.into(), *op, value),
            Field::Duration => event.ticks.is_some_and(|ticks| duration(ticks, *op, value, guest)),
            Field::Time => {
                let told = guest.since_boot_ns(event.tsc).zip(literal::time(value.text()));
                told.is_some_and(|(at, than)| float(at as f64, *op, than))
            }
            Field::Text => event.text().is_some_and(|told| text(told, *op, value)),
            Field::Argument(name) => {
                event.field(name).is_some_and(|field| argument(field, *op, value, guest))
            }
        }
    }
}

fn argument(field: &Value, op: Op, than: &Literal, guest: &Guest) -> bool {
    match field {
        Value::Thread(id) => thread(*id, op, than, guest),
        Value::Ticks(ticks) => duration(*ticks, op, than, guest),
        Value::Text { kept, .. } => text(kept, op, than),
        Value::Word(word) => text(word, op, than),
        Value::Char(c) => text(c.encode_utf8(&mut [0; 4]), op, than),
        Value::Bool(value) if than.number.is_none() => text(if *value { "true" } else { "false" }, op, than),
        _ if matches!(op, Op::Like | Op::Unlike) => text(&field.to_string(), op, than),
        Value::Bytes { .. } => text(&field.to_string(), op, than),
        Value::Bool(value) => integer((*value).into(), op, than),
        Value::Unsigned(value) | Value::Address(value) => integer((*value).into(), op, than),
        Value::Signed(value) => integer((*value).into(), op, than),
        Value::Float(value) => than.number.is_some_and(|number| float(*value, op, number.float())),
    }
}

/// By its number where the value is one, by its name otherwise.
fn thread(id: u32, op: Op, than: &Literal, guest: &Guest) -> bool {
    match (op, than.number) {
        (Op::Like | Op::Unlike, _) | (_, None) => text(&guest.thread(id), op, than),
        _ => integer(id.into(), op, than),
    }
}

fn duration(ticks: u64, op: Op, than: &Literal, guest: &Guest) -> bool {
    let than = than.duration.or_else(|| than.number.map(Number::float));
    let told = guest.nanoseconds(ticks).zip(than);
    told.is_some_and(|(ns, than)| float(ns as f64, op, than))
}

fn text(told: &str, op: Op, than: &Literal) -> bool {
    match op {
        Op::Like => pattern::matches(than.text().as_bytes(), told.as_bytes()),
        Op::Unlike => !pattern::matches(than.text().as_bytes(), told.as_bytes()),
        _ => holds(op, Some(told.cmp(than.text()))),
    }
}

fn integer(value: i128, op: Op, than: &Literal) -> bool {
    match than.number {
        Some(Number::Integer(than)) => holds(op, Some(value.cmp(&than))),
        Some(Number::Float(than)) => float(value as f64, op, than),
        None => false,
    }
}

fn float(value: f64, op: Op, than: f64) -> bool {
    holds(op, value.partial_cmp(&than))
}

fn holds(op: Op, order: Option<Ordering>) -> bool {
    let Some(order) = order else { return op == Op::Unequal };
    match op {
        Op::Equal | Op::Like => order.is_eq(),
        Op::Unequal | Op::Unlike => order.is_ne(),
        Op::Less => order.is_lt(),
        Op::AtMost => order.is_le(),
        Op::More => order.is_gt(),
        Op::AtLeast => order.is_ge(),
    }
}
