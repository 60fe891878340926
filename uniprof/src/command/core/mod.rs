//! `uniprof core`: what a dump of a dead unikernel still tells. One file per verb; most of them are commands of their own,
//! too, that take a running guest as well.

mod address;
mod dis;
mod export;
pub(crate) mod find;
mod fit;
pub(crate) mod heap;
pub(crate) mod info;
pub(crate) mod locks;
pub(crate) mod mem;
pub(crate) mod print;
pub(crate) mod ps;
pub(crate) mod regs;
pub(crate) mod report;
mod report_text;
mod screen;
pub(crate) mod shares;
mod stack_text;
pub(crate) mod stacks;

use clap::Subcommand;

use crate::command::{flame, logs, net, symbols, trace};

const EXAMPLES: &str = "\
Examples:
  uniprof core kv.core                          what killed it: one screen
  uniprof core kv.core --kernel bundled --json | jq .verdict
  uniprof core info kv.core                     what the dump is, and what it lacks
  uniprof core print kv.core tsc::HZ            a variable
  uniprof core mem kv.core rsp --kernel bundled
  uniprof core flame kv.core -o last.svg        where its last seconds went
  uniprof core export kv.core -o x.elf          a core with all threads, for gdb

Without a verb it is `report`. A file that is called like a verb is ./VERB. `uniprof stacks`, `ps`, `print`, `locks`, `net`, `heap`, `regs`, `mem`, `find`, `trace`, `logs` \
and `flame` without `core` do the same, and take a running guest, too.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true, subcommand_value_name = "VERB")]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    report: report::Optional,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// What killed it, or what it is at: one screen
    Report(report::Args),
    /// What the dump is, and what it lacks
    Info(info::Args),
    /// What every thread and vCPU was doing
    Stacks(stacks::Args),
    /// Threads: state, vCPU, CPU time
    #[command(visible_alias = "threads")]
    Ps(ps::Args),
    /// The value of an expression, by its type
    Print(print::Args),
    /// Connections with state, queues and threads, and interfaces with counters
    Net(net::Args),
    /// Who waits for whom, and deadlocks
    Locks(locks::Args),
    /// The heap by size and by who allocated, and blocks that nobody points to
    Heap(heap::Args),
    /// Registers of every vCPU
    Regs(regs::Args),
    /// The last events
    Trace(trace::Args),
    /// The last console and log lines
    Logs(logs::Args),
    /// A flame graph of the last samples
    Flame(flame::Args),
    /// Memory, with names for what it points to
    Mem(mem::Args),
    /// Machine code, as it lay in memory
    Dis(dis::Args),
    /// Where a value lies in memory
    Find(find::Args),
    /// An ordinary ELF core with all threads, for gdb
    Export(export::Args),
    /// Which images name the addresses, and where they were looked for
    Symbols(symbols::Args),
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let Some(verb) = &args.verb else { return report::run_optional(&args.report) };
    match verb {
        Verb::Report(args) => report::run(args),
        Verb::Info(args) => info::run(args),
        Verb::Stacks(args) => stacks::run(args),
        Verb::Ps(args) => ps::run(args),
        Verb::Print(args) => print::run(args),
        Verb::Net(args) => net::run(args),
        Verb::Locks(args) => locks::run(args),
        Verb::Heap(args) => heap::run(args),
        Verb::Dis(args) => dis::run(args),
        Verb::Regs(args) => regs::run(args),
        Verb::Trace(args) => trace::run(args),
        Verb::Logs(args) => logs::run(args),
        Verb::Flame(args) => flame::run(args),
        Verb::Mem(args) => mem::run(args),
        Verb::Find(args) => find::run(args),
        Verb::Export(args) => export::run(args),
        Verb::Symbols(args) => symbols::run(args),
    }
}
