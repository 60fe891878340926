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
  uniprof diff before.uniprof after.uniprof --of elapsed                   under another load, with idle time";

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
    filter: options::Filter,
    #[command(flatten)]
    symbols: options::Symbols,
}

/// How two profiles are compared.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Comparing {
    /// What shares are shares of
    #[arg(long, value_name = "WHOLE", default_value = "samples")]
    of: Of,
    /// A difference of fewer percentage points is none
    #[arg(long, value_name = "POINTS", default_value_t = 0.5, value_parser = points)]
    min_change: f64,
    /// How sure intervals and verdicts are, in per cent
    #[arg(long, value_name = "PERCENT", default_value_t = 95.0, value_parser = confidence)]
    confidence: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Of {
    /// All samples
    Samples,
    /// The vCPU time that was busy
    Busy,
    /// The vCPU time that there was, idle or not
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
        Self { of: Of::Samples, min_change: 0.5, confidence: 95.0 }
    }
}

impl Comparing {
    /// The options for two inputs of which `filter` lets pass what counts.
    pub(crate) fn options(
        &self,
        named: [&Named; 2],
        filter: &options::Filter,
    ) -> anyhow::Result<DiffOptions> {
        let basis = match self.of {
            Of::Samples => Basis::Samples,
            Of::Busy if named.iter().all(|named| named.profile.total().weight > 0) => Basis::Busy,
            Of::Busy => return Err(unknown("how much vCPU time its samples stand for")),
            Of::Elapsed => {
                let up = named.map(|named| named.figures.vcpu_time(|vcpu| filter.takes_vcpu(vcpu)));
                let [Some(before), Some(after)] = up else {
                    return Err(unknown("for how long its vCPUs were up"));
                };
                Basis::Elapsed([before, after])
            }
        };
        let (confidence, min_change) = (self.confidence / 100.0, self.min_change / 100.0);
        Ok(DiffOptions { basis, confidence, min_change })
    }

    /// What shares are shares of, for people.
    fn whole(&self) -> &'static str {
        match self.of {
            Of::Samples => "of all samples",
            Of::Busy => "of busy vCPU time",
            Of::Elapsed => "of all vCPU time, idle or not",
        }
    }
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
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let words = [args.before.as_str(), args.after.as_str()];
    let before = read(words[0], &args.symbols, View::Cpu)?;
    let after = read(words[1], &args.symbols, View::Cpu)?;
    let shown = [args.filter.apply(&before)?, args.filter.apply(&after)?];
    let options = args.comparing.options([&before, &after], &args.filter)?;
    let comparison = compare(&shown[0], &shown[1], &options);
    require_functions(&args.fail_if, &comparison)?;
    let findings = rule::apply(&args.fail_if, &comparison.functions, &options);
    let sides = [
        Side { word: words[0], named: &before, shown: &shown[0] },
        Side { word: words[1], named: &after, shown: &shown[1] },
    ];
    if args.json {
        output::json(&document::document(&sides, &comparison, &findings, args))?;
    } else {
        let mut out = output::stdout();
        table::print(&mut out, &sides, &comparison, args)?;
        out.flush()?;
    }
    judge(&findings, args)
}

/// Reads one of the inputs, which must have samples: of nothing, nothing can be said.
pub(crate) fn read(word: &str, symbols: &options::Symbols, view: View) -> anyhow::Result<Named> {
    let named = profile::read_view(&profile::choose(Some(word))?, symbols, Times::Kept, view)?;
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
