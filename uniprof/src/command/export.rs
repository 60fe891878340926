//! `uniprof export`: a profile in another tool's format. What each of them holds is in `docs/exports.md`.
//!
//! ```text
//! $ uniprof export r.uniprof --format pprof
//! wrote r.pb.gz: 12248 samples; next: go tool pprof -http=: r.pb.gz
//! $ uniprof export r.uniprof --format folded | grep ratio_ten | cut -d';' -f1,6-
//! ratio-0;uniprof_sample_kernel::workload::ratio::round;ratio_ten 2
//! ratio-0;uniprof_sample_kernel::workload::ratio::round;ratio_ten;uniprof_sample_kernel::workload::ratio::unit (inlined) 3
//! …
//! ```

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use uniprof_flamegraph::{
    Measure, Profile, RenderError, Timeline, Title, firefox_with, folded, json, perf_script, perfetto_with,
    pprof, speedscope,
};

use crate::exit::{Exit, Failure};
use crate::profile::{self, Times, View};
use crate::{options, output};

const EXAMPLES: &str = "\
Examples:
  uniprof export sample --format folded | inferno-flamegraph > sample.svg
  uniprof export r.uniprof --format pprof && go tool pprof -http=: r.pb.gz
  uniprof export r.uniprof --format firefox                      load it at https://profiler.firefox.com
  uniprof export r.uniprof --format speedscope -o kv.json        load it at https://www.speedscope.app
  uniprof export r.uniprof --format perfetto                     open it at https://ui.perfetto.dev
  uniprof export r.uniprof --format perf-script | inferno-collapse-perf
  uniprof export r.uniprof --off-cpu --format pprof              blocked time, as off_cpu/nanoseconds
  uniprof export r.uniprof --format json | jq '.threads'
  stackcollapse-perf.pl perf.txt | uniprof export - --format pprof -o perf.pb.gz";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// A recording, folded stacks (`-`: from standard input), or `sample`; left out, the newest recording here
    input: Option<String>,
    /// The format
    #[arg(long)]
    format: Format,
    /// The file to write; `-` is standard output [default: that for folded, perf-script and json, else a file called
    /// after the recording]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// With folded: counts are nanoseconds of vCPU time, not samples
    #[arg(long)]
    time: bool,
    #[command(flatten)]
    views: options::Views,
    #[command(flatten)]
    filter: options::Filter,
    #[command(flatten)]
    symbols: options::Symbols,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One line per stack, root first, with its samples: flamegraph.pl, inferno, speedscope
    Folded,
    /// Go's pprof, Grafana Pyroscope: gzipped protobuf with inlines, lines, time, and labels for thread and vCPU
    Pprof,
    /// Firefox Profiler: a track for each thread, in time, with inlines and lines; states, spans, interrupts and log lines as markers
    Firefox,
    /// speedscope: a profile for each thread and each vCPU, with lines
    Speedscope,
    /// Perfetto: samples, states and spans of threads, interrupts, counters and log lines, in time
    Perfetto,
    /// What `perf script` prints, for any tool that reads that
    PerfScript,
    /// Everything that uniprof knows of the profile (schema uniprof.profile/1)
    Json,
}

impl Format {
    /// How its files end, where standard output is no good place for it.
    fn extension(self) -> Option<&'static str> {
        match self {
            Self::Pprof => Some("pb.gz"),
            Self::Firefox => Some("firefox.json"),
            Self::Speedscope => Some("speedscope.json"),
            Self::Perfetto => Some("perfetto-trace"),
            Self::Folded | Self::PerfScript | Self::Json => None,
        }
    }

    fn is_binary(self) -> bool {
        matches!(self, Self::Pprof | Self::Perfetto)
    }

    /// Its name, where it places every sample in time.
    fn needs_times(self) -> Option<&'static str> {
        match self {
            Self::Perfetto => Some("perfetto"),
            Self::PerfScript => Some("perf-script"),
            _ => None,
        }
    }

    /// Whether it has a place for what happened besides samples.
    fn has_events(self) -> bool {
        matches!(self, Self::Firefox | Self::Perfetto)
    }

    /// What to do with the file.
    fn next_step(self, path: &Path) -> String {
        let path = path.display();
        match self {
            Self::Folded => format!("inferno-flamegraph {path} > flame.svg"),
            Self::Pprof => format!("go tool pprof -http=: {path}"),
            Self::Firefox => format!("open https://profiler.firefox.com and load {path}"),
            Self::Speedscope => format!("npx speedscope {path}, or load it at https://www.speedscope.app"),
            Self::Perfetto => format!("open https://ui.perfetto.dev and load {path}"),
            Self::PerfScript => format!("inferno-collapse-perf {path} | inferno-flamegraph > flame.svg"),
            Self::Json => format!("jq '.threads' {path}"),
        }
    }

    /// Whether each sample's time is of use to it.
    fn times(self) -> Times {
        // pprof has room for the time of the first one.
        if self == Self::Folded { Times::Summed } else { Times::Kept }
    }

    fn write(
        self,
        profile: &Profile,
        timeline: &Timeline,
        title: &Title,
        measure: Measure,
        mut out: &mut dyn Write,
    ) -> Result<(), RenderError> {
        match self {
            Self::Folded => folded(profile, measure, &mut out),
            Self::Pprof => pprof(profile, title, &mut out),
            Self::Firefox => firefox_with(profile, timeline, title, &mut out),
            Self::Speedscope => speedscope(profile, title, &mut out),
            Self::Perfetto => perfetto_with(profile, timeline, title, &mut out),
            Self::PerfScript => perf_script(profile, title, &mut out),
            Self::Json => json(profile, title, &mut out),
        }
    }
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let format = args.format;
    let input = profile::choose(args.input.as_deref())?;
    let path = match (&args.output, format.extension()) {
        (Some(path), _) => path.clone(),
        (None, Some(extension)) => format!("{}.{extension}", input.stem()).into(),
        (None, None) => "-".into(),
    };
    let is_stdout = path == Path::new("-");
    refuse_contradictions(args, is_stdout)?;
    let view = args.views.chosen();
    refuse_view(format, view)?;
    // What is not on the CPU is exported as a sum.
    let times = if view == View::Cpu { format.times() } else { Times::Summed };
    let named = profile::read_view(&input, &args.symbols, times, view)?;
    named.tell_notes();
    // Threads that are filtered are those of samples: a trace viewer hides tracks by itself.
    let timeline = if view == View::Cpu && format.has_events() && named.figures.tsc_hz > 0 {
        profile::timeline(&input, &args.symbols)?
    } else {
        Timeline::default()
    };
    if timeline.moments.is_empty() {
        named.require_samples()?;
    }
    let shown = args.filter.apply(&named)?;
    let title = profile::title(&named, &shown);
    let measure = if args.time { Measure::Weight } else { shown.measured().measure() };
    if measure.of(shown.total()) == 0 && timeline.moments.is_empty() {
        return Err(Failure::error(Exit::Failed, "--time: this input does not tell vCPU time; leave it out"));
    }
    if let (Some(format), true) =
        (format.needs_times(), shown.timeline().is_empty() && timeline.moments.is_empty())
    {
        // Before a file is begun, so that the sentence is about the input.
        return Err(RenderError::NoTimes { format }.into());
    }
    output::file(&path, |out| Ok(format.write(&shown, &timeline, &title, measure, out)?))?;
    if !is_stdout {
        let samples = shown.total().samples;
        let (one, several) = shown.measured().counted();
        output::say(format_args!(
            "wrote {}: {samples} {}; next: {}",
            path.display(),
            if samples == 1 { one } else { several },
            format.next_step(&path)
        ));
    }
    Ok(())
}

fn refuse_view(format: Format, view: View) -> anyhow::Result<()> {
    let Some(name) = format.needs_times().filter(|_| view != View::Cpu) else { return Ok(()) };
    let sentence = format!(
        "--format {name} places everything in time, and this view is a sum; use pprof, firefox, speedscope, folded or json"
    );
    Err(Failure::error(Exit::Usage, sentence))
}

fn refuse_contradictions(args: &Args, is_stdout: bool) -> anyhow::Result<()> {
    if args.time && args.format != Format::Folded {
        let sentence = "--time is for --format folded; the other formats hold samples and time at once";
        return Err(Failure::error(Exit::Usage, sentence));
    }
    if is_stdout && args.format.is_binary() && std::io::stdout().is_terminal() {
        let sentence =
            "this format is binary and would garble the terminal; name a file with -o, or pipe it on";
        return Err(Failure::error(Exit::Usage, sentence));
    }
    Ok(())
}
