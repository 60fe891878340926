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

    /// Forgets all boots but the last, and thins out what is old of that, so that no more than `most` pairs are kept.
    pub fn bound(&mut self, most: usize) {
        while self.boots.len() > 1 {
            self.boots.pop_first();
        }
        for boot in self.boots.values_mut().filter(|boot| boot.pairs.len() > most) {
            let old = boot.pairs.len() / 2;
            let mut number = 0;
            boot.pairs.retain(|_| {
                number += 1;
                number > old || number % 2 == 1
            });
        }
    }

    /// The map of the last boot.
    #[must_use]
    pub fn last(&self) -> Option<ClockMap> {
        self.boots.values().next_back().map(Boot::map)
    }

    /// The maps.
    #[must_use]
    pub fn finish(&self) -> Clocks {
        Clocks { maps: self.boots.iter().map(|(session, boot)| (*session, boot.map())).collect() }
    }
}

impl Boot {
    fn map(&self) -> ClockMap {
        let not_before = self.not_before.map(|at| (self.boot_tsc, at));
        let ends = Ends { not_before, not_after: self.not_after };
        ClockMap::new(self.tsc_hz, &self.pairs, ends)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::tests::header;
    use uniprof_wire::address::GuestPhysical;

    #[test]
    fn what_is_bounded_tells_the_same_times() {
        let header = RegionHeader { tsc_hz: 1_000_000_000, boot_tsc: 0, ..header(0, 1, 64 << 10) };
        let at = |second: u64| HostTime {
            monotonic_ns: (100 + second) * 1_000_000_000,
            realtime_ns: (5000 + second) * 1_000_000_000,
        };
        let bytes: Vec<u8> = header.to_words().iter().flat_map(|word| word.to_le_bytes()).collect();
        let region = |session| Message {
            at: at(0),
            session,
            body: Body::Region { at: GuestPhysical(0), bytes: bytes.clone().into() },
        };
        let mut looks = Looks::new(0);
        looks.feed(&region(0));
        looks.feed(&region(1));
        let mut all = looks.clone();
        for second in 1..1000 {
            let pair = ClockPair { tsc: second * 1_000_000_000, uncertainty_ns: 1000 };
            let message = Message { at: at(second), session: 1, body: Body::Clock(pair) };
            looks.feed(&message);
            looks.bound(64);
            all.feed(&message);
        }
        let (few, all) = (looks.last().unwrap(), all.last().unwrap());
        assert!(few.pairs() <= 64 && all.pairs() == 999, "{} {}", few.pairs(), all.pairs());
        assert!(looks.finish().of(0).is_none(), "only the last boot is left");
        for second in [1, 7, 500, 998] {
            let tsc = second * 1_000_000_000 + 500_000_000;
            let times = [&few, &all].map(|map| map.wall(tsc).unwrap().ns);
            assert!(times[0].abs_diff(times[1]) < 10_000, "{times:?} at {second}");
        }
    }
}
