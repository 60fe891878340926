//! One file per command. Each has its `Args`, its examples, and a `run` that is glue over the libraries.

pub(crate) mod completions;
pub(crate) mod doctor;
pub(crate) mod kernel;
pub(crate) mod ls;
pub(crate) mod man;
pub(crate) mod run;
pub(crate) mod stop;

use crate::cli::{Cli, Command};

/// Does what the command line asks for.
pub(crate) fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::Run(args) => run::run(&args),
        Command::Ls(args) => ls::run(&args),
        Command::Stop(args) => stop::run(&args),
        Command::Kernel(args) => kernel::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => man::run(&args),
    }
}
