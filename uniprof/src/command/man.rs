//! `uniprof man`: the manual, made from the same definitions as `--help`.
//!
//! ```text
//! $ uniprof man | man -l -
//! $ uniprof man -o ~/.local/share/man/man1 && man uniprof-record
//! ```

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Command, CommandFactory as _};
use clap_mangen::Man;

use crate::{cli::Cli, output};

const EXAMPLES: &str = "\
Examples:
  uniprof man | man -l -
  uniprof man doctor | man -l -
  uniprof man -o ~/.local/share/man/man1";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The command whose page to print; left out, the overview
    command: Option<String>,
    /// Write the pages of all commands into this directory
    #[arg(short, long, value_name = "DIR", conflicts_with = "command")]
    output: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let mut root = Cli::command();
    root.build();
    if let Some(dir) = &args.output {
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let commands = root.get_subcommands().filter(|command| command.get_name() != "help");
        for command in commands.chain([&root]) {
            let man = page(command.clone());
            output::file(&dir.join(man.get_filename()), |out| Ok(man.render(out)?))?;
        }
        return Ok(());
    }
    let chosen = match &args.command {
        None => root,
        Some(name) => root.find_subcommand(name).cloned().with_context(|| {
            format!("there is no command `{name}`, so it has no manual page; `uniprof --help` lists them")
        })?,
    };
    let mut text = Vec::new();
    page(chosen).render(&mut text)?;
    let mut out = output::stdout();
    out.write_all(&text)?;
    Ok(out.flush()?)
}

fn page(command: Command) -> Man {
    Man::new(command)
}
