//! `uniprof flame`: a flame graph of a recording.
//!
//! ```text
//! $ uniprof flame r.uniprof
//! wrote r.svg: 12248 samples, 100.0 % of them fully named; open it in a browser
//! $ uniprof flame r.uniprof -o r.html
//! wrote r.html: 12248 samples, 100.0 % of them fully named; open it in a browser
//! ```

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context as _;
use uniprof_flamegraph::diff::{Basis, DiffOptions};
use uniprof_flamegraph::{Direction, HtmlOptions, Measured, Profile, SvgOptions, Width, html, svg};

use crate::command::diff;
use crate::exit::{Exit, Failure};
use crate::profile::{self, Named, Times, View};
use crate::{options, output};

const EXAMPLES: &str = "\
Examples:
  uniprof flame                                 the newest recording here
  uniprof flame r.uniprof -o kv.svg --open
  uniprof flame r.uniprof -o kv.html --open     to explore: search, zoom, threads, table of functions
  uniprof flame sample -o - > sample.svg
  uniprof flame r.uniprof --callers --thread kv-0
  uniprof flame r.uniprof --off-cpu --thread kv-0       where it waited, and who ended that
  uniprof flame r.uniprof --locks -o locks.html         who made others wait
  uniprof flame r.uniprof --heap                        which stacks allocated what is live
  uniprof flame after.uniprof --diff before.uniprof     red grew, blue shrank, grey is no sure difference
  uniprof flame after.uniprof --heap --diff before.uniprof";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// A recording, folded stacks (`-`: from standard input), or `sample`; left out, the newest recording here
    input: Option<String>,
    /// The picture to write: SVG, or a page to explore where the name ends in .html; `-` is SVG on standard output
    /// [default: named after the recording]
    #[arg(short, long, value_name = "FILE.svg|FILE.html")]
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
    /// Colour what changed against this recording, or these folded stacks: red grew, blue shrank, each in itself
    #[arg(long, value_name = "BEFORE", conflicts_with = "callers")]
    diff: Option<String>,
    #[command(flatten)]
    views: options::Views,
    #[command(flatten)]
    filter: options::Filter,
    #[command(flatten)]
    symbols: options::Symbols,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let input = profile::choose(args.input.as_deref())?;
    let view = args.views.chosen();
    let times = if args.diff.is_some() { diff::times(view) } else { Times::Summed };
    let named = profile::read_view(&input, &args.symbols, times, view)?;
    named.tell_notes();
    let ending = if args.diff.is_some() { "diff.svg" } else { "svg" };
    let of = if view == View::Cpu { String::new() } else { format!(".{}", view.name()) };
    let path = args.output.clone().unwrap_or_else(|| format!("{}{of}.{ending}", input.stem()).into());
    let shown = args.filter.apply(&named)?;
    let options = svg_options(args, &named);
    if let Some(before) = &args.diff {
        compare(args, before, &named, &shown, &path, &options)?
    } else if is_html(&path) {
        explore(&named, &shown, &path, &options)?
    } else {
        draw(&named, &shown, &path, &options)?
    }
    if path != Path::new("-") {
        output::say(format_args!("{}", summary(&shown, &path)));
    }
    if args.open { show(&path) } else { Ok(()) }
}

fn svg_options(args: &Args, named: &Named) -> SvgOptions {
    // Without a known clock, weights are not known either.
    let by_weight = args.time || named.view != View::Cpu;
    let width = if by_weight && named.profile.total().weight > 0 { Width::Time } else { Width::Samples };
    let direction = if args.callers { Direction::Callers } else { Direction::Callees };
    SvgOptions { width, inverted: args.inverted, direction, ..SvgOptions::default() }
}

fn is_html(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    ["html", "htm"].iter().any(|known| extension.eq_ignore_ascii_case(known))
}

/// Writes the page that holds the profile and its viewer.
fn explore(named: &Named, shown: &Profile, path: &Path, options: &SvgOptions) -> anyhow::Result<()> {
    named.require_samples()?;
    let title = profile::title(named, shown);
    let SvgOptions { width, inverted, direction, .. } = *options;
    output::file(path, |out| Ok(html(shown, &title, &HtmlOptions { width, inverted, direction }, out)?))
}

/// Writes the picture, or says why there is nothing to draw and writes none.
pub(crate) fn draw(named: &Named, shown: &Profile, path: &Path, options: &SvgOptions) -> anyhow::Result<()> {
    named.require_samples()?;
    let title = profile::title(named, shown);
    // Into memory first: inferno reports a failing writer as a failing picture.
    let mut picture = Vec::new();
    svg(shown, &title, options, &mut picture)?;
    output::file(path, |out| Ok(out.write_all(&picture)?))
}

/// Writes the picture with its difference to the recording `before`.
fn compare(
    args: &Args,
    before: &str,
    named: &Named,
    shown: &Profile,
    path: &Path,
    options: &SvgOptions,
) -> anyhow::Result<()> {
    if is_html(path) {
        let sentence = "--diff draws SVG; name an output that ends in .svg";
        return Err(Failure::error(Exit::Usage, sentence));
    }
    named.require_samples()?;
    let base = diff::read(before, &args.symbols, named.view)?;
    let base_shown = args.filter.apply(&base)?;
    let basis = match options.width {
        Width::Time => diff::basis_of_weights([&base, named]),
        Width::Samples => Basis::Samples,
    };
    let how = DiffOptions { basis, ..DiffOptions::default() };
    let mut title = profile::title(named, shown);
    title.notes.insert(0, format!("against {before}: red grew, blue shrank, grey is no sure difference"));
    let mut picture = Vec::new();
    uniprof_flamegraph::diff::svg(&base_shown, shown, &title, options, &how, &mut picture)?;
    output::file(path, |out| Ok(out.write_all(&picture)?))
}

/// The line that says what was drawn.
pub(crate) fn summary(shown: &Profile, path: &Path) -> String {
    let (measured, total) = (shown.measured(), shown.total());
    let (one, several) = measured.counted();
    let counted = format!("{} {}", total.samples, if total.samples == 1 { one } else { several });
    let what = match measured {
        Measured::Cpu => format!("{counted}, {:.1} % of them", profile::named_share(shown) * 100.0),
        _ => format!(
            "{} {} in {counted}, {:.1} % of that",
            measured.unit().short(total.weight).trim_end_matches(" bytes"),
            measured.weight(),
            profile::named_share(shown) * 100.0
        ),
    };
    format!("wrote {}: {what} fully named; open it in a browser", path.display())
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
