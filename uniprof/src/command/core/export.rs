//! `uniprof core export`: a dump as an ordinary ELF core, for gdb and whatever else reads one.
//!
//! ```text
//! $ uniprof core export kv.core -o x.elf
//! wrote x.elf: 5 threads, 268.4 MB of memory of which 9.1 MB are not zero; open it with `gdb KERNEL x.elf`
//! ```

use std::path::{Path, PathBuf};

use serde::Serialize;
use uniprof_postmortem::export::{self, Exported};

use crate::input::Input;
use crate::subject::Opened;
use crate::{bundled, options, output};

const EXAMPLES: &str = "\
Examples:
  uniprof core export kv.core -o x.elf
  gdb -ex 'thread apply all bt' kernel.elf x.elf

The numbers that gdb calls threads by (LWP) are those of the guest's threads; vCPUs that ran none come after 1000000.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// A dump, or a running guest by name or pid
    #[arg(value_name = "FILE|TARGET")]
    input: String,
    /// Where to write the core
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Print what was written as a JSON document (schema uniprof.core-export/1)
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    memory: options::Memory,
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    file: &'a Path,
    #[serde(flatten)]
    exported: &'a Exported,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let opened = Opened::open(&Input::choose(Some(&args.input))?, &args.memory)?;
    let (opened, exported) = opened
        .look(|seen| output::sparse_file(&args.output, |file| Ok(export::write(&mut seen.subject, file)?)))?;
    opened.tell_remarks();
    for lack in &exported.lacks {
        output::say(format_args!("uniprof: {lack}"));
    }
    if args.json {
        return output::json(&Document {
            schema: "uniprof.core-export/1",
            file: &args.output,
            exported: &exported,
        });
    }
    let kernel = opened.subject.program.images().first().map_or("KERNEL", |loaded| &loaded.name);
    // The one that is bundled is no file yet; one that was found by its build-id may lie anywhere.
    let (first, kernel) = match kernel {
        bundled::NAME => ("`uniprof kernel -o kernel.elf` and ", "kernel.elf"),
        kernel if Path::new(kernel).exists() => ("", kernel),
        _ => ("", "KERNEL"),
    };
    output::say(format_args!(
        "wrote {0}: {1} threads, {2:.1} MB of memory of which {3:.1} MB are not zero; open it with {first}`gdb {kernel} {0}`",
        args.output.display(),
        exported.threads.len(),
        exported.memory_bytes as f64 / 1e6,
        exported.stored_bytes as f64 / 1e6,
    ));
    Ok(())
}
