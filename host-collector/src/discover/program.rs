//! Which monitor of virtual machines a program is, and what its command line says of its guest.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::vmm::{as_process_sees, of_qemu};

/// A monitor of virtual machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Monitor {
    /// QEMU, for whatever processor.
    Qemu,
    /// Firecracker.
    Firecracker,
    /// Cloud Hypervisor.
    CloudHypervisor,
    /// Solo5's tender for KVM.
    Solo5Hvt,
    /// Solo5's tender for a process with few system calls.
    Solo5Spt,
    /// crosvm.
    Crosvm,
    /// kvmtool.
    Kvmtool,
}

/// What a command line says of a guest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Guest {
    pub(super) name: Option<String>,
    pub(super) kernel: Option<PathBuf>,
    pub(super) vcpus: Option<u32>,
    pub(super) memory_bytes: Option<u64>,
}

/// A configuration file is not read any further.
const LONGEST: u64 = 1 << 20;

impl Monitor {
    /// By the name of an executable, with or without its directory.
    pub(super) fn of(program: &str) -> Option<Self> {
        let file = Path::new(program).file_name()?.to_str()?;
        // `kvm` and `qemu-kvm` are what distributions call it.
        let is_qemu = file.starts_with("qemu-system-") || ["qemu-kvm", "kvm"].contains(&file);
        Some(match file {
            _ if is_qemu => Self::Qemu,
            "firecracker" => Self::Firecracker,
            "cloud-hypervisor" => Self::CloudHypervisor,
            "solo5-hvt" => Self::Solo5Hvt,
            "solo5-spt" => Self::Solo5Spt,
            "crosvm" => Self::Crosvm,
            "lkvm" | "kvmtool" => Self::Kvmtool,
            // A release is called `firecracker-v1.7.0-x86_64`.
            _ if file.starts_with("firecracker-v") => Self::Firecracker,
            _ => return None,
        })
    }

    /// A word for people and programs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Qemu => "qemu",
            Self::Firecracker => "firecracker",
            Self::CloudHypervisor => "cloud-hypervisor",
            Self::Solo5Hvt => "solo5-hvt",
            Self::Solo5Spt => "solo5-spt",
            Self::Crosvm => "crosvm",
            Self::Kvmtool => "kvmtool",
        }
    }

    pub(super) fn guest(self, words: &[String], pid: u32) -> Guest {
        match self {
            Self::Qemu => {
                let (name, kernel, vcpus, memory) = of_qemu(words);
                Guest { name, kernel, vcpus: Some(vcpus), memory_bytes: Some(memory) }
            }
            Self::Firecracker => firecracker(words, pid),
            Self::CloudHypervisor => cloud_hypervisor(words),
            Self::Solo5Hvt | Self::Solo5Spt => solo5(words),
            Self::Crosvm => crosvm(words),
            Self::Kvmtool => kvmtool(words),
        }
    }
}

/// The value of an option, which follows it or stands behind a `=`; the last one where there are several.
fn value<'a>(words: &'a [String], names: &[&str]) -> Option<&'a str> {
    let mut found = None;
    for (index, word) in words.iter().enumerate().skip(1) {
        let (option, value) =
            word.split_once('=').map_or((word.as_str(), None), |(option, value)| (option, Some(value)));
        if names.contains(&option) {
            found = value.or_else(|| words.get(index + 1).map(String::as_str)).or(found);
        }
    }
    found
}

/// `key=value,key=value`, or a bare value for the first of the keys.
fn part<'a>(list: &'a str, keys: &[&str]) -> Option<&'a str> {
    let mut parts = list.split(',').map(|part| part.split_once('=').unwrap_or(("", part)));
    let first = parts.clone().next().filter(|(key, _)| key.is_empty()).map(|(_, value)| value);
    parts.find(|(key, _)| keys.contains(key)).map(|(_, value)| value).or(first)
}

/// A size with a letter; without one it counts in `unit`.
fn size(text: &str, unit: u64) -> Option<u64> {
    let (digits, unit) = match text.char_indices().last()? {
        (at, 'K' | 'k') => (&text[..at], 1 << 10),
        (at, 'M' | 'm') => (&text[..at], 1 << 20),
        (at, 'G' | 'g') => (&text[..at], 1 << 30),
        _ => (text, unit),
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

/// `solo5-hvt --mem=512 --net:service=tap100 -- unikernel.hvt words`: the first word that is no option.
fn solo5(words: &[String]) -> Guest {
    let kernel = words.iter().skip(1).find(|word| !word.starts_with('-'));
    Guest {
        name: None,
        kernel: kernel.map(PathBuf::from),
        vcpus: Some(1),
        memory_bytes: value(words, &["--mem"]).map_or(Some(512 << 20), |mem| size(mem, 1 << 20)),
    }
}

fn cloud_hypervisor(words: &[String]) -> Guest {
    let cpus = value(words, &["--cpus"]);
    let memory = value_list(words, "--memory");
    Guest {
        name: None,
        kernel: value(words, &["--kernel"]).map(PathBuf::from),
        vcpus: cpus.map_or(Some(1), |_| part(value_list(words, "--cpus")?, &["boot"])?.parse().ok()),
        memory_bytes: memory.map_or(Some(512 << 20), |list| size(part(list, &["size"])?, 1)),
    }
}

/// The value of an option that is a list, and has `=` in itself.
fn value_list<'a>(words: &'a [String], name: &str) -> Option<&'a str> {
    let index = words.iter().position(|word| word == name || word.starts_with(&format!("{name}=")))?;
    match words[index].strip_prefix(name)?.strip_prefix('=') {
        Some(list) => Some(list),
        None => words.get(index + 1).map(String::as_str),
    }
}

fn crosvm(words: &[String]) -> Guest {
    Guest {
        name: value(words, &["--name"]).map(str::to_owned),
        kernel: words.last().filter(|word| words.len() > 2 && !word.starts_with('-')).map(PathBuf::from),
        vcpus: value_list(words, "--cpus").map_or(Some(1), |list| part(list, &["num-cores"])?.parse().ok()),
        memory_bytes: value_list(words, "--mem").and_then(|list| size(part(list, &["size"])?, 1 << 20)),
    }
}

fn kvmtool(words: &[String]) -> Guest {
    Guest {
        name: value(words, &["--name"]).map(str::to_owned),
        kernel: value(words, &["-k", "--kernel"]).map(PathBuf::from),
        vcpus: value(words, &["-c", "--cpus"]).and_then(|count| count.parse().ok()),
        memory_bytes: value(words, &["-m", "--mem"]).and_then(|mem| size(mem, 1 << 20)),
    }
}

/// It is told its guest in a file, or over a socket that only its owner uses; its threads say how many vCPUs there are.
fn firecracker(words: &[String], pid: u32) -> Guest {
    let file = value(words, &["--config-file"]).map(|path| as_process_sees(pid, Path::new(path)));
    let config = file.and_then(|path| read_json(&path)).unwrap_or_default();
    let threads = vcpu_threads(pid);
    let number = |key: &str| config["machine-config"][key].as_u64();
    Guest {
        name: value(words, &["--id"]).map(str::to_owned),
        kernel: config["boot-source"]["kernel_image_path"].as_str().map(PathBuf::from),
        vcpus: number("vcpu_count")
            .and_then(|count| u32::try_from(count).ok())
            .or((threads > 0).then_some(threads)),
        memory_bytes: number("mem_size_mib").and_then(|mib| mib.checked_mul(1 << 20)),
    }
}

fn read_json(path: &Path) -> Option<Value> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    std::fs::File::open(path).ok()?.take(LONGEST).read_to_end(&mut bytes).ok()?;
    serde_json::from_slice(&bytes).ok()
}

fn vcpu_threads(pid: u32) -> u32 {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let names = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("comm")).ok());
    names.filter(|name| name.starts_with("fc_vcpu")).count() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guest(line: &str) -> (Monitor, Guest) {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let monitor = Monitor::of(&words[0]).unwrap();
        (monitor, monitor.guest(&words, u32::MAX))
    }

    #[test]
    fn monitors_are_known_by_their_names() {
        for (program, monitor) in [
            ("/usr/bin/qemu-system-x86_64", Some(Monitor::Qemu)),
            ("qemu-system-aarch64", Some(Monitor::Qemu)),
            ("/usr/libexec/qemu-kvm", Some(Monitor::Qemu)),
            ("kvm", Some(Monitor::Qemu)),
            ("firecracker", Some(Monitor::Firecracker)),
            ("./release/firecracker-v1.7.0-x86_64", Some(Monitor::Firecracker)),
            ("/opt/solo5-hvt", Some(Monitor::Solo5Hvt)),
            ("qemu-img", None),
            ("kvm-nx-lpage-recovery", None),
            ("", None),
            ("/", None),
        ] {
            assert_eq!(Monitor::of(program), monitor, "{program}");
        }
    }

    #[test]
    fn command_lines_of_all_are_read() {
        let wanted = |name: Option<&str>, kernel: &str, vcpus, mib: u64| Guest {
            name: name.map(str::to_owned),
            kernel: Some(kernel.into()),
            vcpus: Some(vcpus),
            memory_bytes: Some(mib << 20),
        };
        for (line, guest_wanted) in [
            (
                "qemu-system-x86_64 -name web -m 1G -smp 4 -kernel k.elf",
                wanted(Some("web"), "k.elf", 4, 1024),
            ),
            ("qemu-system-aarch64 -M virt -m 64 -kernel k", wanted(None, "k", 1, 64)),
            (
                "solo5-hvt --mem=32 --net:service=tap100 -- https.hvt --ipv4=10.0.0.2/24",
                wanted(None, "https.hvt", 1, 32),
            ),
            ("solo5-spt hello.spt", wanted(None, "hello.spt", 1, 512)),
            (
                "cloud-hypervisor --kernel vmlinux --cpus boot=4,max=8 --memory size=1024M,shared=on",
                wanted(None, "vmlinux", 4, 1024),
            ),
            ("cloud-hypervisor --kernel=vmlinux", wanted(None, "vmlinux", 1, 512)),
            (
                "crosvm run --name web --cpus num-cores=2 --mem size=256 vmlinux",
                wanted(Some("web"), "vmlinux", 2, 256),
            ),
            ("lkvm run --name web -k bzImage -m 128 -c 2", wanted(Some("web"), "bzImage", 2, 128)),
        ] {
            assert_eq!(guest(line).1, guest_wanted, "{line}");
        }
    }

    #[test]
    fn firecracker_is_told_in_a_file() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(
            &mut file,
            br#"{"boot-source":{"kernel_image_path":"/k"},"machine-config":{"vcpu_count":2,"mem_size_mib":256}}"#,
        )
        .unwrap();
        let words = ["firecracker", "--id", "web", "--config-file"].map(str::to_owned).to_vec();
        let words = [words, vec![file.path().display().to_string()]].concat();
        let found = Monitor::Firecracker.guest(&words, std::process::id());
        assert_eq!(
            (found.name.as_deref(), found.vcpus, found.memory_bytes),
            (Some("web"), Some(2), Some(256 << 20))
        );
        assert_eq!(found.kernel, Some("/k".into()));
        assert_eq!(guest("firecracker --api-sock /run/fc.sock").1, Guest::default());
    }
}
