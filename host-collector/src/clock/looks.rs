//! The clock pairs among a recording's messages, and the maps of a guest's boots.

use std::collections::BTreeMap;

use uniprof_wire::layout::RegionHeader;

use super::{ClockMap, Ends, HostTime, WallTime};
use crate::memory::header_words;
use crate::recording::{Body, ClockPair, Message};

/// What a recording says of a guest's clock.
#[derive(Clone, Debug, Default)]
pub struct Looks {
    boots: BTreeMap<u32, Boot>,
    /// When the guest was started, or last seen before it was started anew.
    started: Option<HostTime>,
}

/// The same of one boot.
#[derive(Clone, Debug, Default)]
struct Boot {
    boot_tsc: u64,
    tsc_hz: u64,
    not_before: Option<HostTime>,
    not_after: Option<HostTime>,
    pairs: Vec<(HostTime, ClockPair)>,
}

impl Looks {
    /// Of a guest that was started at `started_ns` of the wall clock; 0 unknown.
    #[must_use]
    pub fn new(started_ns: u64) -> Self {
        let started = HostTime { monotonic_ns: 0, realtime_ns: started_ns };
        Self { boots: BTreeMap::new(), started: (started_ns > 0).then_some(started) }
    }

    /// Takes in the next message.
    pub fn feed(&mut self, message: &Message<'_>) {
        let is_known = self.boots.contains_key(&message.session);
        match &message.body {
            Body::Region { bytes, .. } => {
                let header = header_words(bytes).map(|words| RegionHeader::from_words(&words, u64::MAX));
                let Some(Ok(header)) = header else { return };
                let boot = self.boots.entry(message.session).or_default();
                (boot.boot_tsc, boot.tsc_hz) = (header.boot_tsc, header.tsc_hz);
                if !is_known {
                    boot.not_before = self.started;
                }
                boot.not_after = boot.not_after.max(Some(message.at));
                self.started = self.started.max(boot.not_after);
            }
            Body::Clock(pair) if is_known => {
                if let Some(boot) = self.boots.get_mut(&message.session) {
                    boot.pairs.push((message.at, *pair));
                }
            }
            Body::Block { .. } | Body::Counters(_) if is_known => {
                if let Some(boot) = self.boots.get_mut(&message.session) {
                    boot.not_after = boot.not_after.max(Some(message.at));
                }
            }
            _ => {}
        }
    }

    /// The maps.
    #[must_use]
    pub fn finish(&self) -> Clocks {
        let maps = self.boots.iter().map(|(session, boot)| {
            let not_before = boot.not_before.map(|at| (boot.boot_tsc, at));
            let ends = Ends { not_before, not_after: boot.not_after };
            (*session, ClockMap::new(boot.tsc_hz, &boot.pairs, ends))
        });
        Clocks { maps: maps.collect() }
    }
}

/// A map for each boot of a guest, by the number that the recording gave it.
#[derive(Clone, Debug, Default)]
pub struct Clocks {
    maps: BTreeMap<u32, ClockMap>,
}

impl Clocks {
    /// The map of a boot.
    #[must_use]
    pub fn of(&self, session: u32) -> Option<&ClockMap> {
        self.maps.get(&session)
    }

    /// The map of the last boot, whose clock everything is told by that spans several.
    #[must_use]
    pub fn last(&self) -> Option<&ClockMap> {
        self.maps.values().next_back()
    }

    /// All maps, in the order of boots.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &ClockMap)> {
        self.maps.iter().map(|(session, map)| (*session, map))
    }

    /// When the clock of a boot was at `tsc`.
    #[must_use]
    pub fn wall(&self, session: u32, tsc: u64) -> Option<WallTime> {
        self.of(session)?.wall(tsc)
    }
}
