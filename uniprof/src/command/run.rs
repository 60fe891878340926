//! `uniprof run`: boot a unikernel in QEMU, ready to be observed, with its console here.
//!
//! ```text
//! $ uniprof run bundled --name kv --vcpus 2 -- workload=kv
//! uniprof: kv (pid 4711) runs on tcg: this CPU offers neither vmx nor svm, though /dev/kvm exists
//! uniprof: elsewhere: `uniprof record kv`; here: Ctrl-C ends it
//! uniprof-sample-kernel: 2 vCPUs, 256 MiB, tsc 2100 MHz, region ivshmem 8 MiB at 0xfe000000
//! ```

use std::io;
use std::time::Duration;

use uniprof_collector::console::Sinks;
use uniprof_collector::guests::Registry;
use uniprof_collector::qemu::{self, Files, HostCpu, LaunchOptions, shell_quoted};

use crate::config::Config;
use crate::kernel::Kernel;
use crate::values::Hertz;
use crate::{guest, interrupt, options, output};

const EXAMPLES: &str = "\
Examples:
  uniprof run bundled -- workload=kv
  uniprof run unikernel.elf --name web --vcpus 2 --memory 512M
  uniprof run bundled --machine microvm --print-command";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The kernel: a file that `qemu -kernel` takes, or `bundled`
    kernel: String,
    /// Words for the kernel's command line
    #[arg(last = true, value_name = "ARGS")]
    words: Vec<String>,
    #[command(flatten)]
    guest: options::Guest,
    /// Samples per second and vCPU [default: the kernel's own]
    #[arg(short = 'F', long, value_name = "HZ", env = "UNIPROF_FREQUENCY", hide_env = true)]
    frequency: Option<Hertz>,
    /// Print QEMU's command line and start nothing
    #[arg(long)]
    print_command: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let config = Config::load()?;
    let kernel = Kernel::open(&args.kernel)?;
    let mut spec = args.guest.spec(&config, &kernel, &args.words);
    let hz = args.frequency.or(config.frequency);
    spec.cmdline.extend(hz.map(|hz| format!("uniprof.hz={}", hz.0)));
    if args.print_command {
        return print(&spec);
    }
    let cancel = interrupt::token()?;
    let console = Sinks { lines: None, copy: Some(Box::new(io::stdout())) };
    let options = LaunchOptions { console, cancel: cancel.clone() };
    let registry = Registry::open()?;
    let mut running = qemu::launch(&registry, &spec, options).map_err(guest::launch_failure)?;
    let accelerator = running.accelerator();
    let name = &spec.name;
    output::say(format_args!(
        "uniprof: {name} (pid {}) runs on {}: {}",
        running.entry().pid,
        accelerator.name,
        accelerator.reason
    ));
    output::say(format_args!("uniprof: elsewhere: `uniprof record {name}`; here: Ctrl-C ends it"));
    while running.wait(Duration::from_secs(3600), &cancel).is_none() && !cancel.is_cancelled() {}
    let stopped = running.exit().is_none();
    let asked_by_others = guest::was_told_to_quit(&mut running);
    let last = running.console().last_lines();
    let exit = running.shutdown();
    if stopped || asked_by_others { Ok(()) } else { guest::judge(name, exit, &last) }
}

/// The files are named as they would be, and none is made.
fn print(spec: &qemu::LaunchSpec) -> anyhow::Result<()> {
    use std::io::Write as _;
    spec.validate()?;
    let accelerator = HostCpu::probe().choose(spec.accelerator)?;
    let dir = Registry::open()?.path().join(&spec.name);
    let files = Files {
        owner_qmp: dir.join("owner.qmp"),
        qmp: dir.join("qmp"),
        memory: dir.join("memory"),
        ram: dir.join(if spec.placement() == qemu::Placement::Ram { "memory" } else { "ram" }),
    };
    let wall = uniprof_collector::clock::HostTime::now().realtime_ns;
    let mut out = output::stdout();
    writeln!(out, "{}", shell_quoted(&spec.command_line(&accelerator, &files, wall)?))?;
    Ok(out.flush()?)
}
