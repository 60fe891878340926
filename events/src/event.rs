//! An event: a record that is no sample, by its names and types.

use std::borrow::Cow;
use std::sync::Arc;

use crate::kind::EventKind;
use crate::sites::Site;
use crate::value::Value;

/// An event of a guest.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// When it was recorded: of what has a duration, its end.
    pub tsc: u64,
    /// On which vCPU.
    pub vcpu: u32,
    /// On which thread; 0 outside threads.
    pub thread: u32,
    /// What it is.
    pub kind: EventKind,
    /// Its site, where it has one that is known.
    pub site: Option<Arc<Site>>,
    /// The number of its site, where it has one.
    pub site_id: Option<u32>,
    /// How long it took, in ticks.
    pub ticks: Option<u64>,
    pub(crate) fields: Vec<(FieldName, Value)>,
    /// Whether the last field is a call's result.
    pub(crate) has_result: bool,
}

/// Where a field has its name from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldName {
    Static(&'static str),
    /// The site's argument of that number.
    Argument(usize),
}

/// A field of an event.
#[derive(Clone, Debug, PartialEq)]
pub struct Field<'a> {
    /// Its name; that of an argument whose site is not known is its number.
    pub name: Cow<'a, str>,
    /// What it says.
    pub value: &'a Value,
}

impl Event {
    /// The name of its site, `site N` where that is not known, or the kind's name where it has no site.
    #[must_use]
    pub fn name(&self) -> Cow<'_, str> {
        match (&self.site, self.site_id) {
            (Some(site), _) => site.name.as_str().into(),
            (None, Some(id)) => format!("site {id}").into(),
            (None, None) => self.kind.name().into(),
        }
    }

    /// Its fields in order, without a call's result.
    pub fn fields(&self) -> impl Iterator<Item = Field<'_>> {
        let shown = self.fields.len() - usize::from(self.has_result);
        self.fields[..shown].iter().map(|(name, value)| Field { name: self.field_name(*name), value })
    }

    /// The field of that name; a call's result is called `result`.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Value> {
        if self.has_result && name == "result" {
            return self.result();
        }
        self.fields.iter().find(|(known, _)| self.field_name(*known) == name).map(|(_, value)| value)
    }

    /// What a call returned.
    #[must_use]
    pub fn result(&self) -> Option<&Value> {
        self.fields.last().filter(|_| self.has_result).map(|(_, value)| value)
    }

    /// When it began, where it has a duration.
    #[must_use]
    pub fn begin(&self) -> Option<u64> {
        self.ticks.map(|ticks| self.tsc.saturating_sub(ticks))
    }

    /// The text of a log line or a mark.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self.kind {
            EventKind::Log | EventKind::Mark => match self.field("text")? {
                Value::Text { kept, .. } => Some(kept),
                _ => None,
            },
            _ => None,
        }
    }

    fn field_name(&self, name: FieldName) -> Cow<'_, str> {
        match name {
            FieldName::Static(name) => name.into(),
            FieldName::Argument(index) => match self.site.as_ref().and_then(|site| site.args.get(index)) {
                Some(arg) => arg.name.as_str().into(),
                None => index.to_string().into(),
            },
        }
    }
}
