//! `uniprof completions`: a completion script for a shell.
//!
//! ```text
//! $ uniprof completions bash > ~/.local/share/bash-completion/completions/uniprof
//! ```

use std::io::Write as _;

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::{cli::Cli, output};

const EXAMPLES: &str = "\
Examples:
  uniprof completions bash > ~/.local/share/bash-completion/completions/uniprof
  uniprof completions fish > ~/.config/fish/completions/uniprof.fish";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    shell: Shell,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    // Into memory first: the generator panics on an error of its writer.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "uniprof", &mut script);
    let mut out = output::stdout();
    out.write_all(&script)?;
    Ok(out.flush()?)
}
