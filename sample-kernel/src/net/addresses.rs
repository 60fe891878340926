//! Who this machine is on its network.

use core::fmt;
use core::net::Ipv4Addr;

/// An address, how many of its bits are the network's, and who leads elsewhere.
#[derive(Clone, Copy)]
pub(crate) struct Addresses {
    pub(super) own: Ipv4Addr,
    pub(super) prefix: u8,
    pub(super) gateway: Option<Ipv4Addr>,
}

impl Addresses {
    /// What QEMU's user networking expects.
    pub(crate) const QEMU_USER: Self =
        Self { own: Ipv4Addr::new(10, 0, 2, 15), prefix: 24, gateway: Some(Ipv4Addr::new(10, 0, 2, 2)) };

    pub(crate) const FORM: &str = "ADDRESS/PREFIX or ADDRESS/PREFIX,GATEWAY, as in 10.0.2.15/24,10.0.2.2";

    /// From the word's value.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (network, gateway) = match text.split_once(',') {
            Some((network, gateway)) => (network, Some(gateway.parse().ok()?)),
            None => (text, None),
        };
        let (own, prefix) = network.split_once('/')?;
        let own: Ipv4Addr = own.parse().ok()?;
        let prefix = prefix.parse().ok().filter(|prefix| (1..=30).contains(prefix))?;
        let usable = |address: &Ipv4Addr| {
            !address.is_multicast()
                && !address.is_broadcast()
                && !address.is_unspecified()
                && !address.is_loopback()
        };
        (usable(&own) && gateway.as_ref().is_none_or(usable)).then_some(Self { own, prefix, gateway })
    }
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.own, self.prefix)
    }
}
