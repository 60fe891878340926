//! `uniprof print`: the value of an expression, by the types of the debug information.
//!
//! ```text
//! $ uniprof print shop.core cart.items[0]
//! in shop::price (frame #0 of web-0 (thread 3))
//! Item { name: "tea", cents: 250 }
//! ```

use std::io::Write as _;

use serde::Serialize;
use uniprof_postmortem::Subject;
use uniprof_postmortem::print::{self, FrameContext, PrintError, Value, Variable};
use uniprof_postmortem::report;
use uniprof_postmortem::stacks::{self, Owner, Stack};

use crate::exit::{Exit, Failure};
use crate::input::Input;
use crate::subject::Opened;
use crate::{options, output};

const EXAMPLES: &str = "\
Examples:
  uniprof print kv.core tsc::HZ                 a static of the kernel: its path, or any end of it
  uniprof print kv.core 'self.shards[0]' --thread kv-0
  uniprof print kv.core --frame 2               all variables of a frame
  uniprof core print kv.core '$rsp' --vcpu 1
  uniprof core print kv.core key --json | jq .value.value

Without --thread, --vcpu and --frame a name is looked for in the stack that the report is about, from its innermost frame on, \
and then among statics. Fields, indexes, slices, dereferences and casts work as in Rust, C and gdb.";

/// Of a variable in a list less is shown than of one that was asked for.
const LISTED: print::Limits = print::Limits { depth: 5, elements: 10, nodes: 200, ..print::Limits::FULL };

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// A dump, or a running guest by name or pid
    #[arg(value_name = "FILE|TARGET")]
    input: String,
    /// What to print; left out, all variables of a frame: of --frame, or of the one that the report is about
    #[arg(value_name = "EXPR", allow_hyphen_values = true)]
    expression: Option<String>,
    /// In the stack of this thread
    #[arg(long, value_name = "NAME|ID")]
    thread: Option<String>,
    /// In the stack of this vCPU
    #[arg(long, value_name = "N", conflicts_with = "thread")]
    vcpu: Option<u32>,
    /// In this frame only, by its number in `uniprof stacks`
    #[arg(long, value_name = "N")]
    frame: Option<usize>,
    /// Print a JSON document (schema uniprof.print/1)
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    memory: options::Memory,
}

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    expression: Option<String>,
    /// Where names were looked up; null for statics.
    frame: Option<Place>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    variables: Option<Vec<Variable>>,
}

/// A function of a stack.
#[derive(Clone, Serialize)]
struct Place {
    /// Whose stack it is.
    of: String,
    /// The frame's number; functions that were inlined share that of the one that they were inlined into.
    number: usize,
    function: String,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let opened = Opened::open(&Input::choose(Some(&args.input))?, &args.memory)?;
    let (seen, document) = opened.look(|seen| answer(&mut seen.subject, args))?;
    if args.json {
        return output::json(&document);
    }
    print(&document)?;
    seen.tell_remarks();
    Ok(())
}

fn answer(subject: &mut Subject, args: &Args) -> anyhow::Result<Document> {
    let told = args.thread.is_some() || args.vcpu.is_some() || args.frame.is_some();
    let (stack, blamed) = stack(subject, args)?;
    let document = |frame, value, variables| Document {
        schema: "uniprof.print/1",
        expression: args.expression.clone(),
        frame,
        value,
        variables,
    };
    let Some(expression) = &args.expression else {
        let stack = stack.ok_or_else(|| fails("there is no stack to list variables of"))?;
        let blamed = blamed.filter(|index| args.frame.is_none() && *index < stack.frames.len());
        let frame = blamed.or_else(|| functions(&stack, Some(args.frame.unwrap_or(0))).next());
        let frame = frame.ok_or_else(|| no_frame(&stack, args.frame))?;
        let context = FrameContext::of_stack(&stack, frame).ok_or_else(|| no_frame(&stack, args.frame))?;
        let variables = print::locals_within(subject, &context, LISTED)?;
        return Ok(document(Some(Place::new(&stack, frame)), None, Some(variables)));
    };
    if let Some(stack) = &stack {
        if args.frame.is_some() && functions(stack, args.frame).next().is_none() {
            return Err(no_frame(stack, args.frame));
        }
        if let Some(frame) = home(subject, stack, args.frame, expression) {
            let value = print::evaluate(subject, FrameContext::of_stack(stack, frame).as_ref(), expression)?;
            return Ok(document(Some(Place::new(stack, frame)), Some(value), None));
        }
    } else if told {
        return Err(fails("there is no such thread or vCPU"));
    }
    // No local: a static, or registers of the frame.
    let frame = stack.as_ref().and_then(|stack| Some((stack, functions(stack, args.frame).next()?)));
    let context = frame.and_then(|(stack, frame)| FrameContext::of_stack(stack, frame));
    let place = frame.filter(|_| expression.contains('$')).map(|(stack, frame)| Place::new(stack, frame));
    let value = print::evaluate(subject, context.as_ref(), expression).map_err(|why| match why {
        PrintError::NoSuchName { .. } => fails(&format!(
            "{why}; `uniprof print {}` lists those of the frame that the report is about, `--frame N` those of another",
            args.input
        )),
        why => why.into(),
    })?;
    Ok(document(place, Some(value), None))
}

/// The stack that was asked for; or the one that the report is about, and the index of the function that it blames.
fn stack(subject: &mut Subject, args: &Args) -> anyhow::Result<(Option<Stack>, Option<usize>)> {
    let owner = |stack: &Stack| match (stack.owner, &args.thread, args.vcpu) {
        (Owner::Thread(id), Some(word), _) => *word == stack.name || word.parse() == Ok(id),
        (Owner::Vcpu(vcpu), _, Some(wanted)) => vcpu == wanted,
        _ => false,
    };
    if args.thread.is_some() || args.vcpu.is_some() {
        let mut stacks = stacks::of(subject);
        let found = stacks.iter().position(owner).ok_or_else(|| fails("there is no such thread or vCPU"))?;
        return Ok((Some(stacks.swap_remove(found)), None));
    }
    let mut examined = report::examination(subject);
    let index = examined.finding.stack.or((!examined.stacks.is_empty()).then_some(0));
    let index = index.filter(|index| *index < examined.stacks.len());
    let blamed = examined.report.locals.first().map(|locals| locals.frame);
    Ok((index.map(|index| examined.stacks.swap_remove(index)), blamed))
}

/// The functions of a frame, or of all, by their indexes, the innermost first.
fn functions(stack: &Stack, frame: Option<usize>) -> impl Iterator<Item = usize> {
    let of_frame = move |depth: usize| frame.is_none_or(|frame| frame == depth);
    stack.frames.iter().enumerate().filter(move |(_, one)| of_frame(one.depth)).map(|(index, _)| index)
}

/// The innermost function that has a variable of a name in the expression and knows its value; else the innermost that has one.
/// The first name counts that is a variable's: types in casts are none.
fn home(subject: &mut Subject, stack: &Stack, frame: Option<usize>, expression: &str) -> Option<usize> {
    let names = names(expression);
    let mut with_value = vec![None; names.len()];
    let mut without_value = vec![None; names.len()];
    for index in functions(stack, frame) {
        let variables = FrameContext::of_stack(stack, index).map(|context| print::locals(subject, &context));
        for variable in variables.and_then(Result::ok).unwrap_or_default() {
            let Some(at) = names.iter().position(|name| **name == *variable.name) else { continue };
            let is_known = variable.value.as_ref().is_ok_and(Value::is_known);
            let homes = if is_known { &mut with_value } else { &mut without_value };
            homes[at].get_or_insert(index);
        }
        if with_value.first().is_some_and(Option::is_some) {
            break;
        }
    }
    with_value.into_iter().zip(without_value).find_map(|(with, without)| with.or(without))
}

/// Names in an expression that a variable can have: neither numbers, registers and fields, nor paths, which no local has.
fn names(expression: &str) -> Vec<&str> {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let mut names = Vec::new();
    let mut rest = expression;
    while let Some(start) = rest.find(is_name) {
        let (between, from) = rest.split_at(start);
        let (name, after) = from.split_at(from.find(|c| !is_name(c)).unwrap_or(from.len()));
        let between = between.trim_end();
        // Two dots are a range.
        let is_field = between.ends_with('.') && !between.ends_with("..") || between.ends_with("->");
        let is_part = between.ends_with("::") || between.ends_with('$') || after.starts_with("::");
        if !is_field && !is_part && name != "as" && !name.starts_with(|c: char| c.is_ascii_digit()) {
            names.push(name);
        }
        rest = after;
    }
    names
}

fn fails(sentence: &str) -> anyhow::Error {
    Failure::error(Exit::Failed, sentence)
}

fn no_frame(stack: &Stack, frame: Option<usize>) -> anyhow::Error {
    let (title, most) = (stack.title(), stack.unwound.len());
    match (frame, most) {
        (_, 0) => fails(&format!("{title} has no stack: {}", stack.end)),
        (frame, _) => {
            fails(&format!("{title} has no frame {}; its frames are 0 to {}", frame.unwrap_or(0), most - 1))
        }
    }
}

impl Place {
    fn new(stack: &Stack, frame: usize) -> Self {
        let one = &stack.frames[frame];
        Self { of: stack.title(), number: one.depth, function: one.name().to_owned() }
    }
}

fn print(document: &Document) -> anyhow::Result<()> {
    if let Some(Place { of, number, function }) = &document.frame {
        let place = format!("in {function} (frame #{number} of {of})");
        output::say(format_args!("{}", output::printable(&place)));
    }
    let mut out = output::stdout();
    if let Some(value) = &document.value {
        // Several lines are its own; whatever else the guest put into a text is shown, not obeyed.
        value.to_string().lines().try_for_each(|line| writeln!(out, "{}", output::printable(line)))?;
    }
    for variable in document.variables.iter().flatten() {
        let text = match &variable.value {
            Ok(value) => format!("{} = {value}", variable.name),
            Err(why) => format!("{} = <{why}>", variable.name),
        };
        text.lines().try_for_each(|line| writeln!(out, "{}", output::printable(line)))?;
    }
    Ok(out.flush()?)
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn names_that_a_variable_can_have() {
        assert_eq!(names("*self.shards[0]"), ["self"]);
        assert_eq!(names("(key as u32) + 1"), ["key", "u32"]);
        assert_eq!(names("(u64)table"), ["u64", "table"]);
        assert_eq!(names("buckets[first..last].len"), ["buckets", "first", "last"]);
        assert_eq!(names("peer->port"), ["peer"]);
        assert!(names("kv::STORE.len").is_empty());
        assert!(names("$rsp + 0x10").is_empty());
        assert!(names("").is_empty());
    }
}
