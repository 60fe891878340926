//! The guest's network: none, QEMU's own that needs no rights, or whatever QEMU is told.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::str::FromStr;

use super::{Machine, SpecError};

/// Id of the network that the device is plugged into.
const ID: &str = "net0";

/// What network a guest has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Network {
    /// None.
    #[default]
    None,
    /// QEMU's user networking: the guest is 10.0.2.15, and reaches what the host reaches. These ports of the host lead into it.
    User(Vec<Publish>),
    /// What `qemu -netdev` takes, without an `id=`.
    Other(String),
}

/// A TCP port of the host that leads to one of the guest: `[ADDRESS:]HOSTPORT:GUESTPORT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publish {
    /// Where the host listens; port 0 stands for any that is free, see [`Publish::with_port`].
    pub host: SocketAddrV4,
    /// Where the guest does.
    pub guest: u16,
}

impl Publish {
    /// With a port that is free now, where it has none yet. QEMU takes it a moment later; should somebody else have been faster, it says so.
    pub fn with_port(self) -> std::io::Result<Self> {
        if self.host.port() != 0 {
            return Ok(self);
        }
        let port = TcpListener::bind(self.host)?.local_addr()?.port();
        Ok(Self { host: SocketAddrV4::new(*self.host.ip(), port), ..self })
    }
}

impl fmt::Display for Publish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (the guest's port {})", self.host, self.guest)
    }
}

impl FromStr for Publish {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let refused = || SpecError::Publish { text: text.into() };
        let (rest, guest) = text.rsplit_once(':').ok_or_else(refused)?;
        let (address, host) = match rest.rsplit_once(':') {
            Some((address, host)) => (address.parse().map_err(|_| refused())?, host),
            None => (Ipv4Addr::LOCALHOST, rest),
        };
        let host = host.parse().map_err(|_| refused())?;
        let guest = guest.parse().ok().filter(|&port| port != 0).ok_or_else(refused)?;
        Ok(Self { host: SocketAddrV4::new(address, host), guest })
    }
}

impl Network {
    /// What QEMU is told: the network, and the device that is plugged into it.
    pub(super) fn words(&self, machine: Machine) -> Option<[String; 2]> {
        let network = match self {
            Self::None => return None,
            Self::User(ports) => {
                let mut word = format!("user,id={ID}");
                for Publish { host, guest } in ports {
                    word.push_str(&format!(",hostfwd=tcp:{}:{}-:{guest}", host.ip(), host.port()));
                }
                word
            }
            Self::Other(words) => format!("{words},id={ID}"),
        };
        let device = match machine {
            // No ROM to boot from, and nothing of the time before virtio 1.0.
            Machine::Q35 | Machine::Pc => "virtio-net-pci,disable-legacy=on,romfile=",
            Machine::Microvm => "virtio-net-device",
        };
        Some([network, format!("{device},netdev={ID}")])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_and_given_to_qemu() {
        let ports = ["8080:80", "0.0.0.0:8443:443"].map(|text| text.parse::<Publish>().unwrap());
        let network = Network::User(ports.to_vec());
        let forwards = "user,id=net0,hostfwd=tcp:127.0.0.1:8080-:80,hostfwd=tcp:0.0.0.0:8443-:443";
        let pci = "virtio-net-pci,disable-legacy=on,romfile=,netdev=net0";
        assert_eq!(network.words(Machine::Q35), Some([forwards.into(), pci.into()]));
        assert_eq!(network.words(Machine::Microvm).unwrap()[1], "virtio-net-device,netdev=net0");
        assert_eq!(Network::None.words(Machine::Q35), None);
        let other = Network::Other("tap,ifname=tap0".into());
        assert_eq!(other.words(Machine::Pc).unwrap()[0], "tap,ifname=tap0,id=net0");
    }

    #[test]
    fn what_is_no_port_is_refused() {
        for text in
            ["", "80", "80:", ":80", "8080:0", "8080:80:90", "localhost:8080:80", "1:65536", "::1:8080:80"]
        {
            assert!(matches!(text.parse::<Publish>(), Err(SpecError::Publish { .. })), "{text}");
        }
    }

    #[test]
    fn a_free_port_is_found() {
        let publish: Publish = "0:80".parse().unwrap();
        let found = publish.with_port().unwrap();
        assert_ne!(found.host.port(), 0);
        assert_eq!((found.host.ip(), found.guest), (publish.host.ip(), 80));
    }
}
