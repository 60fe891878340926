//! KVM or TCG, and why.

use std::fs::OpenOptions;

use serde::{Deserialize, Serialize};

use super::SpecError;

/// What the user asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AcceleratorChoice {
    /// KVM where it works, else TCG.
    #[default]
    Auto,
    /// KVM or nothing.
    Kvm,
    /// Emulation.
    Tcg,
}

/// What a guest runs on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accelerator {
    /// `kvm` or `tcg`, as QEMU spells it.
    pub name: String,
    /// Why this one: a clause for people.
    pub reason: String,
}

impl Accelerator {
    /// Whether the guest's instructions are emulated, so that its timings say little about a real machine.
    #[must_use]
    pub fn is_emulated(&self) -> bool {
        self.name == "tcg"
    }
}

/// What decides about KVM on a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostCpu {
    /// Why `/dev/kvm` can't be opened, if it can't.
    pub kvm_refused: Option<String>,
    /// Whether the CPU says that it can virtualize (`vmx` or `svm`).
    pub virtualizes: bool,
}

impl HostCpu {
    /// Asks this machine.
    #[must_use]
    pub fn probe() -> Self {
        let kvm_refused =
            OpenOptions::new().read(true).write(true).open("/dev/kvm").err().map(|e| e.to_string());
        let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        Self { kvm_refused, virtualizes: has_virtualization(&cpus) }
    }

    /// Why KVM can't be used here, if it can't.
    #[must_use]
    pub fn obstacle(&self) -> Option<String> {
        if let Some(why) = &self.kvm_refused {
            return Some(format!("/dev/kvm can't be opened: {why}"));
        }
        // The device alone promises nothing: seen on hosts where a 64-bit guest then hangs.
        (!self.virtualizes).then(|| "this CPU offers neither vmx nor svm, though /dev/kvm exists".to_owned())
    }

    /// Settles what was asked for.
    pub fn choose(&self, choice: AcceleratorChoice) -> Result<Accelerator, SpecError> {
        let made = |name: &str, reason: String| Ok(Accelerator { name: name.into(), reason });
        match (choice, self.obstacle()) {
            (AcceleratorChoice::Tcg, _) => made("tcg", "asked for".into()),
            (AcceleratorChoice::Kvm, None) => made("kvm", "asked for".into()),
            (AcceleratorChoice::Kvm, Some(reason)) => Err(SpecError::NoKvm { reason }),
            (AcceleratorChoice::Auto, None) => made("kvm", "/dev/kvm is usable".into()),
            (AcceleratorChoice::Auto, Some(reason)) => made("tcg", reason),
        }
    }
}

fn has_virtualization(cpuinfo: &str) -> bool {
    cpuinfo
        .lines()
        .filter(|line| line.starts_with("flags"))
        .any(|line| line.split_whitespace().any(|flag| flag == "vmx" || flag == "svm"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(refused: Option<&str>, virtualizes: bool) -> HostCpu {
        HostCpu { kvm_refused: refused.map(str::to_owned), virtualizes }
    }

    #[test]
    fn auto_takes_kvm_only_where_it_can_run_a_guest_and_says_why() {
        let auto = |host: HostCpu| host.choose(AcceleratorChoice::Auto).unwrap();
        assert_eq!(auto(host(None, true)).name, "kvm");
        let fallback = auto(host(None, false));
        assert!(fallback.is_emulated() && fallback.reason.contains("vmx"), "{fallback:?}");
        let fallback = auto(host(Some("Permission denied"), true));
        assert!(fallback.is_emulated() && fallback.reason.contains("Permission denied"), "{fallback:?}");
    }

    #[test]
    fn what_was_asked_for_is_not_replaced() {
        assert!(host(None, false).choose(AcceleratorChoice::Kvm).is_err());
        assert_eq!(host(None, true).choose(AcceleratorChoice::Tcg).unwrap().name, "tcg");
    }

    #[test]
    fn flags_are_matched_as_words() {
        assert!(has_virtualization("processor : 0\nflags\t\t: fpu vmx sse\n"));
        assert!(!has_virtualization("flags : fpu vmxx\nvmx flags : ept\n"));
    }
}
