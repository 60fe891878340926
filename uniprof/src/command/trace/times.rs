//! When an event was: by the guest's clock, or by that on the wall.

use uniprof_collector::clock::{Clocks, WallTime};
use uniprof_events::{Event, Guest};

use crate::profile::clock::wall_text;

/// As wide as a moment on the wall.
const UNKNOWN: &str = "-                          ";

/// The clock of the first column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Clock {
    /// Seconds since the guest's boot
    #[default]
    Guest,
    /// Date and time of day (UTC)
    Wall,
}

/// What it takes to tell times.
#[derive(Clone, Debug, Default)]
pub(super) struct Times {
    pub(super) clocks: Clocks,
    pub(super) clock: Clock,
}

impl Times {
    /// The event's moment on the wall, where that is known.
    pub(super) fn wall(&self, event: &Event, guest: &Guest) -> Option<WallTime> {
        self.clocks.wall(guest.boot, event.tsc)
    }

    /// The first column.
    pub(super) fn text(&self, event: &Event, guest: &Guest) -> String {
        match self.clock {
            Clock::Guest => format!("{:>12.6}", guest.seconds(event.tsc)),
            Clock::Wall => self.wall(event, guest).map_or(UNKNOWN.to_owned(), |wall| wall_text(wall.ns)),
        }
    }
}
