//! One file per command. Each has its `Args`, its examples, and a `run` that is glue over the libraries.

pub(crate) mod attach;
pub(crate) mod completions;
pub(crate) mod core;
pub(crate) mod ctl;
pub(crate) mod demo;
pub(crate) mod diff;
pub(crate) mod doctor;
pub(crate) mod dump;
pub(crate) mod export;
pub(crate) mod flame;
pub(crate) mod kernel;
pub(crate) mod list;
pub(crate) mod logs;
pub(crate) mod ls;
pub(crate) mod man;
pub(crate) mod net;
pub(crate) mod pcap;
pub(crate) mod ping;
pub(crate) mod record;
pub(crate) mod report;
pub(crate) mod run;
pub(crate) mod stop;
pub(crate) mod symbolize;
pub(crate) mod symbols;
pub(crate) mod trace;

use crate::cli::{Cli, Command};

/// Does what the command line asks for.
pub(crate) fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::Demo(args) => demo::run(&args),
        Command::Record(args) => record::run(&args),
        Command::Run(args) => run::run(&args),
        Command::Attach(args) => attach::run(&args),
        Command::Ls(args) => ls::run(&args),
        Command::Stop(args) => stop::run(&args),
        Command::Ctl(args) => ctl::run(&args),
        Command::Ping(args) => ping::run(&args),
        Command::List(args) => list::run(&args),
        Command::Flame(args) => flame::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Diff(args) => diff::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Logs(args) => logs::run(&args),
        Command::Trace(args) => trace::run(&args),
        Command::Stacks(args) => core::stacks::run(&args),
        Command::Ps(args) => core::ps::run(&args),
        Command::Print(args) => core::print::run(&args),
        Command::Pcap(args) => pcap::run(&args),
        Command::Net(args) => net::run(&args),
        Command::Locks(args) => core::locks::run(&args),
        Command::Heap(args) => core::heap::run(&args),
        Command::Regs(args) => core::regs::run(&args),
        Command::Mem(args) => core::mem::run(&args),
        Command::Find(args) => core::find::run(&args),
        Command::Core(args) => core::run(&args),
        Command::Dump(args) => dump::run(&args),
        Command::Symbolize(args) => symbolize::run(&args),
        Command::Symbols(args) => symbols::run(&args),
        Command::Kernel(args) => kernel::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => man::run(&args),
    }
}
