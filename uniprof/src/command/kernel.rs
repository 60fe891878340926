//! `uniprof kernel`: the bundled unikernel as a file, for `qemu -kernel`, for a debugger, for `--kernel`.
//!
//! ```text
//! $ uniprof kernel -o kernel.elf
//! wrote kernel.elf (1.8 MB); boot it with `uniprof run kernel.elf -- workload=kv`
//! ```

use std::path::{Path, PathBuf};

use crate::{bundled, output};

const EXAMPLES: &str = "\
Examples:
  uniprof kernel -o kernel.elf
  uniprof kernel -o - | file -";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The file to write; `-` is standard output
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let elf = bundled::elf()?;
    output::file(&args.output, |out| Ok(out.write_all(elf)?))?;
    if args.output != Path::new("-") {
        output::say(format_args!(
            "wrote {path} ({size:.1} MB); boot it with `uniprof run {path} -- workload=kv`",
            path = args.output.display(),
            size = elf.len() as f64 / 1e6
        ));
    }
    Ok(())
}
