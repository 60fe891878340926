//! What is worked out of a picture once, apart from the thread that draws.

mod functions;
mod labels;
mod module;
mod tree;

use std::sync::Arc;

use uniprof_flamegraph::{Direction, Order, Profile};

pub(crate) use functions::{FunctionRow, Functions, Inlined};
pub(crate) use tree::{NONE, Tree};

use crate::picture::{Known, Picture};

/// Which of a picture's profiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Measure {
    #[default]
    Cpu,
    OffCpu,
    Locks,
    Heap,
}

impl Measure {
    pub(crate) const ALL: [Self; 4] = [Self::Cpu, Self::OffCpu, Self::Locks, Self::Heap];

    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Cpu => "CPU",
            Self::OffCpu => "off-CPU",
            Self::Locks => "locks",
            Self::Heap => "heap",
        }
    }

    pub(crate) const fn of(self, picture: &Picture) -> &Known<Arc<Profile>> {
        match self {
            Self::Cpu => &picture.cpu,
            Self::OffCpu => &picture.off_cpu,
            Self::Locks => &picture.locks,
            Self::Heap => &picture.heap,
        }
    }

    /// Over how much less than the span it goes, and why.
    pub(crate) fn shorter(self, picture: &Picture) -> Option<&str> {
        match self {
            Self::OffCpu => picture.shorter.off_cpu.as_deref(),
            Self::Locks => picture.shorter.locks.as_deref(),
            Self::Cpu | Self::Heap => None,
        }
    }
}

/// Which table of a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Functions with their own and total amounts.
    Functions,
    /// Who calls what, the heaviest first.
    Callees,
    /// Who is called by whom, the heaviest first.
    Callers,
    /// Who calls what, by name, so that frames keep their places while a guest runs.
    Flame,
}

/// What a pane needs to be drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Want {
    pub(crate) measure: Measure,
    pub(crate) part: Part,
}

#[derive(Debug, Clone)]
enum Made {
    Functions(Arc<Functions>),
    Tree(Arc<Tree>),
}

/// A picture with the tables that panes have needed of it.
#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    pub(crate) picture: Arc<Picture>,
    /// With the profile of which it was made, so that the same profile is not worked through twice.
    made: Vec<(Want, Arc<Profile>, Made)>,
}

impl Prepared {
    pub(crate) fn functions(&self, measure: Measure) -> Option<&Arc<Functions>> {
        match self.find(Want { measure, part: Part::Functions })? {
            Made::Functions(functions) => Some(functions),
            Made::Tree(_) => None,
        }
    }

    pub(crate) fn tree(&self, want: Want) -> Option<&Arc<Tree>> {
        match self.find(want)? {
            Made::Tree(tree) => Some(tree),
            Made::Functions(_) => None,
        }
    }

    /// Whether nothing is left to be worked out for this.
    pub(crate) fn has(&self, want: Want) -> bool {
        want.measure.of(&self.picture).is_err() || self.find(want).is_some()
    }

    fn find(&self, want: Want) -> Option<&Made> {
        self.made.iter().find(|(known, ..)| *known == want).map(|(_, _, made)| made)
    }
}

/// Works out what is wanted of a picture. What `before` has of the same profile is taken over.
pub(crate) fn prepare(picture: Arc<Picture>, wants: &[Want], before: Option<&Prepared>) -> Prepared {
    let mut made: Vec<(Want, Arc<Profile>, Made)> = Vec::new();
    for old in before.into_iter().flat_map(|before| &before.made) {
        let (want, profile, _) = old;
        if want.measure.of(&picture).as_ref().is_ok_and(|now| Arc::ptr_eq(now, profile)) {
            made.push(old.clone());
        }
    }
    for want in wants {
        let Ok(profile) = want.measure.of(&picture) else { continue };
        if made.iter().all(|(known, ..)| known != want) {
            made.push((*want, Arc::clone(profile), make(profile, want.part)));
        }
    }
    Prepared { picture, made }
}

fn make(profile: &Profile, part: Part) -> Made {
    let heaviest = Order::Heaviest(profile.measured().measure());
    let tree = |direction, order| Made::Tree(Arc::new(Tree::new(profile, direction, order)));
    match part {
        Part::Functions => Made::Functions(Arc::new(Functions::new(profile))),
        Part::Callees => tree(Direction::Callees, heaviest),
        Part::Callers => tree(Direction::Callers, heaviest),
        Part::Flame => tree(Direction::Callees, Order::Name),
    }
}
