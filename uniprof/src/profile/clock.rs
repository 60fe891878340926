//! What is to be said of a guest's clock: pauses, and what is strange about it. How it is known at all is in `docs/clocks.md`.

use uniprof_collector::capture::utc;
use uniprof_collector::clock::{ClockMap, Clocks};
use uniprof_flamegraph::{ClockPoint, Unit};

use super::Figures;
use super::open::Source;
use crate::input::Input;

/// Pauses that are told one by one.
const MOST_PAUSES: usize = 3;
/// How far moments by both clocks are apart at least.
const POINT_EVERY_NS: u64 = 1_000_000_000;

/// Reads nothing of a recording but the clock pairs.
pub(crate) fn clocks(input: &Input) -> anyhow::Result<Clocks> {
    use uniprof_collector::clock::Looks;
    use uniprof_collector::recording::Item;

    let mut looks = Looks::new(super::head(input)?.session.guest_started_ns);
    let mut source = Source::open(input)?;
    while let Some(item) = source.next()? {
        if let Item::Message(message) = item {
            looks.feed(&message);
        }
    }
    Ok(looks.finish())
}

/// A moment on the wall: `2026-11-25T22:15:59.123456Z`.
pub(crate) fn wall_text(ns: u64) -> String {
    let digits = utc(ns / 1_000_000_000);
    // `20261125T221559Z`
    let part = |from: usize, to: usize| digits.get(from..to).unwrap_or_default();
    let micros = ns % 1_000_000_000 / 1000;
    format!(
        "{}-{}-{}T{}:{}:{}.{micros:06}Z",
        part(0, 4),
        part(4, 6),
        part(6, 8),
        part(9, 11),
        part(11, 13),
        part(13, 15)
    )
}

/// Moments by both clocks: enough of them to tell one by the other, and all between which the guest was paused.
pub(super) fn points(figures: &Figures) -> Vec<ClockPoint> {
    let Some(map) = figures.clocks.last() else { return Vec::new() };
    let edges: Vec<u64> = map.pauses().flat_map(|pause| [pause.tsc.0, pause.tsc.1]).collect();
    let mut points: Vec<ClockPoint> = Vec::new();
    for tsc in map.knots().filter(|tsc| *tsc >= figures.boot_tsc) {
        let (at, Some(wall)) = (figures.at(tsc), map.wall(tsc)) else { continue };
        let is_due = points.last().is_none_or(|last| at.saturating_sub(last.at) >= POINT_EVERY_NS);
        if is_due || edges.binary_search(&tsc).is_ok() {
            points.push(ClockPoint { at, wall: wall.ns, bound: wall.bound_ns });
        }
    }
    points
}

/// What a reader of times must know.
pub(super) fn sentences(figures: &Figures) -> Vec<String> {
    let mut all = Vec::new();
    let time = |ns| Unit::Nanoseconds.short(ns);
    let pauses: Vec<_> = figures.clocks.iter().flat_map(|(_, map)| map.pauses()).collect();
    for pause in pauses.iter().take(MOST_PAUSES) {
        let (long, off, when) = (time(pause.ns), time(pause.bound_ns), wall_text(pause.after_ns));
        all.push(format!("the guest was paused for {long} (± {off}) after {when}"));
    }
    if let Some(rest) = pauses.get(MOST_PAUSES..).filter(|rest| !rest.is_empty()) {
        let sum = rest.iter().fold(0, |sum, pause| pause.ns.saturating_add(sum));
        all.push(format!("the guest was paused {} more times, for {} in sum", rest.len(), time(sum)));
    }
    all.extend(figures.clocks.iter().flat_map(|(_, map)| strange(map)));
    all
}

fn strange(map: &ClockMap) -> Vec<String> {
    let mut all = Vec::new();
    if let (Some(stated), Some(hz)) = (map.contradicted_hz(), map.hz()) {
        let (stated, measured) = (stated as f64 / 1e6, hz / 1e6);
        all.push(format!(
            "the guest says that its clock runs at {stated:.0} MHz, and it was seen to run at {measured:.0} MHz: durations are by \
             the former, wall-clock times by the latter"
        ));
    }
    if map.jumps() > 0 {
        all.push(format!(
            "the guest's clock jumped ahead of the host's ({}): durations across that are too long",
            map.jumps()
        ));
    }
    for step in map.steps() {
        let (by, way) =
            (Unit::Nanoseconds.short(step.unsigned_abs()), if *step > 0 { "ahead" } else { "back" });
        all.push(format!(
            "the host's wall clock was set {way} by {by} meanwhile: wall-clock times are by what it said after that"
        ));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_told_as_in_rfc_3339() {
        assert_eq!(wall_text(0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(wall_text(951_782_399_123_456_789), "2000-02-28T23:59:59.123456Z");
        assert!(wall_text(u64::MAX).starts_with("2554-"));
    }
}
