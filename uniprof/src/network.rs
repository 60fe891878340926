//! The network of a guest that is to be started.

use anyhow::Context as _;
use uniprof_collector::qemu::{self, Publish};

use crate::exit::{Exit, Failure};
use crate::kernel::Kernel;
use crate::output;

/// What connects it to others.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Guest options")]
pub(crate) struct Network {
    /// Let a TCP port of this host lead to one of the guest, such as 8080:80; ADDR is 127.0.0.1 unless given, HOSTPORT 0 any that is free;
    /// repeatable, implies --net user
    #[arg(long, value_name = "[ADDR:]HOSTPORT:GUESTPORT")]
    publish: Vec<Publish>,
    /// The guest's network: none, user (QEMU's own, needs no rights), or what `qemu -netdev` takes [default: none]
    #[arg(long, value_name = "none|user|ARGS")]
    net: Option<String>,
}

impl Network {
    /// What to start the guest with; free ports are found, and all are told.
    pub(crate) fn resolve(&self, kernel: &Kernel, words: &[String]) -> anyhow::Result<qemu::Network> {
        let serves = kernel.is_bundled() && words.iter().any(|word| word == "workload=http");
        match self.net.as_deref() {
            None if self.publish.is_empty() && serves => {
                output::say(format_args!(
                    "uniprof: workload=http can't be reached from this host; add --publish 8080:80 for that"
                ));
                Ok(qemu::Network::User(Vec::new()))
            }
            None if self.publish.is_empty() => Ok(qemu::Network::None),
            None | Some("user") => self.published(),
            Some(other) if !self.publish.is_empty() => Err(Failure::error(
                Exit::Usage,
                format!("--publish needs QEMU's user networking: leave out --net {other}"),
            )),
            Some("none") => Ok(qemu::Network::None),
            Some(other) if other.contains("id=") => Err(Failure::error(
                Exit::Usage,
                format!("--net {other}: leave out the id, uniprof gives one"),
            )),
            Some(other) => Ok(qemu::Network::Other(other.into())),
        }
    }

    fn published(&self) -> anyhow::Result<qemu::Network> {
        let mut ports = Vec::with_capacity(self.publish.len());
        for publish in &self.publish {
            let found = publish
                .with_port()
                .with_context(|| format!("no port of {} can be published", publish.host.ip()))?;
            output::say(format_args!("uniprof: {} leads to port {} of the guest", found.host, found.guest));
            ports.push(found);
        }
        Ok(qemu::Network::User(ports))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(publish: &[&str], net: Option<&str>) -> anyhow::Result<qemu::Network> {
        let publish = publish.iter().map(|text| text.parse().unwrap()).collect();
        let network = Network { publish, net: net.map(str::to_owned) };
        network.resolve(&Kernel::at("k.elf"), &["workload=http".into()])
    }

    #[test]
    fn a_published_port_implies_user_networking() {
        let user = qemu::Network::User(vec!["8080:80".parse().unwrap()]);
        assert_eq!(resolved(&["8080:80"], None).unwrap(), user);
        assert_eq!(resolved(&["8080:80"], Some("user")).unwrap(), user);
        assert_eq!(resolved(&[], None).unwrap(), qemu::Network::None);
        assert_eq!(resolved(&[], Some("none")).unwrap(), qemu::Network::None);
        assert_eq!(resolved(&[], Some("tap,ifname=t")).unwrap(), qemu::Network::Other("tap,ifname=t".into()));
        let free = resolved(&["0:80"], None).unwrap();
        assert!(matches!(free, qemu::Network::User(ports) if ports[0].host.port() != 0));
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        assert!(resolved(&["8080:80"], Some("none")).is_err());
        assert!(resolved(&["8080:80"], Some("tap")).is_err());
        assert!(resolved(&[], Some("tap,id=x")).is_err());
    }
}
