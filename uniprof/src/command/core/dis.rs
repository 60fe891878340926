//! `uniprof core dis`: machine code as it lay in the guest's memory.
//!
//! ```text
//! $ uniprof core dis shop.core rip
//! shop::price
//!      0x200ffc  48 8b 3e  mov rdi,[rsi]                    shop/price.rs:30
//!   => 0x201000  8b 47 18  mov eax,[rdi+18h]                shop/price.rs:31
//! ```

use std::io::Write as _;

use serde::Serialize;
use uniprof_postmortem::Subject;
use uniprof_postmortem::disassembly::{self, Line, Listing};

use super::{address, stack_text};
use crate::exit::{Exit, Failure};
use crate::input::Input;
use crate::subject::Opened;
use crate::{options, output};

const EXAMPLES: &str = "\
Examples:
  uniprof core dis kv.core kv::store::Store::get     a function, whole; any end of its path names it
  uniprof core dis kv.core rip --vcpu 1              around where a vCPU was, with what its operands were
  uniprof core dis kv.core 0x20c4d3 --json | jq -r '.lines[].text'";

/// Instructions that are shown before and after an address.
const AROUND: (usize, usize) = (12, 12);

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// A dump, or a running guest by name or pid
    #[arg(value_name = "FILE|TARGET")]
    input: String,
    /// A function, or a number or register with an offset, such as 0x201000, rip, rip-8
    #[arg(value_name = "FUNCTION|ADDR")]
    at: String,
    /// Whose registers are meant [default: the first vCPU's]
    #[arg(long, value_name = "N")]
    vcpu: Option<u32>,
    /// Print a JSON document (schema uniprof.dis/1)
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    memory: options::Memory,
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    #[serde(flatten)]
    listing: &'a Listing,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let opened = Opened::open(&Input::choose(Some(&args.input))?, &args.memory)?;
    let (seen, listing) = opened.look(|seen| list(&mut seen.subject, args))?;
    if args.json {
        return output::json(&Document { schema: "uniprof.dis/1", listing: &listing });
    }
    print(&listing)?;
    seen.tell_remarks();
    Ok(())
}

fn list(subject: &mut Subject, args: &Args) -> anyhow::Result<Listing> {
    let cpu = subject.cpus.iter().find(|cpu| args.vcpu.is_none_or(|vcpu| vcpu == cpu.vcpu)).cloned();
    // A function is shown whole; only numbers and registers are places within one.
    let function = disassembly::function(subject, &args.at);
    if function.is_ok() {
        return Ok(function?);
    }
    let Ok(at) = address::parse(subject, cpu.as_ref(), &args.at) else {
        return Err(Failure::error(
            Exit::Failed,
            function.err().map(|why| why.to_string()).unwrap_or_default(),
        ));
    };
    let registers = cpu.filter(|cpu| cpu.rip == at.0);
    Ok(disassembly::around(subject, at, registers.as_ref(), AROUND)?)
}

fn print(listing: &Listing) -> anyhow::Result<()> {
    let mut out = output::stdout();
    if let Some(function) = &listing.function {
        writeln!(out, "{}", output::printable(function))?;
    }
    let widest = |of: fn(&Line) -> usize| listing.lines.iter().map(of).max().unwrap_or(0);
    let (bytes, text) = (widest(|line| line.bytes.len()), widest(|line| line.text.chars().count()));
    let mut last = None;
    for line in &listing.lines {
        let mark = if line.current { "=>" } else { "  " };
        // A line of source is named once for all of its instructions.
        let source = line.source.as_deref().filter(|source| last != Some(*source)).unwrap_or_default();
        last = line.source.as_deref();
        let shown = format!(
            "  {mark} {:#x}  {:<bytes$}  {:<text$}  {}",
            line.address,
            line.bytes,
            line.text,
            stack_text::short(source)
        );
        writeln!(out, "{}", output::printable(shown.trim_end()))?;
        for operand in &line.operands {
            let shown = format!("       {:<6} = {:#x}  {}", operand.name, operand.value, operand.note);
            writeln!(out, "{}", output::printable(shown.trim_end()))?;
        }
        if let Some(image) = &line.image_has {
            writeln!(out, "       the image has {image} here: the code was patched or overwritten")?;
        }
    }
    out.flush()?;
    for remark in &listing.remarks {
        output::say(format_args!("uniprof: {remark}"));
    }
    Ok(())
}
