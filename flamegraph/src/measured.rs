//! What a profile is a profile of, and so what its figures count.

use crate::tree::Measure;

/// What was measured. A profile's [amounts](crate::Amount) are a number of something and its weight; this says of what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Measured {
    /// Samples of what ran, and the vCPU time that they stand for.
    #[default]
    Cpu,
    /// Waits, and for how long threads were blocked in them.
    OffCpu,
    /// The same waits, told with who ended them.
    Wakeups,
    /// Waits for locks, and for how long.
    Locks,
    /// Sampled blocks that are allocated, and the bytes that they stand for.
    LiveHeap,
    /// Sampled allocations, and the bytes that they stand for.
    AllocatedHeap,
}

/// The unit of a weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unit {
    /// Time.
    Nanoseconds,
    /// Memory.
    Bytes,
}

impl Unit {
    /// Its word, as in pprof and in speedscope.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nanoseconds => "nanoseconds",
            Self::Bytes => "bytes",
        }
    }

    /// An amount of it for people.
    #[must_use]
    pub fn short(self, value: u64) -> String {
        let value = value as f64;
        let steps: &[(f64, &str)] = match self {
            Self::Nanoseconds => &[(1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1.0, "ns")],
            Self::Bytes => &[(1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "bytes")],
        };
        let fits = |step: &&(f64, &str)| value >= step.0 || step.0 == 1.0;
        let &(scale, word) = steps.iter().find(fits).unwrap_or(&(1.0, ""));
        let value = value / scale;
        let decimals = if scale == 1.0 || value >= 100.0 { 0 } else { 1 + usize::from(value < 10.0) };
        format!("{value:.decimals$} {word}")
    }
}

impl Measured {
    /// What is counted: one of them, and several.
    #[must_use]
    pub const fn counted(self) -> (&'static str, &'static str) {
        match self {
            Self::Cpu => ("sample", "samples"),
            Self::OffCpu | Self::Locks => ("wait", "waits"),
            Self::Wakeups => ("wake-up", "wake-ups"),
            Self::LiveHeap => ("sampled block", "sampled blocks"),
            Self::AllocatedHeap => ("sampled allocation", "sampled allocations"),
        }
    }

    /// What the weight is.
    #[must_use]
    pub const fn weight(self) -> &'static str {
        match self {
            Self::Cpu => "vCPU time",
            Self::OffCpu | Self::Wakeups => "blocked time",
            Self::Locks => "wait for locks",
            Self::LiveHeap => "live bytes",
            Self::AllocatedHeap => "allocated bytes",
        }
    }

    /// In what the weight is.
    #[must_use]
    pub const fn unit(self) -> Unit {
        match self {
            Self::Cpu | Self::OffCpu | Self::Wakeups | Self::Locks => Unit::Nanoseconds,
            Self::LiveHeap | Self::AllocatedHeap => Unit::Bytes,
        }
    }

    /// The figure that a picture of it shows: of what is no sample, the number says little.
    #[must_use]
    pub const fn measure(self) -> Measure {
        match self {
            Self::Cpu => Measure::Samples,
            _ => Measure::Weight,
        }
    }

    /// The hue, in degrees of OKLCH, about which the colours of modules lie; `None` where they are as far apart as can be.
    pub(crate) const fn hue(self) -> Option<u16> {
        match self {
            Self::Cpu => None,
            Self::OffCpu => Some(250),
            Self::Wakeups => Some(200),
            Self::Locks => Some(310),
            Self::LiveHeap | Self::AllocatedHeap => Some(150),
        }
    }

    /// pprof's names of the number and of the weight: those that its own runtimes use, where there are any.
    pub(crate) const fn pprof(self) -> [&'static str; 2] {
        match self {
            Self::Cpu => ["samples", "cpu"],
            Self::OffCpu => ["waits", "off_cpu"],
            Self::Wakeups => ["wakeups", "off_cpu"],
            Self::Locks => ["contentions", "delay"],
            Self::LiveHeap => ["inuse_samples", "inuse_space"],
            Self::AllocatedHeap => ["alloc_samples", "alloc_space"],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_the_unit_that_fits() {
        let time = |ns| Unit::Nanoseconds.short(ns);
        assert_eq!(
            [0, 999, 1_500, 98_765_432, 9_876_543_210].map(time),
            ["0 ns", "999 ns", "1.50 µs", "98.8 ms", "9.88 s"]
        );
        let bytes = |count| Unit::Bytes.short(count);
        assert_eq!([7, 123_456, 1_048_576].map(bytes), ["7 bytes", "123 kB", "1.05 MB"]);
    }
}
