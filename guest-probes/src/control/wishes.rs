//! What all who ask want together, within what a guest grants.

use uniprof_wire::record::{Class, DEFAULT_PACKET_BYTES};
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
    /// 0: nobody wants packets.
    pub(super) packet_bytes: u32,
    /// 0: none.
    pub(super) budget_ppm: u32,
}

impl Wishes {
    /// The wishes of the kernel itself and of live requests; each value is capped, stacks and packets by what fits their records.
    pub(super) fn of(
        own: &ControlRequest,
        requests: &[ControlRequest],
        (longest_snapshot, longest_packet): (u32, u32),
    ) -> Self {
        let all = || core::iter::once(own).chain(requests);
        let most = |value: fn(&ControlRequest) -> u32| all().map(value).max().unwrap_or(0);
        let budgets = all().map(|request| request.budget_ppm).filter(|&ppm| ppm > 0);
        Self {
            rate: most(|request| request.rate).min(MAX_RATE),
            classes: all().fold(0, |classes, request| classes | request.classes) & Class::RECORDED,
            snapshot_bytes: most(|request| request.snapshot_bytes).min(longest_snapshot) / 8 * 8,
            packet_bytes: most(packet_bytes).min(longest_packet),
            budget_ppm: budgets.min().unwrap_or(0).min(MAX_BUDGET_PPM),
        }
    }
}

/// What a request wants of each packet: nothing if it does not ask for packets.
fn packet_bytes(request: &ControlRequest) -> u32 {
    match request.packet_bytes {
        _ if request.classes & Class::Net.bit() == 0 => 0,
        0 => DEFAULT_PACKET_BYTES,
        bytes => bytes,
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
        let wishes = Wishes::of(&own, &both, (1 << 20, 2048));
        let wanted = Wishes { rate: 99, classes: 7, snapshot_bytes: 96, packet_bytes: 0, budget_ppm: 10_000 };
        assert_eq!(wishes, wanted);
        let wild = [asked(u32::MAX, u64::MAX, u32::MAX, u32::MAX)];
        let wishes = Wishes::of(&own, &wild, (1000, 2048));
        assert_eq!((wishes.rate, wishes.classes), (MAX_RATE, Class::RECORDED));
        assert_eq!((wishes.snapshot_bytes, wishes.budget_ppm), (1000, MAX_BUDGET_PPM));
        assert_eq!(Wishes::of(&own, &[], (8, 8)).budget_ppm, 0);
    }

    #[test]
    fn packets_are_as_long_as_the_longest_that_anybody_wants() {
        let asked =
            |classes, packet_bytes| ControlRequest { classes, packet_bytes, ..ControlRequest::default() };
        let net = Class::Net.bit();
        let longest = |requests: &[ControlRequest]| {
            Wishes::of(&ControlRequest::NOTHING, requests, (0, 2000)).packet_bytes
        };
        assert_eq!(longest(&[asked(1, 900)]), 0, "who asks for no packets does not say how long they are");
        assert_eq!(longest(&[asked(net, 0)]), DEFAULT_PACKET_BYTES);
        assert_eq!(longest(&[asked(net, 64)]), 64);
        assert_eq!(longest(&[asked(net, 64), asked(1, 900), asked(net | 1, 300)]), 300);
        assert_eq!(longest(&[asked(net, u32::MAX)]), 2000);
    }
}
