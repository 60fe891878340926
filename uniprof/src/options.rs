//! Options that several commands share.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use uniprof_collector::cpu::CpuState;
use uniprof_collector::qemu::{self, LaunchSpec};
use uniprof_flamegraph::Profile;
use uniprof_symbolizer::{Cache, Tables};
use uniprof_wire::record::MAX_PACKET_BYTES;

use crate::cache;
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::kernel::Kernel;
use crate::network::Network;
use crate::profile::{Named, View};
use crate::selection::Selection;
use crate::values::{
    Accel, Budget, CallGraph, Hertz, Image, Machine, Placement, Registers, Size, Span, Transport,
};

/// How long a guest may take until its probes show up.
pub(crate) const BOOT_LIMIT: Span = Span(Duration::from_secs(20));

/// How a guest is started.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Guest options")]
pub(crate) struct Guest {
    /// Number of vCPUs [default: 1]
    #[arg(long, value_name = "N", env = "UNIPROF_VCPUS", hide_env = true,
          value_parser = clap::value_parser!(u32).range(1..=64))]
    vcpus: Option<u32>,
    /// Its RAM [default: 256M]
    #[arg(long, value_name = "SIZE", env = "UNIPROF_MEMORY", hide_env = true)]
    memory: Option<Size>,
    /// The machine that QEMU emulates [default: q35]
    #[arg(long, env = "UNIPROF_MACHINE", hide_env = true)]
    machine: Option<Machine>,
    /// Where the observation region lies [default: ram; ivshmem for `bundled` on q35]
    #[arg(long, env = "UNIPROF_PLACEMENT", hide_env = true)]
    placement: Option<Placement>,
    /// How records get to the host [default: auto]
    #[arg(long, env = "UNIPROF_TRANSPORT", hide_env = true)]
    pub(crate) transport: Option<Transport>,
    /// Size of each ring; a vCPU has two [default: 1M]
    #[arg(long, value_name = "SIZE", env = "UNIPROF_RING", hide_env = true)]
    ring: Option<Size>,
    /// What runs the guest's instructions [default: auto]
    #[arg(long, env = "UNIPROF_ACCEL", hide_env = true)]
    accel: Option<Accel>,
    /// How others find the guest [default: the kernel's name]
    #[arg(long)]
    name: Option<String>,
    /// Initial RAM disk
    #[arg(long, value_name = "FILE")]
    initrd: Option<PathBuf>,
    /// A raw disk image, or what `qemu -drive` takes; repeatable
    #[arg(long, value_name = "FILE|SPEC")]
    drive: Vec<String>,
    #[command(flatten)]
    network: Network,
    /// Count instructions instead of time, such as shift=0,sleep=off (emulation only)
    #[arg(long, value_name = "SPEC")]
    icount: Option<String>,
    /// One more word for QEMU's command line; repeatable
    #[arg(long, value_name = "WORD", allow_hyphen_values = true)]
    qemu_arg: Vec<String>,
    /// How long the guest may take until its probes show up
    #[arg(long, value_name = "TIME", default_value_t = BOOT_LIMIT)]
    pub(crate) boot_limit: Span,
}

impl Guest {
    /// What to start: flag or variable over file over default. `words` go to the kernel.
    pub(crate) fn spec(
        &self,
        config: &Config,
        kernel: &Kernel,
        words: &[String],
    ) -> anyhow::Result<LaunchSpec> {
        let name = self.name.clone().unwrap_or_else(|| kernel.name());
        let defaults = LaunchSpec::new(name, kernel.path());
        let transport = self.transport.unwrap_or_default().into();
        let placement = match transport {
            qemu::Transport::Shm => {
                self.placement.or(config.placement).map(Into::into).or_else(|| kernel.placement())
            }
            qemu::Transport::VirtioSerial => self.placement.map(Into::into),
        };
        Ok(LaunchSpec {
            cmdline: words.to_vec(),
            initrd: self.initrd.clone(),
            drives: self.drive.clone(),
            extra: self.qemu_arg.clone(),
            vcpus: self.vcpus.or(config.vcpus).unwrap_or(defaults.vcpus),
            memory: self.memory.or(config.memory).map_or(defaults.memory, |size| size.0),
            machine: self.machine.or(config.machine).map_or(defaults.machine, Into::into),
            placement,
            transport,
            // A ring that is too large for the field is too large for a guest; the launcher says so.
            ring_bytes: self
                .ring
                .or(config.ring)
                .map_or(defaults.ring_bytes, |size| u32::try_from(size.0).unwrap_or(u32::MAX)),
            accelerator: self.accel.or(config.accel).map_or(defaults.accelerator, Into::into),
            icount: self.icount.clone(),
            network: self.network.resolve(kernel, words)?,
            ..defaults
        })
    }
}

/// How often and for how long is sampled.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Sampling {
    /// Samples per second and vCPU [default: 99]
    #[arg(short = 'F', long, value_name = "HZ", env = "UNIPROF_FREQUENCY", hide_env = true)]
    frequency: Option<Hertz>,
    /// For how long, such as 10, 500ms or 2m [default: until Ctrl-C or the guest's end]
    #[arg(short, long, value_name = "TIME", env = "UNIPROF_DURATION", hide_env = true)]
    duration: Option<Span>,
    /// What to record: classes, such as samples,off-cpu, and names of event sites, such as http.*,-http.raw; a first word with + or
    /// - changes the default [default: light]
    #[arg(short, long = "events", value_name = "WHAT", allow_hyphen_values = true)]
    pub(crate) events: Option<Selection>,
    /// Bytes of each packet, where packets are recorded (-e +net) [default: 128]
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(1..=MAX_PACKET_BYTES as i64))]
    pub(crate) snaplen: Option<u32>,
    /// What the probes may cost each vCPU, such as 1%: beyond that the guest samples and records less
    #[arg(long, value_name = "SHARE")]
    pub(crate) budget: Option<Budget>,
    /// Record stacks: always so, for fingers that know perf
    #[arg(short = 'g', hide_short_help = true)]
    _stacks: bool,
    /// How stacks are found: fp (frame pointers), or dwarf[,BYTES] (unwind tables, from so many bytes of stack) [default: fp]
    #[arg(long, value_name = "HOW", env = "UNIPROF_CALL_GRAPH", hide_env = true)]
    call_graph: Option<CallGraph>,
}

impl Sampling {
    /// The rate in Hz. 99, not 100: no step with what the guest does every 10 ms.
    pub(crate) fn frequency(&self, config: &Config) -> u32 {
        self.frequency.or(config.frequency).unwrap_or(Hertz(99)).0
    }

    /// The rate in Hz, where one was asked for on this very command line.
    pub(crate) fn asked(&self) -> Option<u32> {
        self.frequency.map(|hertz| hertz.0)
    }

    /// How stacks are found, where that was said.
    pub(crate) fn call_graph(&self, config: &Config) -> Option<CallGraph> {
        self.call_graph.or(config.call_graph)
    }

    /// The length, where there is one.
    pub(crate) fn duration(&self, config: &Config) -> Option<Duration> {
        self.duration.or(config.duration).map(|span| span.0)
    }
}

/// Where names come from.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Symbol options")]
pub(crate) struct Symbols {
    /// The guest's ELF file, with debug info
    #[arg(long, value_name = "ELF")]
    pub(crate) kernel: Option<PathBuf>,
    /// One more image of the guest, and how far from its link addresses it runs; repeatable
    #[arg(long, value_name = "ELF[@BIAS]")]
    pub(crate) image: Vec<Image>,
    /// A directory with images or a build-id tree; repeatable
    #[arg(long, value_name = "DIR", env = "UNIPROF_SYMBOLS", hide_env = true, value_delimiter = ':')]
    symbols: Vec<PathBuf>,
    /// Use an image even if it is not the one that the guest runs
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) cache: SymbolCache,
}

/// Whether symbol tables are kept.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct SymbolCache {
    /// Use no symbol tables of earlier runs, and keep none
    #[arg(long)]
    no_cache: bool,
}

impl SymbolCache {
    /// How names are looked up: with tables from the user's cache, and where there is none with one that is made when many
    /// addresses are asked for.
    pub(crate) fn tables(&self, config: &Config) -> Tables {
        let limit = config.cache.map_or(Cache::DEFAULT_LIMIT, |size| size.0);
        let folder = cache::symbols().filter(|_| !self.no_cache && limit > 0);
        let cache = folder.map(|folder| Cache::new(folder).with_limit(limit));
        Tables { cache, ..Tables::default() }
    }
}

impl Symbols {
    /// The directories to look in.
    pub(crate) fn dirs(&self, config: &Config) -> Vec<PathBuf> {
        if self.symbols.is_empty() { config.symbols.clone() } else { self.symbols.clone() }
    }
}

/// How a file is taken that does not say itself what it is.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Dump options")]
pub(crate) struct Dump {
    /// Take the file for physical memory from address 0, whatever it looks like
    #[arg(long)]
    raw: bool,
    /// The registers of a vCPU, in place of the dump's; repeatable, in the order of the vCPUs
    #[arg(long, value_name = "rip=0x…,rsp=0x…,rbp=0x…,cr3=0x…")]
    regs: Vec<Registers>,
}

impl Dump {
    /// Whether the file is physical memory and nothing else.
    pub(crate) fn is_raw(&self) -> bool {
        self.raw
    }

    /// The registers that were given.
    pub(crate) fn cpus(&self) -> Vec<CpuState> {
        let numbered = (0..).zip(&self.regs);
        numbered.map(|(vcpu, registers)| CpuState { vcpu, ..registers.0.clone() }).collect()
    }
}

/// How memory is looked at. Its headings would take in what comes after: it comes last.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Memory {
    #[command(flatten)]
    pub(crate) dump: Dump,
    #[command(flatten)]
    pub(crate) symbols: Symbols,
}

/// What is looked at, in place of what ran.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
#[command(next_help_heading = "View options")]
#[group(id = "view", multiple = false)]
pub(crate) struct Views {
    /// Where threads were blocked, for how long, and who ended that (recorded with -e off-cpu)
    #[arg(long)]
    off_cpu: bool,
    /// The same with the stacks of those who ended it on top
    #[arg(long)]
    wakeup: bool,
    /// Who made others wait for locks, with the waiter on top (recorded with -e locks)
    #[arg(long)]
    locks: bool,
    /// Which stacks allocated the bytes that are live at the end, be they older than the recording, or all that were allocated while it was
    /// made (recorded with -e heap)
    #[arg(long, value_name = "WHICH", num_args = 0..=1, require_equals = true, default_missing_value = "live")]
    heap: Option<HeapBytes>,
}

/// Which bytes of the heap count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum HeapBytes {
    /// Those that have not been given back
    Live,
    /// All that were allocated
    Allocated,
}

impl Views {
    /// The view that was chosen.
    pub(crate) fn chosen(self) -> View {
        match self {
            Self { off_cpu: true, .. } => View::OffCpu,
            Self { wakeup: true, .. } => View::Wakeups,
            Self { locks: true, .. } => View::Locks,
            Self { heap: Some(HeapBytes::Live), .. } => View::LiveHeap,
            Self { heap: Some(HeapBytes::Allocated), .. } => View::AllocatedHeap,
            _ => View::Cpu,
        }
    }
}

impl Views {
    /// The option that chooses the view; `None` for samples of the CPU.
    pub(crate) fn word(self) -> Option<&'static str> {
        match self.chosen() {
            View::Cpu => None,
            View::OffCpu => Some("--off-cpu"),
            View::Wakeups => Some("--wakeup"),
            View::Locks => Some("--locks"),
            View::LiveHeap => Some("--heap"),
            View::AllocatedHeap => Some("--heap=allocated"),
        }
    }
}

/// Which samples count.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Filter options")]
pub(crate) struct Filter {
    /// Only samples, or waits, of this thread, by name or id; repeatable
    #[arg(long, value_name = "NAME|ID")]
    thread: Vec<String>,
    /// Only samples, or waits, of this vCPU; repeatable
    #[arg(long, value_name = "N")]
    vcpu: Vec<u32>,
}

impl Filter {
    /// Whether samples of this vCPU may count.
    pub(crate) fn takes_vcpu(&self, vcpu: u32) -> bool {
        self.vcpu.is_empty() || self.vcpu.contains(&vcpu)
    }

    /// The part of the profile that was asked for.
    pub(crate) fn apply<'a>(&self, named: &'a Named) -> anyhow::Result<Cow<'a, Profile>> {
        if self.thread.is_empty() && self.vcpu.is_empty() {
            return Ok(Cow::Borrowed(&named.profile));
        }
        if named.view == View::LiveHeap && !self.vcpu.is_empty() {
            let sentence = "--vcpu: the guest's table of live blocks does not say on which vCPU they were allocated; use \
                            --thread, or --heap=allocated";
            return Err(Failure::error(Exit::Usage, sentence));
        }
        let threads: BTreeMap<u32, String> = named
            .profile
            .owners()
            .into_iter()
            .map(|(owner, _)| owner.thread)
            .map(|id| (id, named.figures.thread(id)))
            .collect();
        let wanted = |id: u32| {
            let name = threads.get(&id);
            self.thread.iter().any(|word| Some(word) == name || word.parse() == Ok(id))
        };
        let shown = named
            .profile
            .filter(|owner| (self.thread.is_empty() || wanted(owner.thread)) && self.takes_vcpu(owner.vcpu));
        if shown.total().samples == 0 && named.profile.total().samples > 0 {
            let names: Vec<&str> = threads.values().map(String::as_str).collect();
            let (one, several) = named.profile.measured().counted();
            return Err(Failure::error(
                Exit::Failed,
                format!("no {one} is of that thread and vCPU; there are {several} of {}", names.join(", ")),
            ));
        }
        Ok(Cow::Owned(shown))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        guest: Guest,
        #[command(flatten)]
        sampling: Sampling,
    }

    #[test]
    fn flags_go_over_the_file_and_the_file_over_defaults() {
        let kernel = Kernel::at("k.elf");
        let config = Config { vcpus: Some(4), machine: Some(Machine::Microvm), ..Config::default() };
        let line = Line::parse_from(["x", "--vcpus", "2", "-F", "199", "--ring", "64K"]);
        let spec = line.guest.spec(&config, &kernel, &["workload=kv".to_owned()]).unwrap();
        assert_eq!((spec.vcpus, spec.machine, spec.ring_bytes), (2, qemu::Machine::Microvm, 64 << 10));
        assert_eq!(spec.cmdline, ["workload=kv"]);
        assert_eq!(line.sampling.frequency(&config), 199);
        assert_eq!(line.sampling.duration(&config), None);
        let config = Config { call_graph: Some(CallGraph::Dwarf(8192)), ..config };
        assert_eq!(line.sampling.call_graph(&config), Some(CallGraph::Dwarf(8192)));
        let frame_pointers = Line::parse_from(["x", "-g", "--call-graph", "fp"]);
        assert_eq!(frame_pointers.sampling.call_graph(&config), Some(CallGraph::Fp));
        let plain = Line::parse_from(["x"]);
        assert_eq!(plain.guest.spec(&config, &kernel, &[]).unwrap().vcpus, 4);
        assert_eq!(plain.guest.spec(&Config::default(), &kernel, &[]).unwrap().machine, qemu::Machine::Q35);
        assert_eq!(plain.sampling.frequency(&Config::default()), 99);
    }
}
