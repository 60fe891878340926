//! A QEMU that something else has started, by its process id.

use std::time::Duration;

use super::{LiveError, LiveGuest};
use crate::{
    dump::Facts,
    qmp::Qmp,
    vmm::{Proof, Vmm},
};

/// How long a control socket may take that may be somebody else's: QEMU serves one client at a time, and libvirt never lets go.
const LIMIT: Duration = Duration::from_secs(2);

impl LiveGuest {
    /// Opens the guest of a QEMU process. Its control socket is used where its command line names one that answers: only then are
    /// registers known, and can the guest stand still. Otherwise memory is read as it is at each moment.
    pub fn of_process(pid: u32) -> Result<Self, LiveError> {
        let vmm = Vmm::look_at(pid)?;
        let mut remarks = Vec::new();
        let mut qmp = None;
        // A process that is stopped answers nobody.
        let stopped = vmm.is_stopped();
        for path in vmm.monitors().into_iter().filter(|_| !stopped) {
            match Qmp::connect(&path, LIMIT) {
                Ok(connected) => {
                    qmp = Some((connected, path));
                    break;
                }
                Err(error) => remarks.push(format!("its control socket is of no use: {error}")),
            }
        }
        let mtree = match &mut qmp {
            // Where it does not answer, its machine says enough.
            Some((qmp, _)) => qmp.human_monitor("info mtree -f", super::LIMIT).ok(),
            None => None,
        };
        let ram = vmm.ram(mtree.as_deref())?;
        if stopped {
            remarks.push("its registers are not known: its QEMU is stopped, and can't be asked".into());
        } else if qmp.is_none() {
            remarks.push(
                "the guest ran on while its memory was read, and its registers are not known: it has no control socket (-qmp) that answers"
                    .into(),
            );
        }
        remarks.extend(ram.besides);
        let version = qmp.as_ref().map(|(qmp, _)| format!(" {}", qmp.version())).unwrap_or_default();
        let kernel = vmm.kernel();
        let facts = Facts {
            guest: vmm.name(),
            kernel: kernel.as_deref().map(super::file_name).unwrap_or_default(),
            hypervisor: format!("QEMU{version} ({})", vmm.machine()),
            vcpus: vmm.vcpus(),
            moving: qmp.is_none() && !stopped,
            ..Facts::default()
        };
        let (qmp, control) = qmp.unzip();
        Ok(Self {
            facts,
            kernel,
            memory: ram.memory,
            only_by_size: ram.proof == Proof::Size,
            remarks,
            control,
            qmp: std::sync::Mutex::new(qmp),
        })
    }
}
