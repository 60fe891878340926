use proptest::prelude::*;

use super::*;

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;
/// The wall clock is that much ahead of the monotonic one.
const AHEAD: u64 = 1_700_000_000 * SECOND;
const HZ: u64 = 2_500_000_000;

fn host(ns: u64) -> HostTime {
    HostTime { monotonic_ns: ns, realtime_ns: AHEAD + ns }
}

/// A guest whose clock goes at `hz`, but for pauses of (from, length) in host time.
struct Played {
    hz: u64,
    pauses: Vec<(u64, u64)>,
}

impl Played {
    fn tsc(&self, at: u64) -> u64 {
        let paused: u64 =
            self.pauses.iter().map(|(from, length)| at.saturating_sub(*from).min(*length)).sum();
        1_000 + ((at - paused) as u128 * u128::from(self.hz) / u128::from(SECOND)) as u64
    }

    fn is_paused(&self, at: u64) -> bool {
        self.pauses.iter().any(|(from, length)| (*from..from + length).contains(&at))
    }

    /// Signs of life every `beat`, looks at the times of `looks`.
    fn pairs(&self, beat: u64, looks: impl IntoIterator<Item = u64>) -> Vec<(HostTime, ClockPair)> {
        let mut last: Option<(u64, u64)> = None;
        let mut pairs = Vec::new();
        for at in looks {
            let sign = self
                .tsc((0..=at / beat).rev().map(|n| n * beat).find(|beat| !self.is_paused(*beat)).unwrap());
            if let Some((before, known)) = last
                && known != sign
            {
                pairs.push((host(at), ClockPair { tsc: sign, uncertainty_ns: at - before }));
            }
            last = Some((at, sign));
        }
        pairs
    }
}

fn every(step: u64, until: u64) -> impl Iterator<Item = u64> {
    (SECOND..until).step_by(step as usize)
}

fn is_true(map: &ClockMap, guest: &Played, at: u64) -> Result<(), String> {
    let wall = map.wall(guest.tsc(at)).ok_or("no time")?;
    let Some(bound) = wall.bound_ns else { return Err(format!("no bound at {at}")) };
    let off = wall.ns.abs_diff(AHEAD + at);
    if off <= bound + 2 { Ok(()) } else { Err(format!("off by {off}, said {bound}")) }
}

#[test]
fn times_lie_within_their_bound_and_pauses_are_told() {
    let guest = Played { hz: HZ, pauses: vec![(3 * SECOND + 5 * MS, 2 * SECOND)] };
    let map = ClockMap::new(HZ, &guest.pairs(7 * MS, every(3 * MS, 9 * SECOND)), Ends::default());
    for at in (SECOND + 20 * MS..8 * SECOND).step_by(997_003).filter(|at| !guest.is_paused(*at)) {
        is_true(&map, &guest, at).unwrap();
    }
    let pauses: Vec<Pause> = map.pauses().collect();
    assert_eq!(pauses.len(), 1, "{pauses:?}");
    assert!(
        pauses[0].ns.abs_diff(2 * SECOND) <= pauses[0].bound_ns && pauses[0].bound_ns < 20 * MS,
        "{pauses:?}"
    );
    let after = pauses[0].after_ns - AHEAD;
    assert!((3 * SECOND - 20 * MS..3 * SECOND + 20 * MS).contains(&after), "{after}");
    let [all, running] = [true, false].map(|paused| map.worst_bound_ns(paused).unwrap());
    assert!(running < 10 * MS && (SECOND..SECOND + 20 * MS).contains(&all), "{running} {all}");
}

#[test]
fn the_way_back_leads_to_where_it_came_from() {
    let guest = Played { hz: HZ, pauses: vec![(3 * SECOND, SECOND)] };
    let map = ClockMap::new(HZ, &guest.pairs(5 * MS, every(2 * MS, 6 * SECOND)), Ends::default());
    let mut last = 0;
    for at in (SECOND / 2..6 * SECOND).step_by(3_331_117) {
        let tsc = map.tsc(AHEAD + at).unwrap();
        assert!(tsc >= last, "time goes on");
        last = tsc;
        // In a pause it stands.
        if !guest.is_paused(at) {
            assert!(tsc.abs_diff(guest.tsc(at)) < 10 * MS * HZ / SECOND, "{at}");
        }
    }
    let [before, after] =
        [3 * SECOND + 100 * MS, 4 * SECOND - 100 * MS].map(|at| map.tsc(AHEAD + at).unwrap());
    assert!(after - before < 10 * MS * HZ / SECOND);
}

#[test]
fn a_rate_that_the_guest_misstates_is_measured() {
    let guest = Played { hz: HZ, pauses: Vec::new() };
    let pairs = guest.pairs(5 * MS, every(2 * MS, 6 * SECOND));
    for stated in [0, HZ / 2, HZ * 3, 1, u64::MAX] {
        let map = ClockMap::new(stated, &pairs, Ends::default());
        assert!((map.hz().unwrap() / HZ as f64 - 1.0).abs() < 1e-3, "{:?}", map.hz());
        assert_eq!(map.contradicted_hz(), (stated > 0).then_some(stated));
        (2..5).for_each(|at| is_true(&map, &guest, at * SECOND).unwrap());
    }
    // A little off, as calibration is: bounds are wider, and hold.
    for stated in [HZ + HZ / 1000, HZ - HZ / 1000] {
        let map = ClockMap::new(stated, &pairs, Ends::default());
        assert_eq!((map.contradicted_hz(), map.jumps(), map.dropped()), (None, 0, 0));
        (2..5).for_each(|at| is_true(&map, &guest, at * SECOND + 777_777).unwrap());
        assert_eq!(map.pauses().count(), 0);
    }
    let nothing = ClockMap::new(0, &pairs[..1], Ends::default());
    assert_eq!((nothing.wall(5), nothing.tsc(5), nothing.hz(), nothing.dropped()), (None, None, None, 1));
}

#[test]
fn outside_of_the_pairs_a_bound_needs_an_end() {
    let guest = Played { hz: HZ, pauses: Vec::new() };
    let pairs = guest.pairs(5 * MS, every(2 * MS, 3 * SECOND));
    let map = ClockMap::new(HZ, &pairs, Ends::default());
    for at in [SECOND / 2, 4 * SECOND] {
        let wall = map.wall(guest.tsc(at)).unwrap();
        assert!(wall.bound_ns.is_none() && wall.ns.abs_diff(AHEAD + at) < 5 * MS, "{wall:?}");
    }
    let ends =
        Ends { not_before: Some((guest.tsc(300 * MS), host(200 * MS))), not_after: Some(host(5 * SECOND)) };
    let map = ClockMap::new(HZ, &pairs, ends);
    for at in [300 * MS, SECOND / 2, 4 * SECOND] {
        is_true(&map, &guest, at).unwrap();
    }
    assert_eq!(map.wall(0).unwrap().bound_ns, None, "from before the guest says that it began");
}

#[test]
fn pairs_that_contradict_the_others_are_left_out() {
    let guest = Played { hz: HZ, pauses: Vec::new() };
    let mut pairs = guest.pairs(5 * MS, every(2 * MS, 6 * SECOND));
    let [high, low] = [pairs.len() / 3, pairs.len() / 2];
    pairs[high].1.tsc = u64::MAX;
    pairs[low].1.tsc = 3;
    pairs[low + 9].0.monotonic_ns = 5;
    pairs[low + 12].1.uncertainty_ns = u64::MAX;
    pairs[low + 15].0.monotonic_ns = u64::MAX;
    // A sign of life that was given much later than its clock says.
    pairs[low + 30].0 = host(pairs[low + 30].0.monotonic_ns + 3 * MS);
    pairs[low + 30].1.uncertainty_ns = 0;
    let map = ClockMap::new(HZ, &pairs, Ends::default());
    assert_eq!((map.dropped(), map.jumps()), (6, 0));
    (2..5).for_each(|at| is_true(&map, &guest, at * SECOND).unwrap());
}

#[test]
fn a_clock_that_is_set_ahead_is_no_error_of_the_pairs() {
    let guest = Played { hz: HZ, pauses: Vec::new() };
    let mut pairs = guest.pairs(5 * MS, every(2 * MS, 6 * SECOND));
    let half = pairs.len() / 2;
    pairs[half..].iter_mut().for_each(|(_, pair)| pair.tsc += 100 * HZ);
    let map = ClockMap::new(HZ, &pairs, Ends::default());
    assert_eq!((map.dropped(), map.jumps(), map.pauses().count()), (0, 1, 0));
    is_true(&map, &guest, 2 * SECOND).unwrap();
    let wall = map.wall(guest.tsc(5 * SECOND) + 100 * HZ).unwrap();
    assert!(wall.ns.abs_diff(AHEAD + 5 * SECOND) <= wall.bound_ns.unwrap());
}

#[test]
fn the_wall_clock_is_that_of_the_end() {
    let guest = Played { hz: HZ, pauses: Vec::new() };
    let mut pairs = guest.pairs(5 * MS, every(2 * MS, 6 * SECOND));
    let half = pairs.len() / 2;
    // It is an hour slow, until somebody sets it.
    pairs[..half].iter_mut().for_each(|(at, _)| at.realtime_ns -= 3600 * SECOND);
    // The collector lost its CPU between reading one clock and the other.
    pairs[half / 2].0.realtime_ns += 40 * MS;
    let map = ClockMap::new(HZ, &pairs, Ends::default());
    assert_eq!(map.steps(), [3600 * SECOND as i64]);
    [2, 5].into_iter().for_each(|at| is_true(&map, &guest, at * SECOND).unwrap());
}

proptest! {
    #[test]
    fn any_pairs_make_a_map_that_only_rises(
        hz in any::<u64>(),
        pairs in prop::collection::vec(any::<(u64, u64, u64, u64)>(), 0..40),
        asked in prop::collection::vec(any::<u64>(), 0..20),
    ) {
        let pairs: Vec<_> = pairs
            .into_iter()
            .map(|(monotonic_ns, realtime_ns, tsc, uncertainty_ns)| {
                (HostTime { monotonic_ns, realtime_ns }, ClockPair { tsc, uncertainty_ns })
            })
            .collect();
        let ends = Ends { not_before: pairs.first().map(|(at, pair)| (pair.tsc, *at)), not_after: pairs.last().map(|(at, _)| *at) };
        let map = ClockMap::new(hz, &pairs, ends);
        let _ = (map.worst_bound_ns(true), map.worst_bound_ns(false), map.pauses().count());
        let mut asked = asked;
        asked.extend(map.knots());
        asked.sort_unstable();
        let times: Vec<u64> = asked.iter().filter_map(|tsc| Some(map.wall(*tsc)?.ns)).collect();
        prop_assert!(times.is_sorted(), "{:?}", times);
        let back: Vec<u64> = asked.iter().filter_map(|wall| map.tsc(*wall)).collect();
        prop_assert!(back.is_sorted(), "{:?}", back);
    }

    #[test]
    fn bounds_hold_whatever_the_looks_and_pauses(
        steps in prop::collection::vec(1..30u64, 100..400),
        pauses in prop::collection::vec((1..40u64, 1..3000u64), 0..4),
        beat in 1..40u64,
        error in -900_000..900_000i64,
    ) {
        let mut from = SECOND;
        let pauses: Vec<(u64, u64)> = pauses.into_iter().map(|(after, length)| {
            from += after * 100 * MS;
            let pause = (from, length * MS);
            from += pause.1;
            pause
        }).collect();
        let guest = Played { hz: HZ, pauses };
        let mut at = SECOND;
        let looks: Vec<u64> = steps.iter().map(|step| { at += step * MS; at }).collect();
        let pairs = guest.pairs(beat * MS, looks);
        prop_assume!(pairs.len() > 2);
        // As a guest that calibrated itself, up to 360 ppm off.
        let map = ClockMap::new(HZ.wrapping_add_signed(error), &pairs, Ends::default());
        let [first, last] = [pairs[0], pairs[pairs.len() - 1]].map(|(at, _)| at.monotonic_ns);
        for at in (first..last.saturating_sub(100 * MS)).step_by(13_777_771).filter(|at| !guest.is_paused(*at)) {
            // The last sign of life that a look found may be old.
            if guest.tsc(at) > pairs[0].1.tsc && guest.tsc(at) < pairs[pairs.len() - 1].1.tsc {
                let is_true = is_true(&map, &guest, at);
                prop_assert!(is_true.is_ok(), "{:?} at {}", is_true, at);
            }
        }
    }
}
