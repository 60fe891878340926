//! Over which quarters of a second sums go, and how much each counts.

use std::ops::Range;

use uniprof_tui::picture::Span;

/// Quarters of a second in a second.
pub(super) const QUARTERS: u64 = 4;
/// Seconds that are kept: one can step back so far.
pub(super) const KEPT_SECONDS: usize = 300;
/// The same in quarters.
pub(super) const KEPT_QUARTERS: usize = KEPT_SECONDS * QUARTERS as usize;

/// A span that ends with a quarter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Reach {
    span: Span,
    last: u64,
    /// Whether the last is over.
    is_whole: bool,
}

impl Reach {
    /// The quarters of `span` up to and with `last`, which may have only begun.
    pub(super) fn new(span: Span, last: u64) -> Self {
        let span = match span {
            // What is no length is none that anybody could mean.
            Span::Last(seconds) if seconds.is_nan() || seconds <= 0.0 => Span::Last(1.0),
            Span::Decay(seconds) if seconds.is_nan() || seconds <= 0.0 => Span::Decay(1.0),
            span => span,
        };
        Self { span, last, is_whole: false }
    }

    /// The same, all of which are over.
    pub(super) fn whole(span: Span, last: u64) -> Self {
        Self { is_whole: true, ..Self::new(span, last) }
    }

    /// The quarters of the last second that is over: rates are of these.
    pub(super) fn second(&self) -> Range<u64> {
        let end = self.last.saturating_add(self.is_whole.into());
        end.saturating_sub(QUARTERS)..end
    }

    /// Whether it goes back to the beginning, evenly.
    pub(super) fn is_all(&self) -> bool {
        self.span == Span::All
    }

    /// How long it is.
    pub(super) fn span(&self) -> Span {
        self.span
    }

    /// Its last quarter.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// All quarters that count.
    pub(super) fn quarters(&self) -> Range<u64> {
        let end = self.last.saturating_add(1);
        let most = match self.span {
            Span::All => u64::MAX,
            span => (whole(span) * QUARTERS as f64).ceil().max(1.0) as u64,
        };
        end.saturating_sub(most)..end
    }

    /// How much a quarter counts, 0 to 1; `None` where it does not at all.
    pub(super) fn share(&self, quarter: u64) -> Option<f64> {
        let age = self.last.checked_sub(quarter)?;
        match self.span {
            Span::All => Some(1.0),
            Span::Last(seconds) => ((age as f64) < (seconds * QUARTERS as f64).max(1.0)).then_some(1.0),
            Span::Decay(half) => {
                let share = (-(age as f64) / (half * QUARTERS as f64)).exp2();
                (share > 1e-4).then_some(share)
            }
        }
    }
}

/// Over how many seconds a span goes; what counts for less than a thousandth has no part in it.
pub(super) fn whole(span: Span) -> f64 {
    match span {
        Span::All => f64::INFINITY,
        Span::Last(seconds) => seconds,
        Span::Decay(half) => half * 10.0,
    }
}
