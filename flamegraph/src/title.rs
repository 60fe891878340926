//! What a picture says of itself: whose profile it is, how it was taken, and what is missing from it.

use std::fmt::Write;
use std::time::Duration;

use crate::frame::plain;
use crate::measured::Measured;

/// A moment by two clocks, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockPoint {
    /// Since the guest's boot, by its own clock.
    pub at: u64,
    /// Since 1970.
    pub wall: u64,
    /// The latter is off by no more than this, where that is known.
    pub bound: Option<u64>,
}

/// The facts of a profile that are not in its stacks. Everything but the guest may be left out.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Title {
    /// The guest's name.
    pub guest: String,
    /// The build-id of its image, in hexadecimal.
    pub build_id: Option<String>,
    /// The sampling rate in Hz, per vCPU.
    pub rate: Option<f64>,
    /// Wall clock at the guest's boot, which the times of samples count from: nanoseconds since 1970.
    pub booted_ns: Option<u64>,
    /// What the wall clock said when: it does not go at the guest's rate through a pause.
    pub clock: Vec<ClockPoint>,
    /// For how long it was recorded.
    pub duration: Option<Duration>,
    /// What it is a profile of.
    pub measured: Measured,
    /// The number of samples, or of what else was counted.
    pub samples: u64,
    /// What they weigh; told of what is not measured in samples.
    pub weight: u64,
    /// What was lost, by cause; `None` where it was not measured.
    pub loss: Option<Vec<(String, u64)>>,
    /// The profiler's own share of vCPU time, 0 to 1.
    pub own_cost: Option<f64>,
    /// Anything else that a reader must know.
    pub notes: Vec<String>,
}

impl Title {
    /// When a moment since the guest's boot was on the wall.
    pub(crate) fn wall(&self, at: u64) -> Option<u64> {
        let point = self.clock.iter().rev().find(|point| point.at <= at);
        let (from, wall) =
            point.map(|point| (point.at, point.wall)).or(self.booted_ns.map(|wall| (0, wall)))?;
        Some(wall.saturating_add(at - from))
    }

    /// The first line: guest, samples, rate, duration.
    #[must_use]
    pub fn heading(&self) -> String {
        let mut line = if self.guest.is_empty() { "unnamed guest".to_owned() } else { self.guest.clone() };
        let (one, several) = self.measured.counted();
        let counted = if self.samples == 1 { one } else { several };
        let number = grouped(self.samples);
        let _ = if self.measured == Measured::Cpu {
            write!(line, ": {number} {counted}")
        } else {
            let (weight, name) = (self.measured.unit().short(self.weight), self.measured.weight());
            // "bytes" is in the name of what they are.
            let weight = weight.trim_end_matches(" bytes");
            write!(line, ": {weight} {name} in {number} {counted}")
        };
        if let Some(rate) = self.rate.filter(|_| self.measured == Measured::Cpu) {
            let _ = write!(line, " at {} Hz", short(rate));
        }
        if let Some(duration) = self.duration {
            let _ = write!(line, " over {} s", short(duration.as_secs_f64()));
        }
        plain(&line).into_owned()
    }

    /// The second line: loss by cause, own cost, notes, build-id.
    #[must_use]
    pub fn details(&self) -> String {
        let mut parts = vec![self.loss_line()];
        if let Some(share) = self.own_cost {
            parts.push(format!("profiler's own cost {:.2} % of vCPU time", share * 100.0));
        }
        parts.extend(self.notes.iter().cloned());
        parts.extend(self.build_id.iter().map(|id| format!("build-id {id}")));
        plain(&parts.join(" · ")).into_owned()
    }

    fn loss_line(&self) -> String {
        let Some(loss) = &self.loss else { return "loss not measured".to_owned() };
        let causes: Vec<String> = loss
            .iter()
            .filter(|(_, count)| *count > 0)
            .map(|(cause, count)| format!("{cause} {}", grouped(*count)))
            .collect();
        if causes.is_empty() {
            return format!("no {} lost", self.recorded().0);
        }
        let sum = loss.iter().fold(0u64, |sum, (_, count)| sum.saturating_add(*count));
        format!("lost {} {} ({})", grouped(sum), self.recorded().1, causes.join(", "))
    }

    /// What can be lost: one of them, and several.
    fn recorded(&self) -> (&'static str, &'static str) {
        if self.measured == Measured::Cpu { self.measured.counted() } else { ("record", "records") }
    }
}

/// At most two decimals, and none that are zero.
fn short(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heading_says_what_is_known() {
        let mut title = Title { guest: "kv".into(), samples: 12_345, ..Title::default() };
        assert_eq!(title.heading(), "kv: 12,345 samples");
        title.guest = "k\u{1b}[2Jv\u{0}".into();
        assert_eq!(title.heading(), "k [2Jv : 12,345 samples");
        title.guest = "kv".into();
        title.rate = Some(999.0);
        title.duration = Some(Duration::from_millis(10_020));
        assert_eq!(title.heading(), "kv: 12,345 samples at 999 Hz over 10.02 s");
    }

    #[test]
    fn loss_is_by_cause_and_its_absence_is_said() {
        let mut title = Title::default();
        assert_eq!(title.details(), "loss not measured");
        title.loss = Some(vec![("overwritten".into(), 0)]);
        assert_eq!(title.details(), "no sample lost");
        title.loss = Some(vec![("overwritten".into(), 1200), ("refused".into(), 0), ("abandoned".into(), 3)]);
        title.own_cost = Some(0.00123);
        title.notes.push("emulated CPU: timings are those of TCG".into());
        title.build_id = Some("ab12".into());
        let expected = "lost 1,203 samples (overwritten 1,200, abandoned 3) · profiler's own cost 0.12 % of vCPU time · \
                        emulated CPU: timings are those of TCG · build-id ab12";
        assert_eq!(title.details(), expected);
    }
}
