//! The entry of a guest that something else has started: what the registry would know of it.

use std::path::{Path, PathBuf};

use super::{Vmm, VmmError, place::Reach};
use crate::{
    guests::GuestEntry,
    qemu::{Accelerator, Machine, Placement},
};

impl Vmm {
    /// What is known of the guest to those that did not start it, as of one from the registry: whoever observes one can observe the other.
    ///
    /// Where its RAM lies is looked for; QEMU is not asked, and the guest does not notice.
    pub fn entry(&self) -> Result<GuestEntry, VmmError> {
        let bar = self.bar();
        let port = self.port();
        let (reach, map) = match self.find_ram(None) {
            Ok((place, _)) => (Some(place.reach), Some(place.map)),
            // A region in a file needs no RAM, and one that is sent none either.
            Err(_) if bar.is_some() || port.is_some() => (None, None),
            Err(error) => return Err(error),
        };
        let (port, control_port) = if map.is_none() && bar.is_none() { (port, None) } else { (None, port) };
        let (ram_file, ram_in_process) = match reach {
            Some(Reach::File(path)) => (Some(path), None),
            Some(Reach::Process(host)) => (None, Some(host)),
            None => (None, None),
        };
        Ok(GuestEntry {
            name: self.name(),
            pid: self.pid,
            pid_start: self.start,
            owner_pid: 0,
            qmp: self.monitors().into_iter().next().unwrap_or_default(),
            kernel: self.line.kernel.as_deref().map(|path| self.in_its_directory(path)).unwrap_or_default(),
            machine: Machine::of_qemu(&self.line.machine),
            memory_bytes: self.line.memory,
            vcpus: self.line.vcpus,
            placement: if bar.is_some() { Placement::Ivshmem } else { Placement::Ram },
            memory_file: bar.unwrap_or_else(|| ram_file.clone().unwrap_or_else(PathBuf::new)),
            ram_file,
            ram_in_process,
            ram_map: map,
            port,
            control_port,
            accelerator: Accelerator {
                name: self.line.accelerator.clone(),
                reason: "by its command line".into(),
            },
            qemu_version: String::new(),
            command_line: super::command_line(self.pid).unwrap_or_default(),
            started_ns: super::started_ns(self.start),
        })
    }

    /// A path with the directory that it is meant from.
    fn in_its_directory(&self, path: &Path) -> PathBuf {
        match std::fs::read_link(format!("/proc/{}/cwd", self.pid)) {
            Ok(directory) if path.is_relative() => directory.join(path),
            _ => path.to_owned(),
        }
    }
}
