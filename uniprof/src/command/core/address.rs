//! Addresses as people write them: numbers, registers, symbols, each with an offset.

use uniprof_collector::cpu::{CpuState, GENERAL};
use uniprof_postmortem::Subject;
use uniprof_wire::address::GuestVirtual;

use crate::exit::{Exit, Failure};
use crate::values;

/// What `text` means: `0x1234`, `rsp`, `heap::HEAP`, `main+0x20`, `rbp-8`. Registers are those of `cpu`.
pub(super) fn parse(subject: &Subject, cpu: Option<&CpuState>, text: &str) -> anyhow::Result<GuestVirtual> {
    let offset = text.rfind(['+', '-']).filter(|at| *at > 0);
    let split = offset.and_then(|at| {
        let distance = values::number(&text[at + 1..]).ok()?;
        let distance = if text[at..].starts_with('-') { distance.wrapping_neg() } else { distance };
        Some((text[..at].trim(), distance))
    });
    let (base, distance) = split.unwrap_or((text.trim(), 0));
    let base = number(base).or_else(|| register(cpu?, base)).or_else(|| symbol(subject, base));
    match base {
        Some(base) => Ok(GuestVirtual(base.wrapping_add(distance))),
        None => Err(Failure::error(
            Exit::Failed,
            format!(
                "`{text}` is no address: neither a number, nor a register whose value is known, nor a symbol of the image"
            ),
        )),
    }
}

fn number(text: &str) -> Option<u64> {
    values::number(text).ok()
}

fn register(cpu: &CpuState, name: &str) -> Option<u64> {
    match name {
        "rip" => Some(cpu.rip),
        "cr2" => cpu.cr2,
        "fs_base" => cpu.fs_base,
        "gs_base" => cpu.gs_base,
        name => cpu.general[GENERAL.iter().position(|known| *known == name)?],
    }
}

fn symbol(subject: &Subject, name: &str) -> Option<u64> {
    subject.program.images().iter().find_map(|loaded| {
        let symbol = loaded.image.symbol_called(name)?;
        Some(loaded.bias.to_guest(symbol.address).0)
    })
}
