//! `uniprof report`: the top functions of a recording, its vCPUs and threads, what was lost and what it cost.
//!
//! ```text
//! $ uniprof report r.uniprof --top 4
//! uniprof-sample-kernel: 12,248 samples at 999 Hz over 10.17 s
//! no sample lost
//! profiler's own cost 0.52 % of vCPU time
//! emulated CPU (TCG): timings are not the processor's
//! build-id 3f9aff4dd336457761de46869d50e9d6fd3dd42d
//! idle 0.0 % of vCPU time
//! 100.0 % of samples fully named
//!
//!     SELF     TOTAL  FUNCTION
//!  98.82 %   98.82 %  uniprof_sample_kernel::workload::ratio::mix
//!   0.66 %    0.66 %  core::hint::black_box
//!   0.25 %   99.98 %  uniprof_sample_kernel::workload::ratio::work
//!   0.12 %   59.36 %  ratio_sixty
//! … and 31 more (--top N)
//!
//! VCPU  SAMPLES  MISSED TICKS  RECORDS EMITTED  RECEIVED  LOST  LOST BY
//! 0     6196     3374          6202             6202      0
//! 1     6052     3491          6053             6053      0
//!
//! THREAD  SAMPLES  NAME
//! 2       6194     ratio-0
//! 3       6052     ratio-1
//! 1       2        main
//! ```
//!
//! Where the guest keeps numbers of itself, they follow, here those of `workload=kv requests=100000`:
//!
//! ```text
//! HISTOGRAM        COUNT   MEAN  P50  P90  P99  MAX
//! kv.answer_bytes  100000  44.7  7    51   927  1272
//!
//! VALUE      KIND     RECORDS  FIRST  LAST
//! kv.misses  counter  1360     7377   31320
//! kv.served  counter  1360     13056  100000
//! kv.depth   gauge    1360     3      4
//! ```

mod clock;
mod measured;
mod metrics;
mod names;

use std::io::Write;

use serde::Serialize;
use uniprof_flamegraph::{CallTree, Direction, Function, Kind, Measure, Order, Profile, Pruned};
use uniprof_wire::record::Class;

use crate::profile::{self, Named, Times, View};
use crate::{options, output};

const EXAMPLES: &str = "\
Examples:
  uniprof report                                the newest recording here
  uniprof report r.uniprof --tree
  uniprof report r.uniprof --off-cpu            where threads waited, for how long, who ended it
  uniprof report r.uniprof --locks --json | jq '.stacks[0]'
  uniprof report sample --json | jq '.functions[0]'";

/// Calls below this share of all samples are not worth a line.
const LEAST_SHARE: f64 = 0.01;

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// A recording, folded stacks (`-`: from standard input), or `sample`; left out, the newest recording here
    input: Option<String>,
    /// Print a JSON document (schema uniprof.report/1; uniprof.measured/1 of what is not on the CPU)
    #[arg(long)]
    json: bool,
    /// How many functions, or stacks, are listed
    #[arg(long, value_name = "N", default_value_t = 20)]
    top: usize,
    /// Print the call tree, too
    #[arg(long)]
    tree: bool,
    #[command(flatten)]
    views: options::Views,
    #[command(flatten)]
    filter: options::Filter,
    #[command(flatten)]
    symbols: options::Symbols,
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    guest: &'a str,
    seconds: f64,
    rate: Option<u32>,
    /// Bytes of stack that samples took along at most; 0 where the guest walked frame pointers.
    snapshot_bytes: u32,
    accelerator: Option<&'a str>,
    /// Whether timings are those of an emulator.
    emulated: bool,
    samples: u64,
    named_share: f64,
    own_cost: Option<f64>,
    idle_share: Option<f64>,
    functions: Vec<Row>,
    vcpus: Vec<Vcpu>,
    threads: Vec<Thread>,
    histograms: Vec<metrics::Histogram>,
    values: Vec<metrics::Value>,
    image: Image<'a>,
    clock: clock::Clock,
    notes: &'a [String],
}

#[derive(Serialize)]
struct Row {
    name: String,
    #[serde(rename = "self")]
    own: u64,
    total: u64,
    file: Option<String>,
    /// Whether the name is the reason why there is none.
    unknown: bool,
}

#[derive(Serialize)]
struct Vcpu {
    id: u32,
    samples: u64,
    missed_ticks: u64,
    /// Ticks of the guest's clock that it was up, idle, and in the profiler.
    up_tsc: u64,
    idle_tsc: u64,
    own_tsc: u64,
    #[serde(flatten)]
    all: Account,
    by_class: std::collections::BTreeMap<&'static str, Account>,
}

#[derive(Serialize)]
struct Account {
    emitted: u64,
    received: u64,
    lost: u64,
    lost_by: std::collections::BTreeMap<&'static str, u64>,
}

#[derive(Serialize)]
struct Thread {
    id: u32,
    name: String,
    samples: u64,
}

#[derive(Serialize)]
struct Image<'a> {
    kernel: &'a str,
    build_id: Option<&'a str>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let input = profile::choose(args.input.as_deref())?;
    let view = args.views.chosen();
    let named = profile::read_view(&input, &args.symbols, Times::Summed, view)?;
    let shown = args.filter.apply(&named)?;
    if view != View::Cpu {
        named.require_samples()?;
        if args.json {
            return output::json(&measured::document(&named, &shown));
        }
        let mut out = output::stdout();
        measured::print(&mut out, &named, &shown, args)?;
        return Ok(out.flush()?);
    }
    if args.json {
        output::json(&document(&named, &shown))?;
    } else {
        let mut out = output::stdout();
        print(&mut out, &named, &shown, args)?;
        out.flush()?;
    }
    // What was lost, and why, is worth reading even then.
    named.require_samples()
}

fn document<'a>(named: &'a Named, shown: &Profile) -> Document<'a> {
    let figures = &named.figures;
    let session = &figures.session;
    Document {
        schema: "uniprof.report/1",
        guest: &session.guest,
        seconds: figures.seconds,
        rate: figures.rate(),
        snapshot_bytes: figures.snapshot_bytes(),
        accelerator: session.accelerator.as_ref().map(|accelerator| accelerator.name.as_str()),
        emulated: figures.is_emulated(),
        samples: shown.total().samples,
        named_share: profile::named_share(shown),
        own_cost: figures.own_cost(),
        idle_share: figures.idle(),
        functions: shown.functions(Measure::Samples).into_iter().map(Row::new).collect(),
        vcpus: figures.vcpus.iter().map(|(id, vcpu)| Vcpu::new(*id, vcpu)).collect(),
        threads: threads(named, shown),
        histograms: metrics::histograms(named),
        values: metrics::values(named),
        image: Image { kernel: &session.kernel, build_id: session.build_id.as_deref() },
        clock: clock::Clock::new(figures),
        notes: &figures.notes,
    }
}

impl Row {
    fn new(function: Function) -> Self {
        Self {
            own: function.own.samples,
            total: function.total.samples,
            file: function.file,
            unknown: function.unknown,
            name: function.name,
        }
    }
}

impl Vcpu {
    fn new(id: u32, vcpu: &profile::figures::Vcpu) -> Self {
        Self {
            id,
            samples: vcpu.class(Class::Sample).received,
            missed_ticks: vcpu.missed,
            up_tsc: vcpu.up,
            idle_tsc: vcpu.idle,
            own_tsc: vcpu.own,
            all: Account::new(vcpu.all()),
            by_class: Class::ALL
                .into_iter()
                .map(|class| (class.name(), Account::new(vcpu.class(class))))
                .filter(|(_, account)| account.emitted > 0)
                .collect(),
        }
    }
}

impl Account {
    fn new(tally: uniprof_collector::accounting::Tally) -> Self {
        Self {
            emitted: tally.emitted(),
            received: tally.received,
            lost: tally.lost(),
            lost_by: tally.causes().into_iter().collect(),
        }
    }
}

fn threads(named: &Named, shown: &Profile) -> Vec<Thread> {
    let mut samples = std::collections::BTreeMap::<u32, u64>::new();
    for (owner, amount) in shown.owners() {
        *samples.entry(owner.thread).or_default() += amount.samples;
    }
    let named = |(id, samples)| Thread { id, name: named.figures.thread(id), samples };
    let mut threads: Vec<Thread> = samples.into_iter().map(named).collect();
    threads.sort_by_key(|thread| (std::cmp::Reverse(thread.samples), thread.id));
    threads
}

fn print(out: &mut impl Write, named: &Named, shown: &Profile, args: &Args) -> anyhow::Result<()> {
    let title = profile::title(named, shown);
    writeln!(out, "{}", title.heading())?;
    writeln!(out, "{}", title.details().replace(" · ", "\n"))?;
    let others = named.figures.others();
    if others.lost() > 0 {
        writeln!(out, "lost {} of {} records that are no samples", others.lost(), others.emitted())?;
    }
    match named.figures.snapshot_bytes() {
        0 => {}
        bytes => writeln!(out, "stacks unwound here, from snapshots of at most {bytes} bytes")?,
    }
    if let Some(idle) = named.figures.idle() {
        writeln!(out, "idle {:.1} % of vCPU time", idle * 100.0)?;
    }
    writeln!(out, "{:.1} % of samples fully named", profile::named_share(shown) * 100.0)?;
    clock::print(out, &named.figures)?;
    let all = shown.total().samples;
    let percent = |part: u64| format!("{:>6.2} %", part as f64 * 100.0 / all.max(1) as f64);
    let functions = shown.functions(Measure::Samples);
    let mut rows = vec![["    SELF", "   TOTAL", "FUNCTION"].map(str::to_owned)];
    rows.extend(functions.iter().take(args.top).map(|function| {
        [percent(function.own.samples), percent(function.total.samples), function.name.clone()]
    }));
    writeln!(out)?;
    output::table(out, &rows)?;
    if functions.len() > args.top {
        writeln!(out, "… and {} more (--top N)", functions.len() - args.top)?;
    }
    if args.tree {
        writeln!(out)?;
        print_tree(out, shown, percent)?;
    }
    print_owners(out, named, shown)?;
    metrics::print(out, named)?;
    Ok(())
}

fn print_tree(out: &mut impl Write, shown: &Profile, percent: impl Fn(u64) -> String) -> anyhow::Result<()> {
    let measure = shown.measured().measure();
    let mut tree = CallTree::new(shown, Direction::Callees, Order::Heaviest(measure));
    tree.prune(measure, LEAST_SHARE, Pruned::IntoParent);
    writeln!(out, "   TOTAL      SELF  CALL TREE")?;
    for node in tree.nodes() {
        let frame = node.frame.map(|id| shown.frame(id));
        let name = frame.map_or("[others]", |frame| frame.name);
        let mark = match frame {
            Some(frame) if frame.inlined => " (inlined)",
            Some(frame) if frame.kind == Kind::Thread => " (thread)",
            _ => "",
        };
        let [total, own] = [node.total, node.own].map(|amount| percent(measure.of(amount)));
        writeln!(out, "{total}  {own}  {:indent$}{name}{mark}", "", indent = node.depth as usize * 2)?;
    }
    Ok(())
}

fn print_owners(out: &mut impl Write, named: &Named, shown: &Profile) -> anyhow::Result<()> {
    let head = ["VCPU", "SAMPLES", "MISSED TICKS", "RECORDS EMITTED", "RECEIVED", "LOST", "LOST BY"];
    let mut rows = vec![head.map(str::to_owned)];
    for (id, vcpu) in &named.figures.vcpus {
        let all = vcpu.all();
        let causes: Vec<String> = all
            .causes()
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .map(|(cause, count)| format!("{cause} {count}"))
            .collect();
        let numbers =
            [vcpu.class(Class::Sample).received, vcpu.missed, all.emitted(), all.received, all.lost()];
        let [samples, missed, emitted, received, lost] = numbers.map(|number| number.to_string());
        rows.push([id.to_string(), samples, missed, emitted, received, lost, causes.join(", ")]);
    }
    writeln!(out)?;
    output::table(out, &rows)?;
    let mut rows = vec![["THREAD", "SAMPLES", "NAME"].map(str::to_owned)];
    for thread in threads(named, shown) {
        rows.push([thread.id.to_string(), thread.samples.to_string(), thread.name]);
    }
    writeln!(out)?;
    output::table(out, &rows)?;
    Ok(())
}
