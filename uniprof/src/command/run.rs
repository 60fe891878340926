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
use uniprof_collector::qemu::{self, Files, Guest, HostCpu, LaunchOptions, LaunchSpec, shell_quoted};

use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::kernel::Kernel;
use crate::supervisor::{Crashes, Supervisor};
use crate::values::Hertz;
use crate::{guest, interrupt, options, output};

const EXAMPLES: &str = "\
Examples:
  uniprof run bundled -- workload=kv
  uniprof run unikernel.elf --name web --vcpus 2 --memory 512M
  uniprof run bundled --machine microvm --print-command
  uniprof run bundled --publish 8080:80 -- workload=http            then: curl http://127.0.0.1:8080/healthz
  uniprof run --on-crash dump=cores --restart on-crash -- bundled workload=kv
  uniprof run --on-crash dump --no-restart -- bundled workload=crash-null    then: uniprof core FILE

A crash is a panic, a triple fault or another reset, an end with an exit status that is not clean, and a vCPU without a \
sign of life (--watchdog). Cores are called NAME-TIME-BUILD.core and can be read by their owner only.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The kernel: a file that `qemu -kernel` takes, or `bundled`; may also be the first word after `--`
    kernel: Option<String>,
    /// Words for the kernel's command line
    #[arg(last = true, value_name = "ARGS")]
    words: Vec<String>,
    #[command(flatten)]
    guest: options::Guest,
    #[command(flatten)]
    crashes: Crashes,
    /// Samples per second and vCPU [default: the kernel's own]
    #[arg(short = 'F', long, value_name = "HZ", env = "UNIPROF_FREQUENCY", hide_env = true)]
    frequency: Option<Hertz>,
    /// Print QEMU's command line and start nothing
    #[arg(long)]
    print_command: bool,
}

impl Args {
    /// The kernel, and the words for it.
    fn kernel(&self) -> anyhow::Result<(&str, &[String])> {
        match (&self.kernel, self.words.split_first()) {
            (Some(kernel), _) => Ok((kernel, &self.words)),
            (None, Some((kernel, words))) => Ok((kernel, words)),
            (None, None) => Err(Failure::error(
                Exit::Usage,
                "what is to be run? name a kernel's file, or `bundled`: `uniprof run bundled`",
            )),
        }
    }
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let config = Config::load()?;
    let (word, words) = args.kernel()?;
    let kernel = Kernel::open(word)?;
    let mut spec = args.guest.spec(&config, &kernel, words)?;
    let hz = args.frequency.or(config.frequency);
    spec.cmdline.extend(hz.map(|hz| format!("uniprof.hz={}", hz.0)));
    spec.hold_crashed = args.crashes.are_watched();
    if args.print_command {
        return print(&spec);
    }
    if spec.hold_crashed {
        return Supervisor::new(&args.crashes, &spec, word)?.run();
    }
    let cancel = interrupt::token()?;
    let mut running = launch(&spec, &cancel)?;
    while running.wait(Duration::from_secs(3600), &cancel).is_none() && !cancel.is_cancelled() {}
    let stopped = running.exit().is_none();
    let asked_by_others = guest::was_told_to_quit(&mut running);
    let last = running.console().last_lines();
    let exit = running.shutdown();
    if stopped || asked_by_others { Ok(()) } else { guest::judge(&spec.name, exit, &last) }
}

/// Starts the guest with its console here, and says so.
pub(crate) fn launch(spec: &LaunchSpec, cancel: &uniprof_collector::cancel::Cancel) -> anyhow::Result<Guest> {
    let console = Sinks { lines: None, copy: Some(Box::new(io::stdout())) };
    let options = LaunchOptions { console, cancel: cancel.clone() };
    let registry = Registry::open()?;
    let running = qemu::launch(&registry, spec, options).map_err(guest::launch_failure)?;
    let accelerator = running.accelerator();
    let name = &spec.name;
    output::say(format_args!(
        "uniprof: {name} (pid {}) runs on {}: {}",
        running.entry().pid,
        accelerator.name,
        accelerator.reason
    ));
    output::say(format_args!("uniprof: elsewhere: `uniprof record {name}`; here: Ctrl-C ends it"));
    Ok(running)
}

/// The files are named as they would be, and none is made.
fn print(spec: &LaunchSpec) -> anyhow::Result<()> {
    use std::io::Write as _;
    spec.validate()?;
    let accelerator = HostCpu::probe().choose(spec.accelerator)?;
    let dir = Registry::open()?.path().join(&spec.name);
    let files = Files {
        owner_qmp: dir.join("owner.qmp"),
        qmp: dir.join("qmp"),
        port: dir.join("port"),
        memory: dir.join("memory"),
        ram: dir.join(if spec.placement() == qemu::Placement::Ram { "memory" } else { "ram" }),
    };
    let wall = uniprof_collector::clock::HostTime::now().realtime_ns;
    let mut out = output::stdout();
    writeln!(out, "{}", shell_quoted(&spec.command_line(&accelerator, &files, wall)?))?;
    Ok(out.flush()?)
}
