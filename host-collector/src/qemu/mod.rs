//! Starting a unikernel in QEMU, ready to be observed, and leaving nothing behind.
//!
//! [`LaunchSpec::command_line`] says what would be run and starts nothing; [`launch`] runs it. What it starts ends with the
//! [`Guest`] that it returns, on every path: dropping it kills and reaps QEMU and removes its files; if this very
//! process is killed with SIGKILL, the kernel kills QEMU (`PR_SET_PDEATHSIG`), and the files are swept by the next start.

mod accel;
mod command;
mod launch;
mod network;
mod process;
mod spec;

pub use accel::{Accelerator, AcceleratorChoice, HostCpu};
pub use command::{Files, shell_quoted};
pub(crate) use launch::PIPE_LIMIT;
pub use launch::{Guest, LaunchError, LaunchOptions, launch};
pub use network::{Network, Publish};
pub use process::GuestExit;
#[cfg(test)]
pub(crate) use process::Process;
pub use spec::{LaunchSpec, Machine, Placement, SpecError, Transport};
