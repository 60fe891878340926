//! `uniprof regs`: the registers of every vCPU of a dump or of a running guest.
//!
//! ```text
//! $ uniprof regs kv.core --vcpu 0
//! vcpu0: all registers, from QEMU's note in the dump
//!   rip 0x0000000000105e2c  uniprof_sample_kernel::workload::kv::get+0x3c
//!   rax 0x0000000000000000      rbx 0x000000000012f0a8
//! ```

use std::collections::BTreeMap;
use std::io::Write as _;

use serde::Serialize;
use uniprof_collector::cpu::{CpuState, GENERAL, StateSource};
use uniprof_postmortem::{Subject, of_crash_records, owner};
use uniprof_wire::address::GuestVirtual;

use crate::exit::{Exit, Failure};
use crate::input::Input;
use crate::subject::Opened;
use crate::{options, output};

const EXAMPLES: &str = "\
Examples:
  uniprof regs kv.core
  uniprof regs kv --vcpu 1                      a running guest that `uniprof ls` lists
  uniprof core regs kv.core --json | jq '.vcpus[0].registers.cr2'";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// A dump, or a running guest by name or pid
    #[arg(value_name = "FILE|TARGET")]
    input: String,
    /// Only this vCPU; repeatable
    #[arg(long, value_name = "N")]
    vcpu: Vec<u32>,
    /// Print a JSON document (schema uniprof.regs/1)
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    memory: options::Memory,
}

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    vcpus: Vec<Vcpu>,
    /// What crash records have, where a vCPU went on after its crash: for people.
    #[serde(skip)]
    crashed: Vec<Vcpu>,
}

#[derive(Serialize)]
struct Vcpu {
    vcpu: u32,
    /// Who knew the registers.
    source: &'static str,
    halted: Option<bool>,
    /// By name, in hexadecimal; those that nobody knew are absent.
    registers: BTreeMap<&'static str, String>,
    /// What those point to that point to something with a name.
    points_to: BTreeMap<&'static str, String>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let opened = Opened::open(&Input::choose(Some(&args.input))?, &args.memory)?;
    let (seen, document) = opened.look(|seen| document(&seen.subject, &args.vcpu))?;
    if args.json {
        return output::json(&document);
    }
    print(&document)?;
    seen.tell_remarks();
    Ok(())
}

fn document(subject: &Subject, wanted: &[u32]) -> anyhow::Result<Document> {
    let shown = |cpu: &&CpuState| wanted.is_empty() || wanted.contains(&cpu.vcpu);
    let vcpus: Vec<Vcpu> = subject.cpus.iter().filter(shown).map(|cpu| vcpu(subject, cpu)).collect();
    if vcpus.is_empty() {
        return Err(Failure::error(Exit::Failed, absent(subject)));
    }
    // What a vCPU had when it crashed, where it went on from there.
    let records = subject.region.as_ref().map(of_crash_records).unwrap_or_default();
    let went_on = |crash: &CpuState| {
        let cpu = subject.cpus.iter().find(|cpu| cpu.vcpu == crash.vcpu);
        cpu.is_some_and(|cpu| cpu.source != StateSource::CrashRecord && cpu.rip != crash.rip)
    };
    let crashed = records.iter().filter(shown).filter(|crash| went_on(crash));
    let crashed = crashed.map(|crash| vcpu(subject, crash)).collect();
    Ok(Document { schema: "uniprof.regs/1", vcpus, crashed })
}

fn absent(subject: &Subject) -> String {
    if subject.cpus.is_empty() {
        return "no registers are known: the dump has none, and the guest left no crash record; give them with --regs"
            .into();
    }
    let there: Vec<String> = subject.cpus.iter().map(|cpu| cpu.vcpu.to_string()).collect();
    format!("there is no such vCPU; registers are known of {}", there.join(", "))
}

/// The registers that are known, in the order in which they are shown.
pub(super) fn known(cpu: &CpuState) -> Vec<(&'static str, u64)> {
    let general = GENERAL.into_iter().zip(cpu.general);
    let special = [
        ("rflags", cpu.rflags),
        ("cs", cpu.cs.map(u64::from)),
        ("fs_base", cpu.fs_base),
        ("gs_base", cpu.gs_base),
        ("cr0", cpu.cr0),
        ("cr2", cpu.cr2),
        ("cr3", cpu.cr3.map(|cr3| cr3.0)),
        ("cr4", cpu.cr4),
    ];
    let all = [("rip", Some(cpu.rip))].into_iter().chain(general).chain(special);
    all.filter_map(|(name, value)| Some((name, value?))).collect()
}

fn vcpu(subject: &Subject, cpu: &CpuState) -> Vcpu {
    let known = known(cpu);
    let named = known.iter().filter(|(name, _)| !matches!(*name, "rflags" | "cs" | "cr0" | "cr3" | "cr4"));
    let points_to = named
        .filter_map(|(name, value)| Some((*name, owner::of(subject, GuestVirtual(*value))?.to_string())));
    Vcpu {
        vcpu: cpu.vcpu,
        source: source(cpu.source),
        halted: cpu.halted,
        points_to: points_to.collect(),
        registers: known.iter().map(|(name, value)| (*name, format!("{value:#x}"))).collect(),
    }
}

/// Who knew the registers, for people.
pub(super) fn source(source: StateSource) -> &'static str {
    match source {
        StateSource::QemuNote => "QEMU's note in the dump",
        StateSource::PrStatus => "the dump's NT_PRSTATUS note",
        StateSource::XenContext => "Xen's section in the dump",
        StateSource::Monitor => "the hypervisor",
        StateSource::CrashRecord => "the guest's crash record",
        StateSource::ThreadTable => "the guest's thread table",
        StateSource::Given => "the command line",
    }
}

fn print(document: &Document) -> anyhow::Result<()> {
    let mut out = output::stdout();
    let order = || ["rip"].into_iter().chain(GENERAL);
    let special = ["rflags", "cs", "fs_base", "gs_base", "cr0", "cr2", "cr3", "cr4"];
    for vcpu in document.vcpus.iter().chain(&document.crashed) {
        let halted = if vcpu.halted == Some(true) { ", halted" } else { "" };
        writeln!(out, "vcpu{}{halted}, from {}", vcpu.vcpu, vcpu.source)?;
        for name in order().chain(special) {
            let Some(value) = vcpu.registers.get(name) else { continue };
            let digits = value.trim_start_matches("0x");
            let owner = vcpu.points_to.get(name).map(|owner| format!("  {owner}")).unwrap_or_default();
            writeln!(out, "  {name:<7} 0x{digits:0>16}{}", output::printable(&owner))?;
        }
    }
    Ok(out.flush()?)
}
