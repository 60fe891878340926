//! `uniprof export`: a profile in another tool's format.
//!
//! ```text
//! $ uniprof export r.uniprof --format folded | grep ratio_ten | cut -d';' -f1,6-
//! ratio-0;uniprof_sample_kernel::workload::ratio::round;ratio_ten 2
//! ratio-0;uniprof_sample_kernel::workload::ratio::round;ratio_ten;uniprof_sample_kernel::workload::ratio::unit (inlined) 3
//! …
//! ```

use std::path::PathBuf;

use clap::ValueEnum;
use uniprof_flamegraph::{Measure, folded};

use crate::input::Input;
use crate::{options, output, profile};

const EXAMPLES: &str = "\
Examples:
  uniprof export --format folded -o r.folded
  uniprof export sample --format folded | inferno-flamegraph > sample.svg";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// A recording, or `sample`; left out, the newest recording here
    input: Option<String>,
    /// The format
    #[arg(long)]
    format: Format,
    /// The file to write; `-` is standard output
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    output: PathBuf,
    #[command(flatten)]
    filter: options::Filter,
    #[command(flatten)]
    symbols: options::Symbols,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// One line per stack, root first, with its samples: flamegraph.pl, inferno, speedscope
    Folded,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let input = Input::choose(args.input.as_deref())?;
    let named = profile::read(&input, &args.symbols)?;
    named.tell_notes();
    named.require_samples()?;
    let shown = args.filter.apply(&named)?;
    output::file(&args.output, |mut out| match args.format {
        Format::Folded => Ok(folded(&shown, Measure::Samples, &mut out)?),
    })
}
