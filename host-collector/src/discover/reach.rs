//! What can be done with a guest that runs, and where it can't, why not and what mends that.

use std::path::PathBuf;

use rustix::fs::{Access as Mode, access};

use crate::{
    guests::GuestEntry,
    memory::{FoundRegion, MemoryError, find_region},
    qemu::Machine,
    vmm::{Vmm, VmmError},
};

/// Why something can't be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct No {
    /// Why, in a sentence.
    pub why: String,
    /// What mends it: a command, or words for QEMU's command line.
    pub mend: String,
}

/// What can be done with a guest; of what can, how.
#[derive(Clone, Debug)]
pub struct Reach {
    /// Its observation region can be read in memory.
    pub region: Result<FoundRegion, No>,
    /// It can be recorded.
    pub profile: Result<String, No>,
    /// It can be asked for other rates, events and so on.
    pub control: Result<String, No>,
    /// Its memory can be looked at and kept.
    pub dump: Result<String, No>,
    /// Its control socket, if there is one that this process may connect to.
    pub qmp: Option<PathBuf>,
    /// Where QEMU listens for a debugger, in its own words.
    pub debugger: Option<String>,
}

impl Reach {
    /// That of a guest that something else has started.
    #[must_use]
    pub fn of_process(vmm: &Vmm) -> Self {
        match vmm.entry() {
            Ok(entry) => Self::of(&entry, Some(vmm)),
            Err(error) => {
                let no = no_memory(vmm, &error);
                let qmp = vmm.monitors().into_iter().find(|path| is_open(path));
                let dump = match &qmp {
                    Some(path) => Ok(format!("QEMU writes it: uniprof dump qmp:{}", path.display())),
                    None => Err(no.clone()),
                };
                let over_port = vmm.port().filter(|path| is_open(path));
                let port = |what: &str| over_port.as_ref().map(|_| what.to_owned()).ok_or_else(|| no.clone());
                Self {
                    profile: port("over its serial port"),
                    control: port("over its serial port"),
                    region: Err(no.clone()),
                    dump,
                    qmp,
                    debugger: vmm.debugger().map(str::to_owned),
                }
            }
        }
    }

    /// That of a guest by its entry; `vmm` is its QEMU's command line, where that is at hand.
    #[must_use]
    pub fn of(entry: &GuestEntry, vmm: Option<&Vmm>) -> Self {
        let qmp = Some(entry.qmp.clone()).filter(|path| is_open(path));
        let debugger = vmm.and_then(|vmm| Some(vmm.debugger()?.to_owned()));
        let searched = entry.open_memory().and_then(|memory| find_region(&*memory, None));
        if let (Some(_), Err(MemoryError::NotShared)) = (&entry.port, &searched) {
            let no =
                No { why: MemoryError::NotShared.to_string(), mend: "start it with --transport shm".into() };
            let over = || Ok("over its serial port".to_owned());
            return Self {
                region: Err(no.clone()),
                profile: over(),
                control: over(),
                dump: Err(no),
                qmp,
                debugger,
            };
        }
        let dump = match &searched {
            Ok(_) => Ok(how_to_dump(entry, qmp.is_some())),
            Err(error) => Err(No { why: error.to_string(), mend: private_ram(entry) }),
        };
        let region = match searched {
            Ok(Ok(region)) => Ok(region),
            Ok(Err(search)) => Err(no_region(
                search.refused.first().map(|(at, why)| format!("the region at {at} can't be used: {why}")),
            )),
            Err(error) => Err(No { why: error.to_string(), mend: private_ram(entry) }),
        };
        let profile = region.as_ref().map(|_| how_to_read(entry)).map_err(Clone::clone);
        let control = match &region {
            Ok(region) => control(entry, region),
            Err(no) => Err(no.clone()),
        };
        Self { region, profile, control, dump, qmp, debugger }
    }
}

fn is_open(path: &std::path::Path) -> bool {
    !path.as_os_str().is_empty() && access(path, Mode::READ_OK | Mode::WRITE_OK).is_ok()
}

fn how_to_read(entry: &GuestEntry) -> String {
    match &entry.ram_in_process {
        Some(_) if entry.ram_file.is_none() => "its rings are read in QEMU's memory, without a pause".into(),
        _ => "its rings are in shared memory".into(),
    }
}

fn how_to_dump(entry: &GuestEntry, has_qmp: bool) -> String {
    if has_qmp {
        return "its memory, and its registers over QMP".into();
    }
    let name = &entry.name;
    format!(
        "its memory; registers, and a moment at which it stands still, need -qmp unix:/tmp/{name}.qmp,server=on,wait=off"
    )
}

fn control(entry: &GuestEntry, region: &FoundRegion) -> Result<String, No> {
    if let Some(port) = entry.control_port.as_ref().filter(|path| is_open(path)) {
        // The path leads through the process; people know it without that.
        let plain = port.strip_prefix(format!("/proc/{}/root", entry.pid));
        return Ok(match plain {
            Ok(path) => format!("over its serial port /{}", path.display()),
            Err(_) => format!("over its serial port {}", port.display()),
        });
    }
    let Some((file, _)) = entry.file_of(region) else {
        return Err(No {
            why: "its memory belongs to its process alone: it is only read".into(),
            mend: private_ram(entry),
        });
    };
    match access(&file, Mode::READ_OK | Mode::WRITE_OK) {
        Ok(()) => Ok("its control page is in shared memory".into()),
        Err(error) => Err(No {
            why: format!("{} can't be written to: {error}", file.display()),
            mend: "run uniprof as the user that the file belongs to".into(),
        }),
    }
}

fn no_region(refused: Option<String>) -> No {
    let has_other = refused.is_some();
    No {
        why: refused
            .unwrap_or_else(|| "no observation region: still booting, or a kernel without probes".into()),
        mend: if has_other {
            "use the uniprof, or build the kernel with the probes, of the same version".into()
        } else {
            "link uniprof-probes into the kernel and call init: README, Your own kernel".into()
        },
    }
}

fn no_memory(vmm: &Vmm, error: &VmmError) -> No {
    let mend = match error {
        VmmError::Denied { pid, .. } => super::Access::to(*pid).mend(),
        _ => format!(
            "-qmp unix:/tmp/{0}.qmp,server=on,wait=off, and uniprof dump qmp:/tmp/{0}.qmp",
            vmm.name()
        ),
    };
    No { why: error.to_string(), mend }
}

/// Words for QEMU that let others write to the guest's control page, or to its port.
fn private_ram(entry: &GuestEntry) -> String {
    let (name, mib) = (&entry.name, entry.memory_bytes >> 20);
    let device = if entry.machine == Machine::Microvm { "virtio-serial-device" } else { "virtio-serial-pci" };
    format!(
        "-object memory-backend-file,id=ram,size={mib}M,mem-path=/dev/shm/{name},share=on -machine memory-backend=ram; \
         or -chardev socket,id=uniprof,path=/tmp/{name}.port,server=on,wait=off -device {device},max_ports=2 \
         -device virtserialport,chardev=uniprof,name=uniprof"
    )
}
