//! `uniprof flame`: a flame graph of a recording.
//!
//! ```text
//! $ uniprof flame r.uniprof
//! wrote r.svg: 12248 samples, 100.0 % of them fully named; open it in a browser
//! ```

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context as _;
use uniprof_flamegraph::{Direction, Profile, SvgOptions, Width, svg};

use crate::exit::{Exit, Failure};
use crate::input::Input;
use crate::profile::{self, Named};
use crate::{options, output};

const EXAMPLES: &str = "\
Examples:
  uniprof flame                                 the newest recording here
  uniprof flame r.uniprof -o kv.svg --open
  uniprof flame sample -o - > sample.svg
  uniprof flame r.uniprof --callers --thread kv-0";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// A recording, or `sample`; left out, the newest recording here
    input: Option<String>,
    /// The picture to write; `-` is standard output [default: named after the recording]
    #[arg(short, long, value_name = "FILE.svg")]
    output: Option<PathBuf>,
    /// Show the picture
    #[arg(long)]
    open: bool,
    /// Root at the top
    #[arg(long)]
    inverted: bool,
    /// Start at the leaves: who calls each function
    #[arg(long)]
    callers: bool,
    /// Widths are vCPU time, not samples
    #[arg(long)]
    time: bool,
    #[command(flatten)]
    filter: options::Filter,
    #[command(flatten)]
    symbols: options::Symbols,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let input = Input::choose(args.input.as_deref())?;
    let named = profile::read(&input, &args.symbols)?;
    named.tell_notes();
    let path = args.output.clone().unwrap_or_else(|| format!("{}.svg", input.stem()).into());
    let shown = args.filter.apply(&named)?;
    draw(&named, &shown, &path, &svg_options(args, &named))?;
    if path != Path::new("-") {
        output::say(format_args!("{}", summary(&shown, &path)));
    }
    if args.open { show(&path) } else { Ok(()) }
}

fn svg_options(args: &Args, named: &Named) -> SvgOptions {
    let tsc_hz = named.figures.session.tsc_hz;
    let width = match (args.time, tsc_hz) {
        (true, 1..) => Width::Time { weight_per_second: tsc_hz as f64 },
        _ => Width::Samples,
    };
    let direction = if args.callers { Direction::Callers } else { Direction::Callees };
    SvgOptions { width, inverted: args.inverted, direction, ..SvgOptions::default() }
}

/// Writes the picture, or says why there is nothing to draw and writes none.
pub(crate) fn draw(named: &Named, shown: &Profile, path: &Path, options: &SvgOptions) -> anyhow::Result<()> {
    named.require_samples()?;
    let title = profile::title(&named.figures, shown);
    // Into memory first: inferno reports a failing writer as a failing picture.
    let mut picture = Vec::new();
    svg(shown, &title, options, &mut picture)?;
    output::file(path, |out| Ok(out.write_all(&picture)?))
}

/// The line that says what was drawn.
pub(crate) fn summary(shown: &Profile, path: &Path) -> String {
    format!(
        "wrote {}: {} samples, {:.1} % of them fully named; open it in a browser",
        path.display(),
        shown.total().samples,
        profile::named_share(shown) * 100.0
    )
}

fn show(path: &Path) -> anyhow::Result<()> {
    if path == Path::new("-") {
        return Err(Failure::error(Exit::Usage, "--open needs a file; leave -o - out"));
    }
    Command::new("xdg-open")
        .arg(path)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map(drop)
        .with_context(|| format!("cannot start xdg-open; open {} in a browser", path.display()))
}
