//! What all who ask want together, within what a guest grants.

use uniprof_wire::record::Class;
use uniprof_wire::tables::ControlRequest;

/// Highest rate that a guest grants.
const MAX_RATE: u32 = 100_000;
/// A budget of more than all of a vCPU's time says nothing.
const MAX_BUDGET_PPM: u32 = 1_000_000;

/// All requests in one. Which sites are wanted is asked of each request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wishes {
    pub(super) rate: u32,
    pub(super) classes: u64,
    /// Whole words.
    pub(super) snapshot_bytes: u32,
    /// 0: none.
    pub(super) budget_ppm: u32,
}

impl Wishes {
    /// The wishes of the kernel itself and of live requests; each value is capped.
    pub(super) fn of(own: &ControlRequest, requests: &[ControlRequest], longest_snapshot: u32) -> Self {
        let all = || core::iter::once(own).chain(requests);
        let most = |value: fn(&ControlRequest) -> u32| all().map(value).max().unwrap_or(0);
        let budgets = all().map(|request| request.budget_ppm).filter(|&ppm| ppm > 0);
        Self {
            rate: most(|request| request.rate).min(MAX_RATE),
            classes: all().fold(0, |classes, request| classes | request.classes) & Class::RECORDED,
            snapshot_bytes: most(|request| request.snapshot_bytes).min(longest_snapshot) / 8 * 8,
            budget_ppm: budgets.min().unwrap_or(0).min(MAX_BUDGET_PPM),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_gets_what_it_asked_for_within_limits() {
        let asked = |rate, classes, snapshot_bytes, budget_ppm| ControlRequest {
            rate,
            classes,
            snapshot_bytes,
            budget_ppm,
            ..ControlRequest::default()
        };
        let own = asked(10, 1, 0, 0);
        let both = [asked(99, 2, 100, 20_000), asked(49, 4, 8, 10_000)];
        let wishes = Wishes::of(&own, &both, 1 << 20);
        assert_eq!(wishes, Wishes { rate: 99, classes: 7, snapshot_bytes: 96, budget_ppm: 10_000 });
        let wild = [asked(u32::MAX, u64::MAX, u32::MAX, u32::MAX)];
        let wishes = Wishes::of(&own, &wild, 1000);
        assert_eq!((wishes.rate, wishes.classes), (MAX_RATE, Class::RECORDED));
        assert_eq!((wishes.snapshot_bytes, wishes.budget_ppm), (1000, MAX_BUDGET_PPM));
        assert_eq!(Wishes::of(&own, &[], 8).budget_ppm, 0);
    }
}
