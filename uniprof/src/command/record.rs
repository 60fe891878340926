//! `uniprof record`: write a recording of a guest, started here or found running.
//!
//! ```text
//! $ uniprof record -F 999 -d 10 --vcpus 2 -o r.uniprof -- bundled workload=ratio
//! uniprof: uniprof-sample-kernel runs on tcg (this CPU offers neither vmx nor svm, though /dev/kvm exists)
//! wrote r.uniprof: 12248 samples in 10.0 s, nothing lost, 3.5 MB
//! next: `uniprof flame r.uniprof`, `uniprof report r.uniprof`
//! ```

use std::path::{Path, PathBuf};

use uniprof_collector::guests::GuestEntry;
use uniprof_collector::session::Summary;
use uniprof_wire::record::Class;

use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::guest::Target;
use crate::kernel::Kernel;
use crate::profile::Figures;
use crate::recorder::Job;
use crate::selection::Selection;
use crate::sites::Sites;
use crate::values::Transport;
use crate::{input, interrupt, options, output};

const EXAMPLES: &str = "\
Examples:
  uniprof record -- bundled workload=kv
  uniprof record -F 999 -d 10 --vcpus 2 -o r.uniprof -- bundled workload=ratio
  uniprof record -d 30 web                      a guest that `uniprof ls` lists
  uniprof record -d 2m -p 4711
  uniprof record --call-graph dwarf -- bundled workload=nofp     code without frame pointers
  uniprof record --call-graph dwarf,16384 web   16 KiB of stack with each sample, for deep stacks
  uniprof record --transport virtio-serial -- bundled            no memory shared with the guest
  uniprof record --publish 8080:80 -- bundled workload=http      a server, for as long as it runs
  uniprof record -e samples,logs -- bundled     no events, spans, switches
  uniprof record -e 'kv.*,off-cpu' -- bundled   event sites by name, and where threads wait; nothing else
  uniprof record -e +off-cpu,-kv.get -- bundled the default and off-CPU time, but not one event
  uniprof record -e +net --snaplen 96 web       packets and connections, for `pcap`, `net` and `trace`
  uniprof record -F 9999 --budget 1% web        as fast as 1 % of each vCPU allows

Ctrl-C ends a recording well. Until it is finished it is called FILE.partial; killed, that file can be read.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// A running guest, by name or pid
    #[arg(conflicts_with = "pid")]
    target: Option<String>,
    /// A running guest, by the pid of its QEMU
    #[arg(short, long, value_name = "PID")]
    pid: Option<u32>,
    /// A kernel to start (a file, or `bundled`), and words for its command line
    #[arg(last = true, value_name = "KERNEL", conflicts_with_all = ["target", "pid"])]
    start: Vec<String>,
    #[command(flatten)]
    sampling: options::Sampling,
    /// The recording to write [default: NAME.uniprof]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    guest: options::Guest,
    #[command(flatten)]
    symbols: options::Symbols,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let config = Config::load()?;
    let job = |name: &str, hz, call_graph| -> anyhow::Result<Job<'_>> {
        Ok(Job {
            output: args.output.clone().unwrap_or_else(|| free_name(name)),
            hz,
            events: args.sampling.events.clone(),
            packet_bytes: args.sampling.snaplen,
            budget: args.sampling.budget,
            call_graph,
            duration: args.sampling.duration(&config),
            boot_limit: args.guest.boot_limit.0,
            symbols: &args.symbols,
            cancel: interrupt::token()?,
        })
    };
    let pid = args.pid.map(|pid| pid.to_string());
    let (job, summary) = if let Some((kernel, words)) = args.start.split_first() {
        let kernel = Kernel::open(kernel)?;
        check(
            args.sampling.events.as_ref(),
            || Sites::of_file(kernel.path()).map_err(|error| format!("{error:#}")),
            &kernel.name(),
        )?;
        let spec = args.guest.spec(&config, &kernel, words)?;
        // Whoever writes the kernel's own word for something gets that.
        let told = |key| words.iter().any(|word| word.starts_with(key));
        let hz = (!told("uniprof.hz=")).then(|| args.sampling.frequency(&config));
        let call_graph = args.sampling.call_graph(&config).filter(|_| !told("uniprof.stack="));
        let job = job(&spec.name, hz, call_graph)?;
        let summary = job.record_new(spec)?;
        (job, summary)
    } else if let Some(target) = args.target.as_ref().or(pid.as_ref()) {
        let entry = Target::find(target)?.entry()?;
        check_transport(&entry, args.guest.transport)?;
        check(args.sampling.events.as_ref(), || Sites::of_entry(&entry), &entry.name)?;
        let job = job(&entry.name, args.sampling.asked(), args.sampling.call_graph(&config))?;
        let summary = job.record_running(&entry)?;
        (job, summary)
    } else {
        let way_out =
            "name a running guest (`uniprof ls`), or a kernel after `--`: `uniprof record -- bundled`";
        return Err(Failure::error(Exit::Usage, format!("what is to be recorded? {way_out}")));
    };
    tell(&job.output, &summary, !args.start.is_empty());
    Ok(())
}

/// Refuses names that are no event site's, where the sites are known.
pub(crate) fn check(
    wanted: Option<&Selection>,
    sites: impl FnOnce() -> Result<Sites, String>,
    whose: &str,
) -> anyhow::Result<()> {
    let Some(wanted) = wanted.filter(|wanted| !wanted.patterns.is_empty()) else { return Ok(()) };
    let unknown = match sites() {
        Ok(sites) if !sites.is_empty() => {
            return wanted.check(&sites, whose).map_err(|why| Failure::error(Exit::Usage, why));
        }
        Ok(_) => format!("{whose} has none of its own"),
        Err(why) => why,
    };
    let patterns = &wanted.patterns;
    output::say(format_args!(
        "uniprof: whether there are event sites called {patterns} is not known ({unknown}); they are asked for all the same"
    ));
    Ok(())
}

/// A guest that runs has the one way that it was started with.
fn check_transport(entry: &GuestEntry, wanted: Option<Transport>) -> anyhow::Result<()> {
    let name = &entry.name;
    let why = match (wanted.unwrap_or_default(), &entry.port) {
        (Transport::Shm, Some(_)) => {
            format!("guest {name} shares no memory: it was started with --transport virtio-serial")
        }
        (Transport::VirtioSerial, None) => format!(
            "guest {name} has no serial port for records: start it with `uniprof run --transport virtio-serial`"
        ),
        _ => return Ok(()),
    };
    Err(Failure::error(Exit::Target, why))
}

/// `NAME.uniprof`, or `NAME-2.uniprof` where that exists: a name that nobody chose must not cost a recording.
fn free_name(name: &str) -> PathBuf {
    let extension = input::EXTENSION;
    let plain = PathBuf::from(format!("{name}.{extension}"));
    let numbered = (2..).map(|number| PathBuf::from(format!("{name}-{number}.{extension}")));
    let mut names = std::iter::once(plain).chain(numbered);
    names.find(|path| !path.exists()).unwrap_or_default()
}

fn tell(path: &Path, summary: &Summary, from_boot: bool) {
    let samples = summary.ledger.class(Class::Sample).received;
    let path = path.display();
    output::say(format_args!("wrote {path}: {}", outcome(summary)));
    if samples == 0 {
        let why = Figures::of(&summary.ledger, summary.elapsed, from_boot).why_no_samples();
        output::say(format_args!("uniprof: no samples: {why}"));
    } else {
        output::say(format_args!("next: `uniprof flame {path}`, `uniprof report {path}`"));
    }
}

/// What a recording came to, on one line.
pub(crate) fn outcome(summary: &Summary) -> String {
    let total = summary.ledger.total();
    let causes: Vec<String> = total
        .causes()
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(cause, count)| format!("{cause} {count}"))
        .collect();
    let lost = match causes.is_empty() {
        true => "nothing lost".into(),
        false => format!("lost {} of {} records ({})", total.lost(), total.emitted(), causes.join(", ")),
    };
    format!(
        "{} samples in {:.1} s, {lost}, {:.1} MB",
        summary.ledger.class(Class::Sample).received,
        summary.elapsed.as_secs_f64(),
        summary.bytes as f64 / 1e6
    )
}
