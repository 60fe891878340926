//! The container that a process belongs to, by the names that container engines give to control groups.
//!
//! | engine | path of the group |
//! |---|---|
//! | docker, cgroupfs | `/docker/ID` |
//! | docker, systemd | `/system.slice/docker-ID.scope` |
//! | containerd under Kubernetes | `/kubepods/burstable/podUID/ID`, `…/cri-containerd-ID.scope`, `…slice:cri-containerd:ID` |
//! | containerd, nerdctl | `/default/ID`, `/system.slice/nerdctl-ID.scope` |
//! | CRI-O | `…/crio-ID.scope`, `…/crio-ID`, with `/container` behind it in newer ones |
//! | podman | `/machine.slice/libpod-ID.scope`, `…/libpod-ID.scope/container`, `/libpod_parent/libpod-ID` |
//! | Amazon ECS | `/ecs/TASK/ID`, on Fargate `/ecs/TASK/TASK-NUMBER` |
//!
//! An ID has 64 hexadecimal digits. `conmon` is the process that watches a container, not one in it.

/// Digits of a container's id, and of what people call it by.
const DIGITS: usize = 64;
const SHORT: usize = 12;
/// Digits of a task's id on Fargate.
const TASK: usize = 32;

/// A container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Its id.
    pub id: String,
    /// Who made it, as far as the group's name says: `docker`, `containerd`, `crio`, `podman`, `ecs`.
    pub engine: Option<&'static str>,
}

impl Container {
    /// That of a process.
    #[must_use]
    pub fn of_process(pid: u32) -> Option<Self> {
        Self::of_groups(&std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?)
    }

    /// Reads `/proc/PID/cgroup`: a line `number:controllers:path` for each hierarchy, version 2 has one with nothing between the colons.
    #[must_use]
    pub fn of_groups(text: &str) -> Option<Self> {
        let paths = text.lines().filter_map(|line| line.splitn(3, ':').nth(2));
        paths.filter_map(Self::of_path).next()
    }

    /// The innermost one, where containers run in containers.
    fn of_path(path: &str) -> Option<Self> {
        let parts: Vec<&str> = path.split('/').collect();
        (0..parts.len()).rev().find_map(|index| {
            let part = parts[index];
            let (maker, id) = of_part(part)?;
            let around = maker.is_empty().then(|| parts[..index].iter().rev().find_map(|part| engine(part)));
            Some(Self { id: id.into(), engine: engine(maker).or(around.flatten()) })
        })
    }

    /// What people call it by.
    #[must_use]
    pub fn short(&self) -> &str {
        self.id.get(..SHORT).unwrap_or(&self.id)
    }

    /// Whether `word` is its id, or the beginning of it.
    #[must_use]
    pub fn is_called(&self, word: &str) -> bool {
        !word.is_empty() && self.id.starts_with(&word.to_ascii_lowercase())
    }
}

/// Takes a part of a path into its maker, which may be missing, and an id.
fn of_part(part: &str) -> Option<(&str, &str)> {
    let part = part.strip_suffix(".scope").unwrap_or(part);
    if part.contains("conmon") {
        return None;
    }
    if is_task(part) {
        return Some(("ecs", part));
    }
    let (maker, id) = part.rsplit_once([':', '-']).unwrap_or(("", part));
    let is_id = id.len() == DIGITS && id.bytes().all(is_digit);
    is_id.then_some((maker, id))
}

fn is_digit(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

/// `0123456789abcdef0123456789abcdef-2531612879`
fn is_task(part: &str) -> bool {
    part.split_once('-').is_some_and(|(task, number)| {
        task.len() == TASK
            && task.bytes().all(is_digit)
            && !number.is_empty()
            && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

fn engine(part: &str) -> Option<&'static str> {
    let known = [
        ("libpod", "podman"),
        ("crio", "crio"),
        ("docker", "docker"),
        ("containerd", "containerd"),
        ("nerdctl", "containerd"),
        ("ecs", "ecs"),
    ];
    known.into_iter().find(|(mark, _)| part.contains(mark)).map(|(_, engine)| engine)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "3f1c0a9be2d4475c8a6b1f0e9d8c7b6a5f4e3d2c1b0a99887766554433221100";

    #[test]
    fn groups_of_all_engines_are_read() {
        for (text, engine) in [
            // Docker, version 1 with cgroupfs and with systemd; version 2.
            (
                "12:pids:/docker/ID\n11:memory:/docker/ID\n1:name=systemd:/docker/ID\n0::/system.slice/containerd.service",
                Some("docker"),
            ),
            ("4:memory:/system.slice/docker-ID.scope", Some("docker")),
            ("0::/system.slice/docker-ID.scope", Some("docker")),
            ("0::/user.slice/user-1000.slice/user@1000.service/user.slice/docker-ID.scope", Some("docker")),
            // Kubernetes: cgroupfs, systemd, and containerd with the wrong driver.
            ("11:cpu,cpuacct:/kubepods/burstable/pod2f0c1b1e-7a4e-4a57-9a3c-0d6b6f9c1d11/ID", None),
            (
                "0::/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod1db4b9ae_ba8f_4d21_a1d8_9ab1b8f22f3c.slice/cri-containerd-ID.scope",
                Some("containerd"),
            ),
            (
                "0::/system.slice/containerd.service/kubepods-burstable-pod1db4b9ae.slice:cri-containerd:ID",
                Some("containerd"),
            ),
            ("0::/kubepods.slice/kubepods-pod1db4b9ae.slice/crio-ID.scope", Some("crio")),
            ("0::/kubepods.slice/kubepods-pod1db4b9ae.slice/crio-ID.scope/container", Some("crio")),
            ("3:cpu:/kubepods/besteffort/pod8d7c/crio-ID", Some("crio")),
            // Podman, with and without root.
            ("0::/machine.slice/libpod-ID.scope", Some("podman")),
            ("0::/machine.slice/libpod-ID.scope/container", Some("podman")),
            (
                "0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope/container",
                Some("podman"),
            ),
            ("9:devices:/libpod_parent/libpod-ID", Some("podman")),
            // containerd alone, nerdctl, ECS.
            ("0::/default/ID", None),
            ("0::/system.slice/nerdctl-ID.scope", Some("containerd")),
            ("9:perf_event:/ecs/0e1f2a3b4c5d6e7f/ID", Some("ecs")),
            // Docker in docker: the inner one; from inside of a cgroup namespace.
            (
                "0::/docker/ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff/docker/ID",
                Some("docker"),
            ),
            ("0::/../ID", None),
        ] {
            let found = Container::of_groups(&text.replace("ID", ID));
            assert_eq!(found, Some(Container { id: ID.into(), engine }), "{text}");
        }
        let task = "0e1f2a3b4c5d6e7f0e1f2a3b4c5d6e7f-2531612879";
        let fargate =
            Container::of_groups(&format!("1:name=systemd:/ecs/0e1f2a3b4c5d6e7f0e1f2a3b4c5d6e7f/{task}"));
        assert_eq!(fargate, Some(Container { id: task.into(), engine: Some("ecs") }));
    }

    #[test]
    fn other_groups_are_no_containers() {
        for text in [
            "",
            "0::/",
            "0::/init.scope\nx\n::",
            "0::/user.slice/user-1000.slice/session-2.scope",
            "0::/machine.slice/machine-qemu\\x2d1\\x2dweb.scope/libvirt/emulator",
            "0::/machine.slice/libpod-conmon-ID.scope",
            "0::/kubepods.slice/kubepods-pod1db4b9ae.slice/crio-conmon-ID.scope",
            "0::/system.slice/docker-3f1c0a9be2d4.scope",
            "4:memory:/process_api/7c77c07c542102cb76484bc4318059a0",
            "0::/docker/é",
        ] {
            assert_eq!(Container::of_groups(&text.replace("ID", ID)), None, "{text}");
        }
    }

    #[test]
    fn a_container_goes_by_the_beginning_of_its_id() {
        let container = Container::of_groups(&format!("0::/docker/{ID}")).unwrap();
        assert_eq!(container.short(), "3f1c0a9be2d4");
        assert!(container.is_called("3f1") && container.is_called("3F1C0A9BE2D4") && container.is_called(ID));
        assert!(
            !container.is_called("")
                && !container.is_called("3f2")
                && !container.is_called(&format!("{ID}0"))
        );
    }
}
