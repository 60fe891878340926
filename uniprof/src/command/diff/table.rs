//! A comparison for people.

use std::io::Write;

use uniprof_flamegraph::diff::{Change, Comparison, Family, Interval, Method, Verdict};

use super::{Args, Of, Side};
use crate::output;
use crate::profile::View;

pub(super) fn print(
    out: &mut impl Write,
    sides: &[Side<'_>; 2],
    comparison: &Comparison,
    args: &Args,
) -> anyhow::Result<()> {
    for (label, side) in ["before: ", "after:  "].into_iter().zip(sides) {
        let seconds = side.named.figures.seconds;
        let length = if seconds > 0.0 { format!(" over {seconds:.1} s") } else { String::new() };
        writeln!(out, "{label}{}, {}{length}", side.word, measured(side))?;
    }
    writeln!(out)?;
    let (family, what) = if args.own {
        (comparison.own, "functions, by what was measured in themselves,")
    } else {
        (comparison.total, "functions")
    };
    let mut functions: Vec<(&Change, String)> = comparison
        .functions
        .iter()
        .map(|function| (if args.own { &function.own } else { &function.total }, function.name.clone()))
        .collect();
    functions.sort_by(|(a, _), (b, _)| b.difference.estimate.abs().total_cmp(&a.difference.estimate.abs()));
    list(out, &functions, "FUNCTION", sides, args)?;
    count(out, &functions, family, what, args)?;
    if args.stacks {
        let stacks: Vec<(&Change, String)> =
            comparison.stacks.iter().map(|stack| (&stack.own, stack.frames.join(";"))).collect();
        writeln!(out)?;
        list(out, &stacks, "STACK", sides, args)?;
        count(out, &stacks, comparison.stack, "stacks", args)?;
    }
    explain(out, sides, comparison, family, args)
}

/// How much was measured.
fn measured(side: &Side<'_>) -> String {
    let (total, measured) = (side.shown.total(), side.shown.measured());
    let (one, several) = measured.counted();
    let counted = format!("{} {}", total.samples, if total.samples == 1 { one } else { several });
    if side.named.view == View::Cpu {
        return counted;
    }
    let weight = measured.unit().short(total.weight);
    format!("{} {} in {counted}", weight.trim_end_matches(" bytes"), measured.weight())
}

fn list(
    out: &mut impl Write,
    changes: &[(&Change, String)],
    head: &str,
    sides: &[Side<'_>; 2],
    args: &Args,
) -> anyhow::Result<()> {
    let shown: Vec<&(&Change, String)> =
        changes.iter().filter(|(change, _)| args.all || change.verdict != Verdict::Same).collect();
    if shown.is_empty() {
        return Ok(());
    }
    let head = ["  BEFORE", "   AFTER", "CHANGE IN POINTS", "RELATIVE", "VERDICT", head];
    let mut rows = vec![head.map(str::to_owned)];
    for (change, name) in shown.iter().take(args.top) {
        rows.push([
            share(&sides[0], change.evidence.before.value, args),
            share(&sides[1], change.evidence.after.value, args),
            points(change.difference),
            change.ratio.map(relative).unwrap_or_default(),
            name_of(change.verdict).to_owned(),
            name.clone(),
        ]);
    }
    output::table(out, &rows)?;
    if shown.len() > args.top {
        writeln!(out, "… and {} more (--top N)", shown.len() - args.top)?;
    }
    writeln!(out)?;
    Ok(())
}

/// A share; of what is not on the CPU, where it is one of the weight, with that.
fn share(side: &Side<'_>, value: f64, args: &Args) -> String {
    let share = format!("{:>6.2} %", value * 100.0);
    let view = side.named.view;
    if view == View::Cpu || args.comparing.of(view) == Of::Samples {
        return share;
    }
    let weight = (value * side.whole as f64).round() as u64;
    format!("{share} {:>8}", side.shown.measured().unit().short(weight))
}

fn points(Interval { estimate, low, high }: Interval) -> String {
    format!("{:+.2} [{:+.2}, {:+.2}]", estimate * 100.0, low * 100.0, high * 100.0)
}

fn relative(ratio: Interval) -> String {
    let number = |bound: f64| format!("{:+.1}", (bound - 1.0) * 100.0);
    match (ratio.estimate.is_finite(), ratio.high.is_finite()) {
        (false, _) => String::new(),
        (true, false) => format!("{} % [{}, ]", number(ratio.estimate), number(ratio.low)),
        (true, true) => {
            format!("{} % [{}, {}]", number(ratio.estimate), number(ratio.low), number(ratio.high))
        }
    }
}

pub(super) fn name_of(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Grown => "grown",
        Verdict::Shrunk => "shrunk",
        Verdict::New => "new",
        Verdict::Gone => "gone",
        Verdict::Same => "same",
    }
}

fn count(
    out: &mut impl Write,
    changes: &[(&Change, String)],
    family: Family,
    what: &str,
    args: &Args,
) -> anyhow::Result<()> {
    let changed = changes.iter().filter(|(change, _)| change.verdict != Verdict::Same).count();
    let compared = family.compared;
    let missed = family.resolution * 100.0;
    let others = if args.all { "" } else { "; --all lists the others" };
    if changed == 0 {
        writeln!(out, "none of {compared} {what} changed beyond noise{others}")?;
    } else {
        let wrong = 100.0 - args.comparing.confidence;
        writeln!(
            out,
            "{changed} of {compared} {what} changed (of those called changed, {wrong} % are expected to be false){others}"
        )?;
    }
    writeln!(
        out,
        "what changed by less than {missed:.1} points may have been missed; longer recordings show less"
    )?;
    Ok(())
}

/// How the figures came about, and what to do next.
fn explain(
    out: &mut impl Write,
    sides: &[Side<'_>; 2],
    comparison: &Comparison,
    family: Family,
    args: &Args,
) -> anyhow::Result<()> {
    let single = 100.0 * (1.0 - family.alpha);
    writeln!(
        out,
        "shares are {}; intervals hold to {single:.2} % each, {} % together; {}",
        args.comparing.whole(sides[0].named.view),
        args.comparing.confidence,
        method(comparison.method, sides[0].named.view)
    )?;
    let option = args.views.word().map(|word| format!(" {word}")).unwrap_or_default();
    writeln!(out, "next: uniprof flame {}{option} --diff {}", sides[1].word, sides[0].word)?;
    Ok(())
}

fn method(method: Method, view: View) -> String {
    let several = view.measured().counted().1;
    match method {
        Method::Independent if view.is_heap() => format!("{several} are independent of each other"),
        Method::Blocks => format!("they are of how much {several} vary from block to block of time"),
        Method::Independent => format!(
            "they take {several} for independent ones, for want of times or of {several}: bursts may pass for changes"
        ),
    }
}
