//! What an address belongs to.

use std::fmt;

use serde::Serialize;
use uniprof_wire::address::GuestVirtual;

use crate::subject::Subject;

/// What lies at an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Owner {
    /// A function or a variable.
    Symbol {
        /// Its name, readable.
        name: String,
        /// How far behind its start.
        offset: u64,
        /// Whether it is code.
        code: bool,
    },
    /// A part of an image that has no name.
    Image {
        /// The image.
        name: String,
    },
    /// The stack of a thread.
    Stack {
        /// Its id.
        thread: u32,
        /// Its name.
        name: String,
    },
    /// The observation region.
    Region,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Symbol { name, offset: 0, .. } => f.write_str(name),
            Self::Symbol { name, offset, .. } => write!(f, "{name}+{offset:#x}"),
            Self::Image { name } => write!(f, "in {name}"),
            Self::Stack { thread, name } if name.is_empty() => write!(f, "stack of thread {thread}"),
            Self::Stack { thread, name } => write!(f, "stack of {name} (thread {thread})"),
            Self::Region => f.write_str("the observation region"),
        }
    }
}

/// What has the byte at a guest-virtual address, where that is known.
#[must_use]
pub fn of(subject: &Subject, at: GuestVirtual) -> Option<Owner> {
    // Stacks and the region may be variables of the kernel; what they are says more than how that is called.
    in_region(subject, at).or_else(|| on_stack(subject, at)).or_else(|| in_image(subject, at))
}

fn in_image(subject: &Subject, at: GuestVirtual) -> Option<Owner> {
    let place = subject.program.place(at)?;
    let loaded = subject.program.images().get(place.image)?;
    let owner = match loaded.image.owner_of(place.link) {
        Some((name, offset)) => Owner::Symbol { name, offset, code: subject.program.is_code(at) },
        None => Owner::Image { name: loaded.name.clone() },
    };
    Some(owner)
}

fn in_region(subject: &Subject, at: GuestVirtual) -> Option<Owner> {
    let header = &subject.region.as_ref().ok()?.tables.header;
    let offset = at.0.checked_sub(header.region_gva.0)?;
    (offset < header.geometry.region_bytes() as u64).then_some(Owner::Region)
}

fn on_stack(subject: &Subject, at: GuestVirtual) -> Option<Owner> {
    let threads = subject.region.as_ref().ok()?.tables.threads.iter().filter_map(|slot| slot.entry());
    let mut owners = threads.filter(|thread| thread.stack.0 <= at && at < thread.stack.1);
    let thread = owners.next()?;
    let name = String::from_utf8_lossy(thread.name.bytes()).into_owned();
    Some(Owner::Stack { thread: thread.id, name })
}
