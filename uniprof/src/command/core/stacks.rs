//! `uniprof stacks`: what every thread and vCPU was doing, and how sure that is.
//!
//! ```text
//! $ uniprof stacks kv.core
//! thread 2 (kv-0), running on vCPU 0
//!   #0  leaf  0x20893a  uniprof_sample_kernel::sched::run::make_runnable   sched/run.rs:88
//!   #1  cfi   0x20c4d3  uniprof_sample_kernel::workload::kv::store::Store::get   workload/kv/store.rs:61
//! ```

use std::io::Write;

use serde::Serialize;
use uniprof_postmortem::stacks::{self, Owner, Stack, StackFrame, StackGroup, Start};
use uniprof_wire::tables::ThreadState;

use super::ps::state_name;
use super::stack_text;
use crate::exit::{Exit, Failure};
use crate::input::Input;
use crate::subject::Opened;
use crate::{options, output};

const EXAMPLES: &str = "\
Examples:
  uniprof stacks kv                             a running guest; says for how long it was paused
  uniprof stacks kv.core --thread main
  uniprof core stacks kv.core --vcpu 0 --kernel bundled
  uniprof core stacks kv.core --json | jq '.stacks[].titles'

How a frame was found: leaf, cfi (unwind tables), instructions (of the code), frame-pointer, scan (a guess), inline.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// A dump, or a running guest by name or pid
    #[arg(value_name = "FILE|TARGET")]
    input: String,
    /// Only this thread, by name or id; repeatable
    #[arg(long, value_name = "NAME|ID")]
    thread: Vec<String>,
    /// Only this vCPU, and the thread that it runs; repeatable
    #[arg(long, value_name = "N")]
    vcpu: Vec<u32>,
    /// Every stack by itself and with every frame of a recursion, and those of threads that have ended
    #[arg(long)]
    all: bool,
    /// Print a JSON document (schema uniprof.stacks/1)
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    memory: options::Memory,
}

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    stacks: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    /// How many have this stack.
    count: usize,
    owners: Vec<Owner>,
    titles: Vec<String>,
    state: Option<&'static str>,
    vcpu: Option<u32>,
    /// Which registers it was followed from.
    from: Start,
    frames: Vec<StackFrame>,
    /// Why it ends there.
    end: String,
    /// Whether that is its outermost frame.
    complete: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let opened = Opened::open(&Input::choose(Some(&args.input))?, &args.memory)?;
    let (seen, all) = opened.look(|seen| Ok(stacks::of(&mut seen.subject)))?;
    let groups = select(all, args)?;
    if args.json {
        let stacks = groups.iter().map(Row::new).collect();
        return output::json(&Document { schema: "uniprof.stacks/1", stacks });
    }
    print(&groups, args.all)?;
    seen.tell_remarks();
    Ok(())
}

/// The stacks that were asked for, alike ones together.
fn select(all: Vec<Stack>, args: &Args) -> anyhow::Result<Vec<StackGroup>> {
    let none = all.is_empty();
    let titles: Vec<String> = all.iter().map(Stack::title).collect();
    let wanted = |stack: &Stack| {
        let thread = match stack.owner {
            Owner::Thread(id) => args.thread.iter().any(|word| *word == stack.name || word.parse() == Ok(id)),
            Owner::Vcpu(_) => false,
        };
        let on_vcpu = stack.vcpu.is_some_and(|vcpu| args.vcpu.contains(&vcpu));
        let runs = matches!(stack.owner, Owner::Vcpu(_)) || stack.state == Some(ThreadState::Running);
        let anything = args.thread.is_empty() && args.vcpu.is_empty();
        let ended = stack.state == Some(ThreadState::Exited);
        if anything { args.all || !ended } else { thread || (on_vcpu && runs) }
    };
    let chosen: Vec<Stack> = all.into_iter().filter(wanted).collect();
    if chosen.is_empty() {
        let sentence = match none {
            true => "there are no stacks: neither registers of a vCPU nor threads are known; give registers with --regs".into(),
            false => format!("there is no such thread or vCPU; there are {}", titles.join(", ")),
        };
        return Err(Failure::error(Exit::Failed, sentence));
    }
    if !args.all {
        return Ok(stacks::group(&chosen));
    }
    let alone = |stack: Stack| StackGroup { owners: vec![stack.owner], titles: vec![stack.title()], stack };
    Ok(chosen.into_iter().map(alone).collect())
}

impl Row {
    fn new(group: &StackGroup) -> Self {
        let stack = &group.stack;
        Self {
            count: group.owners.len(),
            owners: group.owners.clone(),
            titles: group.titles.clone(),
            state: stack.state.map(state_name),
            vcpu: stack.vcpu,
            from: stack.start,
            frames: stack.frames.clone(),
            end: stack.end.clone(),
            complete: stack.complete,
        }
    }
}

fn print(groups: &[StackGroup], all: bool) -> anyhow::Result<()> {
    let mut out = output::stdout();
    for (index, group) in groups.iter().enumerate() {
        if index > 0 {
            writeln!(out)?;
        }
        writeln!(out, "{}", output::printable(&heading(group)))?;
        stack_text::write(&mut out, &group.stack.frames, "  ", all)?;
        stack_text::write_end(&mut out, &group.stack, "  ")?;
    }
    Ok(out.flush()?)
}

/// Who has the stack, and what they were doing.
fn heading(group: &StackGroup) -> String {
    let stack = &group.stack;
    let doing = match (stack.state, stack.vcpu) {
        (Some(ThreadState::Running), Some(vcpu)) => format!(", running on vCPU {vcpu}"),
        (Some(state), _) => format!(", {}", state_name(state)),
        (None, _) => String::new(),
    };
    let from = match stack.start {
        Start::Crash => ", as of the crash",
        _ => "",
    };
    let count = match group.titles.len() {
        1 => String::new(),
        several => format!("{several} alike: "),
    };
    format!("{count}{}{doing}{from}", group.titles.join(", "))
}
