//! `uniprof diff`: what changed between two recordings, and how sure that is. The method is in `docs/diff.md`.
//!
//! ```text
//! $ uniprof diff before.uniprof after.uniprof
//! before: before.uniprof, 1978 samples over 10.2 s
//! after:  after.uniprof, 1983 samples over 10.2 s
//!
//!  BEFORE    AFTER  CHANGE IN POINTS       RELATIVE                   VERDICT  FUNCTION
//! 60.31 %  30.02 %  -30.3 [-33.6, -26.9]   -50.2 % [-54.2, -45.8]     shrunk   ratio_sixty
//! 29.63 %  59.71 %  +30.1 [+26.7, +33.4]   +101.5 % [+84.4, +120.6]   grown    ratio_thirty
//!
//! 2 of 9 functions changed (of those called changed, 5 % are expected to be false); --all lists the others
//! …
//! ```

mod document;
mod rule;
mod table;

use std::io::Write as _;

use clap::ValueEnum;
use uniprof_flamegraph::Profile;
use uniprof_flamegraph::diff::{Basis, Comparison, DiffOptions, compare};

use self::rule::{Finding, Rule};
use crate::exit::{Exit, Failure};
use crate::profile::{self, Named, Times, View};
use crate::{options, output};

const EXAMPLES: &str = "\
Examples:
  uniprof diff before.uniprof after.uniprof
  uniprof diff before.uniprof after.uniprof --self --stacks
  uniprof diff before.folded after.folded --json
  uniprof diff before.uniprof after.uniprof --fail-if 'kv::insert>+5%'     5 % more than it was
  uniprof diff before.uniprof after.uniprof --fail-if 'self:memcpy>+2pp'   2 points of all samples more
  uniprof diff before.uniprof after.uniprof --fail-if '*>+10%'             any function
  uniprof diff before.uniprof after.uniprof --of elapsed                   under another load, with idle time
  uniprof diff before.uniprof after.uniprof --off-cpu                      what is waited for longer
  uniprof diff before.uniprof after.uniprof --heap --fail-if '*>+10pp'     what takes more of the memory";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The recording, or folded stacks, to compare with
    before: String,
    /// The recording, or folded stacks, to be compared
    after: String,
    /// Judge functions by what was sampled in themselves, not in what they called
    #[arg(long = "self")]
    own: bool,
    /// Compare stacks, too
    #[arg(long)]
    stacks: bool,
    /// List what did not change, too
    #[arg(long)]
    all: bool,
    /// How many lines a list has at most
    #[arg(long, value_name = "N", default_value_t = 20)]
    top: usize,
    /// Print a JSON document (schema uniprof.diff/1)
    #[arg(long)]
    json: bool,
    /// Exit with 5 if this is surely so: FUNCTION>+5% is 5 % more than it was, FUNCTION>+5pp is 5 points of all more, `<` and
    /// `-` are less; FUNCTION is a name, its end from a `::` on, or a pattern with * and ?; self:FUNCTION leaves out what
    /// it called; repeatable
    #[arg(long, value_name = "RULE")]
    fail_if: Vec<Rule>,
    /// With --fail-if: the best guess is enough, be it sure or not
    #[arg(long, requires = "fail_if")]
    fail_on_estimate: bool,
    #[command(flatten)]
    comparing: Comparing,
    #[command(flatten)]
    views: options::Views,
    #[command(flatten)]
    filter: options::Filter,
    #[command(flatten)]
    symbols: options::Symbols,
}

/// How two profiles are compared.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Comparing {
    /// What shares are shares of [default: samples; busy with --off-cpu and the like; elapsed with --heap]
    #[arg(long, value_name = "WHOLE")]
    of: Option<Of>,
    /// A difference of fewer percentage points is none
    #[arg(long, value_name = "POINTS", default_value_t = 0.5, value_parser = points)]
    min_change: f64,
    /// How sure intervals and verdicts are, in per cent
    #[arg(long, value_name = "PERCENT", default_value_t = 95.0, value_parser = confidence)]
    confidence: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Of {
    /// All samples; with --off-cpu and the like all waits, or sampled blocks
    Samples,
    /// The vCPU time that was busy; with --off-cpu and the like all blocked time, or all bytes
    Busy,
    /// The vCPU time that there was, idle or not; with --off-cpu and the like the recording's length once for each thread, with --heap the bytes of
    /// the larger one
    Elapsed,
}

fn points(text: &str) -> Result<f64, String> {
    let number = text.trim_end_matches("pp").parse().ok().filter(|points| (0.001..100.0).contains(points));
    number.ok_or_else(|| "percentage points are a number from 0.001 to 100".into())
}

fn confidence(text: &str) -> Result<f64, String> {
    let number = text.trim_end_matches('%').parse().ok().filter(|percent| (50.0..=99.999).contains(percent));
    number.ok_or_else(|| "a confidence is a number from 50 to 99.999, in per cent".into())
}

impl Default for Comparing {
    fn default() -> Self {
        Self { of: None, min_change: 0.5, confidence: 95.0 }
    }
}

impl Comparing {
    /// The options for two inputs of which `filter` lets pass what counts.
    pub(crate) fn options(
        &self,
        named: [&Named; 2],
        filter: &options::Filter,
    ) -> anyhow::Result<DiffOptions> {
        let view = named[0].view;
        let basis = match self.of(view) {
            Of::Samples => Basis::Samples,
            Of::Busy if named.iter().all(|named| named.profile.total().weight > 0) => Basis::Busy,
            Of::Busy => return Err(unknown("how much vCPU time its samples stand for")),
            Of::Elapsed if view.is_heap() => of_the_larger(named),
            Of::Elapsed => {
                let up = named.map(|named| match view {
                    View::Cpu => named.figures.vcpu_time(|vcpu| filter.takes_vcpu(vcpu)),
                    _ => threads_time(named),
                });
                let [Some(before), Some(after)] = up else {
                    return Err(unknown("for how long its vCPUs were up"));
                };
                Basis::Elapsed([before, after])
            }
        };
        let (confidence, min_change) = (self.confidence / 100.0, self.min_change / 100.0);
        Ok(DiffOptions { basis, confidence, min_change })
    }

    /// What shares are shares of: of what is not on the CPU, the number says little, and of what lives it is the bytes that matter.
    fn of(&self, view: View) -> Of {
        self.of.unwrap_or(match view {
            View::Cpu => Of::Samples,
            View::LiveHeap => Of::Elapsed,
            _ => Of::Busy,
        })
    }

    /// The same for people.
    fn whole(&self, view: View) -> String {
        let measured = view.measured();
        match (self.of(view), view) {
            (Of::Samples, _) => format!("of all {}", measured.counted().1),
            (Of::Busy, View::Cpu) => "of busy vCPU time".into(),
            (Of::Elapsed, View::Cpu) => "of all vCPU time, idle or not".into(),
            (Of::Busy, _) => format!("of all {}", measured.weight()),
            (Of::Elapsed, view) if view.is_heap() => {
                format!("of the {} of the larger one", measured.weight())
            }
            (Of::Elapsed, _) => "of the recordings' length, once for each thread".into(),
        }
    }
}

/// Both as shares of one and the same: what takes more has grown, whatever the rest did.
fn of_the_larger(named: [&Named; 2]) -> Basis {
    let [before, after] = named.map(|named| named.profile.total().weight);
    Basis::Elapsed([before.max(after); 2])
}

/// How a picture of a difference is made whose widths are weights.
pub(crate) fn basis_of_weights(named: [&Named; 2]) -> Basis {
    if named[1].view == View::LiveHeap { of_the_larger(named) } else { Basis::Busy }
}

/// The recording's length once for each thread that waited, in nanoseconds.
fn threads_time(named: &Named) -> Option<u64> {
    let window = named.figures.window?;
    let mut threads: Vec<u32> = named.profile.owners().iter().map(|(owner, _)| owner.thread).collect();
    threads.sort_unstable();
    threads.dedup();
    let ticks = window.end.saturating_sub(window.begin).saturating_mul(threads.len() as u64);
    named.figures.nanoseconds(ticks).filter(|time| *time > 0)
}

fn unknown(what: &str) -> anyhow::Error {
    let sentence = format!("one of the inputs does not tell {what}; use --of samples");
    Failure::error(Exit::Usage, sentence)
}

/// An input of the comparison.
struct Side<'a> {
    word: &'a str,
    named: &'a Named,
    shown: &'a Profile,
    /// What a share of 1 is, in samples or in what they weigh.
    whole: u64,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let words = [args.before.as_str(), args.after.as_str()];
    let view = args.views.chosen();
    let before = read(words[0], &args.symbols, view)?;
    let after = read(words[1], &args.symbols, view)?;
    let shown = [args.filter.apply(&before)?, args.filter.apply(&after)?];
    let options = args.comparing.options([&before, &after], &args.filter)?;
    let comparison = compare(&shown[0], &shown[1], &options);
    require_functions(&args.fail_if, &comparison)?;
    let findings = rule::apply(&args.fail_if, &comparison.functions, &options);
    let wholes = wholes(options.basis, &shown);
    let side =
        |index: usize, named| Side { word: words[index], named, shown: &shown[index], whole: wholes[index] };
    let sides = [side(0, &before), side(1, &after)];
    if args.json {
        output::json(&document::document(&sides, &comparison, &findings, args))?;
    } else {
        let mut out = output::stdout();
        table::print(&mut out, &sides, &comparison, args)?;
        out.flush()?;
    }
    judge(&findings, args)
}

fn wholes(basis: Basis, shown: &[impl std::ops::Deref<Target = Profile>; 2]) -> [u64; 2] {
    let totals = shown.each_ref().map(|profile| profile.total());
    match basis {
        Basis::Samples => totals.map(|total| total.samples),
        Basis::Busy => totals.map(|total| total.weight),
        Basis::Elapsed(available) => available,
    }
}

/// Whether times tell how sure a difference is. Blocks of the heap are sampled independently of each other: when they were allocated says nothing of
/// how sure their sum is.
pub(crate) fn times(view: View) -> Times {
    if view.is_heap() { Times::Summed } else { Times::Kept }
}

/// Reads one of the inputs, which must have samples: of nothing, nothing can be said.
pub(crate) fn read(word: &str, symbols: &options::Symbols, view: View) -> anyhow::Result<Named> {
    let named = profile::read_view(&profile::choose(Some(word))?, symbols, times(view), view)?;
    for note in &named.figures.notes {
        output::say(format_args!("uniprof: {word}: {note}"));
    }
    named.require_samples().map_err(|error| error.context(format!("cannot compare {word}")))?;
    Ok(named)
}

fn require_functions(rules: &[Rule], comparison: &Comparison) -> anyhow::Result<()> {
    for rule in rules {
        if rule.functions(&comparison.functions).is_empty() {
            let close = rule::close_names(rule.pattern(), &comparison.functions);
            let hint =
                if close.is_empty() { String::new() } else { format!("; is it {}?", close.join(", or ")) };
            return Err(Failure::error(
                Exit::Usage,
                format!("--fail-if '{}': no such function is in either profile{hint}", rule.text()),
            ));
        }
    }
    Ok(())
}

/// Ends with [`Exit::Rule`] if a rule is true.
fn judge(findings: &[Finding<'_>], args: &Args) -> anyhow::Result<()> {
    let is_true = |finding: &&Finding<'_>| finding.sure || (args.fail_on_estimate && finding.beyond);
    for finding in findings.iter().filter(|finding| finding.beyond && !is_true(finding)) {
        output::say(format_args!(
            "uniprof: --fail-if '{}' may be true, but that is not sure: {}; record both for longer, or use \
             --fail-on-estimate",
            finding.rule.text(),
            finding.sentence()
        ));
    }
    let failed: Vec<String> = findings
        .iter()
        .filter(is_true)
        .map(|finding| format!("--fail-if '{}' is true: {}", finding.rule.text(), finding.sentence()))
        .collect();
    if failed.is_empty() {
        return Ok(());
    }
    Err(Failure::error(Exit::Rule, failed.join("\nuniprof: ")))
}
