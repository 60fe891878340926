//! `uniprof mem`: memory of a dump or of a running guest, with names for what its words point to.
//!
//! ```text
//! $ uniprof mem kv.core rsp --len 32
//! 0x000000000041df80  c0 df 41 00 00 00 00 00  2c 5e 10 00 00 00 00 00  ..A.....,^......  stack of kv-0 (thread 2); kv::get+0x3c
//! ```

use std::io::Write as _;

use serde::Serialize;
use uniprof_postmortem::memory::{self, ROW_BYTES, Row};
use uniprof_wire::address::GuestPhysical;

use super::address;
use crate::exit::{Exit, Failure};
use crate::input::Input;
use crate::subject::Opened;
use crate::values::Size;
use crate::{options, output};

const EXAMPLES: &str = "\
Examples:
  uniprof mem kv.core rsp                       the top of the first vCPU's stack
  uniprof mem kv.core rbp-0x40 --vcpu 1 --len 128
  uniprof mem kv 0x100000                       a running guest that `uniprof ls` lists
  uniprof core mem kv.core UNIPROF_REGION --len 256
  uniprof core mem kv.core 0xfe000000 --physical";

/// More is a job for a debugger.
const MOST: u64 = 1 << 20;

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// A dump, or a running guest by name or pid
    #[arg(value_name = "FILE|TARGET")]
    input: String,
    /// Where: a number, a register or a symbol, and an offset, such as 0x1000, rsp, main+0x20
    #[arg(value_name = "ADDR")]
    at: String,
    /// How many bytes
    #[arg(long, value_name = "SIZE", default_value = "128")]
    len: Size,
    /// The address is one of physical memory
    #[arg(long)]
    physical: bool,
    /// Whose registers are meant [default: the first vCPU's]
    #[arg(long, value_name = "N")]
    vcpu: Option<u32>,
    /// Print a JSON document (schema uniprof.mem/1)
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    memory: options::Memory,
}

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    /// Of physical memory, or as the guest's code sees it.
    physical: bool,
    rows: Vec<Shown>,
}

#[derive(Serialize)]
struct Shown {
    address: String,
    /// In hexadecimal, without blanks; absent where they can't be read.
    bytes: Option<String>,
    /// Why they can't be read.
    unreadable: Option<String>,
    points_to: Vec<Pointer>,
}

#[derive(Serialize)]
struct Pointer {
    /// Bytes behind the row's address.
    offset: usize,
    to: String,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    if args.len.0 > MOST {
        return Err(Failure::error(Exit::Usage, format!("--len is at most {MOST} bytes")));
    }
    let opened = Opened::open(&Input::choose(Some(&args.input))?, &args.memory)?;
    let (seen, rows) = opened.look(|seen| {
        let subject = &seen.subject;
        let wanted = |vcpu: u32| args.vcpu.is_none_or(|wanted| wanted == vcpu);
        let cpu = subject.cpus.iter().find(|cpu| wanted(cpu.vcpu));
        let at = address::parse(subject, cpu, &args.at)?;
        Ok(match args.physical {
            true => memory::physical_rows(subject, GuestPhysical(at.0), args.len.0),
            false => memory::rows(subject, at, args.len.0),
        })
    })?;
    if rows.iter().all(|row| row.bytes.is_err()) {
        let why = rows.first().and_then(|row| row.bytes.as_ref().err().cloned()).unwrap_or_default();
        return Err(Failure::error(Exit::Failed, format!("nothing can be read there: {why}")));
    }
    if args.json {
        let rows = rows.iter().map(Shown::new).collect();
        return output::json(&Document { schema: "uniprof.mem/1", physical: args.physical, rows });
    }
    let mut out = output::stdout();
    for row in &rows {
        writeln!(out, "{}", line(row))?;
    }
    out.flush()?;
    seen.tell_remarks();
    Ok(())
}

impl Shown {
    fn new(row: &Row) -> Self {
        let hex = |bytes: &Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let pointer = |(word, to): &(usize, _)| Pointer { offset: word * 8, to: format!("{to}") };
        Self {
            address: format!("{:#x}", row.at),
            bytes: row.bytes.as_ref().ok().map(hex),
            unreadable: row.bytes.as_ref().err().cloned(),
            points_to: row.points_to.iter().map(pointer).collect::<Vec<Pointer>>(),
        }
    }
}

fn line(row: &Row) -> String {
    let bytes = match &row.bytes {
        Ok(bytes) => bytes,
        Err(why) => return format!("{:#018x}  {why}", row.at),
    };
    let (mut hex, mut text) = (String::new(), String::new());
    for index in 0..ROW_BYTES as usize {
        let gap = if index == 8 { "  " } else { " " };
        match bytes.get(index) {
            Some(byte) => hex.push_str(&format!("{}{byte:02x}", if index == 0 { "" } else { gap })),
            None => hex.push_str(&format!("{gap}  ")),
        }
        text.extend(bytes.get(index).map(|byte| match byte {
            b' '..=b'~' => char::from(*byte),
            _ => '.',
        }));
    }
    let owners: Vec<String> = row.points_to.iter().map(|(_, owner)| owner.to_string()).collect();
    let line = format!("{:#018x}  {hex}  {text:<16}  {}", row.at, output::printable(&owners.join("; ")));
    line.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use uniprof_postmortem::owner::Owner;

    #[test]
    fn a_row_shows_bytes_text_and_what_they_point_to() {
        let owner = Owner::Symbol { name: "main".into(), offset: 4, code: true };
        let row = Row { at: 0x1000, bytes: Ok(b"unikernel\0\x01\x7f".to_vec()), points_to: vec![(0, owner)] };
        assert_eq!(
            line(&row),
            "0x0000000000001000  75 6e 69 6b 65 72 6e 65  6c 00 01 7f              unikernel...      main+0x4"
        );
        let gone = Row { at: 0x2000, bytes: Err("not mapped".into()), points_to: Vec::new() };
        assert_eq!(line(&gone), "0x0000000000002000  not mapped");
    }
}
