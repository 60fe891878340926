//! A comparison for programs.

use serde::Serialize;
use uniprof_flamegraph::diff::{Change, Comparison, Family, Interval, Method};

use super::rule::Finding;
use super::{Args, Of, Side, table};

#[derive(Serialize)]
pub(super) struct Document<'a> {
    schema: &'static str,
    /// What was compared: `cpu`, or what is not on the CPU.
    view: &'static str,
    before: Input<'a>,
    after: Input<'a>,
    /// What shares are shares of.
    of: &'static str,
    method: &'static str,
    confidence: f64,
    min_change: f64,
    functions: Vec<Function<'a>>,
    stacks: Option<Vec<Stack<'a>>>,
    comparisons: Comparisons,
    rules: Vec<Rule<'a>>,
}

#[derive(Serialize)]
struct Input<'a> {
    input: &'a str,
    guest: &'a str,
    build_id: Option<&'a str>,
    samples: u64,
    /// What the samples, waits or blocks weigh, and in what.
    weight: u64,
    unit: &'static str,
    /// What a share of 1 is, in what `of` says.
    whole: u64,
    seconds: f64,
    notes: &'a [String],
}

#[derive(Serialize)]
struct Function<'a> {
    name: &'a str,
    file: Option<&'a str>,
    unknown: bool,
    #[serde(rename = "self")]
    own: Shares,
    total: Shares,
}

#[derive(Serialize)]
struct Stack<'a> {
    frames: &'a [String],
    #[serde(flatten)]
    own: Shares,
}

#[derive(Serialize)]
struct Shares {
    before: f64,
    after: f64,
    change: Bounds,
    relative: Option<Bounds>,
    verdict: &'static str,
}

/// Bounds that are not there are infinite.
#[derive(Serialize)]
struct Bounds {
    estimate: Option<f64>,
    low: Option<f64>,
    high: Option<f64>,
}

#[derive(Serialize)]
struct Comparisons {
    #[serde(rename = "self")]
    own: Level,
    total: Level,
    stacks: Level,
}

#[derive(Serialize)]
struct Level {
    compared: usize,
    alpha: f64,
    resolution: f64,
}

#[derive(Serialize)]
struct Rule<'a> {
    rule: &'a str,
    function: &'a str,
    unit: &'static str,
    change: Bounds,
    beyond: bool,
    sure: bool,
    failed: bool,
}

pub(super) fn document<'a>(
    sides: &'a [Side<'a>; 2],
    comparison: &'a Comparison,
    findings: &'a [Finding<'a>],
    args: &Args,
) -> Document<'a> {
    let [before, after] = sides.each_ref().map(Input::new);
    Document {
        schema: "uniprof.diff/1",
        view: sides[0].named.view.name(),
        before,
        after,
        of: match args.comparing.of(sides[0].named.view) {
            Of::Samples => "samples",
            Of::Busy => "busy",
            Of::Elapsed => "elapsed",
        },
        method: match comparison.method {
            Method::Blocks => "blocks",
            Method::Independent => "independent",
        },
        confidence: args.comparing.confidence / 100.0,
        min_change: args.comparing.min_change / 100.0,
        functions: functions(comparison),
        stacks: args.stacks.then(|| {
            let stacks = comparison.stacks.iter();
            stacks.map(|stack| Stack { frames: &stack.frames, own: Shares::new(&stack.own) }).collect()
        }),
        comparisons: Comparisons {
            own: Level::new(comparison.own),
            total: Level::new(comparison.total),
            stacks: Level::new(comparison.stack),
        },
        rules: findings.iter().map(|finding| Rule::new(finding, args.fail_on_estimate)).collect(),
    }
}

fn functions(comparison: &Comparison) -> Vec<Function<'_>> {
    let functions = comparison.functions.iter();
    functions
        .map(|function| Function {
            name: &function.name,
            file: function.file.as_deref(),
            unknown: function.unknown,
            own: Shares::new(&function.own),
            total: Shares::new(&function.total),
        })
        .collect()
}

impl<'a> Input<'a> {
    fn new(side: &'a Side<'a>) -> Self {
        let figures = &side.named.figures;
        Self {
            input: side.word,
            guest: &figures.session.guest,
            build_id: figures.session.build_id.as_deref(),
            samples: side.shown.total().samples,
            weight: side.shown.total().weight,
            unit: side.shown.measured().unit().name(),
            whole: side.whole,
            seconds: figures.seconds,
            notes: &figures.notes,
        }
    }
}

impl Shares {
    fn new(change: &Change) -> Self {
        let less_one = |ratio: Interval| Interval {
            estimate: ratio.estimate - 1.0,
            low: ratio.low - 1.0,
            high: ratio.high - 1.0,
        };
        Self {
            before: change.evidence.before.value,
            after: change.evidence.after.value,
            change: Bounds::new(change.difference),
            relative: change.ratio.map(less_one).map(Bounds::new),
            verdict: table::name_of(change.verdict),
        }
    }
}

impl Bounds {
    fn new(interval: Interval) -> Self {
        let finite = |bound: f64| bound.is_finite().then_some(bound);
        Self { estimate: finite(interval.estimate), low: finite(interval.low), high: finite(interval.high) }
    }
}

impl Level {
    fn new(family: Family) -> Self {
        Self { compared: family.compared, alpha: family.alpha, resolution: family.resolution }
    }
}

impl<'a> Rule<'a> {
    fn new(finding: &'a Finding<'a>, on_estimate: bool) -> Self {
        Self {
            rule: finding.rule.text(),
            function: &finding.function.name,
            unit: finding.unit(),
            change: Bounds::new(finding.change),
            beyond: finding.beyond,
            sure: finding.sure,
            failed: finding.sure || (on_estimate && finding.beyond),
        }
    }
}
