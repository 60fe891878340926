//! What QEMU's monitor prints for `info registers -a` (`target/i386/cpu-dump.c` in its tree), read strictly: a line that looks
//! different from what is known is an error, not a guess.

use std::collections::BTreeMap;

use crate::cpu::{CpuState, StateSource};
use crate::dump::page_table_root;

/// vCPUs of a guest; QEMU has at most 4096.
const MOST_CPUS: usize = 4096;
/// Registers of a vCPU in long mode: the general ones in our order, then the instruction pointer.
const LONG_MODE_NAMES: [&str; 17] = [
    "RAX", "RBX", "RCX", "RDX", "RSI", "RDI", "RBP", "RSP", "R8", "R9", "R10", "R11", "R12", "R13", "R14",
    "R15", "RIP",
];
/// The same outside of long mode.
const SHORT_NAMES: [&str; 9] = ["EAX", "EBX", "ECX", "EDX", "ESI", "EDI", "EBP", "ESP", "EIP"];

/// Why the text was not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistersError {
    /// There is no vCPU in it.
    #[error("the monitor named no vCPU")]
    NoCpu,
    /// vCPUs are not numbered from 0 in order.
    #[error("the monitor named vCPU {found:?} where {expected} was expected")]
    Order {
        /// The next number.
        expected: u32,
        /// What stood there.
        found: String,
    },
    /// A register is missing or no number.
    #[error("the monitor did not tell {register} of vCPU {vcpu}")]
    Missing {
        /// The register.
        register: &'static str,
        /// The vCPU.
        vcpu: u32,
    },
}

/// Reads the registers of all vCPUs.
pub fn parse_registers(text: &str) -> Result<Vec<CpuState>, RegistersError> {
    let mut cpus = Vec::new();
    let mut parts = text.split("CPU#").skip(1).peekable();
    if parts.peek().is_none() {
        return Err(RegistersError::NoCpu);
    }
    for (expected, part) in (0..).zip(parts.take(MOST_CPUS)) {
        let (number, rest) = part.split_once('\n').unwrap_or((part, ""));
        if number.trim().parse() != Ok(expected) {
            return Err(RegistersError::Order { expected, found: number.trim().chars().take(20).collect() });
        }
        cpus.push(one(expected, rest)?);
    }
    Ok(cpus)
}

fn one(vcpu: u32, text: &str) -> Result<CpuState, RegistersError> {
    let values = values(text);
    let get = |register: &'static str| -> Result<u64, RegistersError> {
        let missing = RegistersError::Missing { register, vcpu };
        let text = values.get(register).ok_or_else(|| missing.clone())?;
        u64::from_str_radix(text, 16).map_err(|_| missing)
    };
    let long = values.contains_key("RIP");
    let mut cpu = CpuState::new(vcpu, get(if long { "RIP" } else { "EIP" })?, StateSource::Monitor);
    let names = if long { &LONG_MODE_NAMES[..16] } else { &SHORT_NAMES[..8] };
    for (register, name) in cpu.general.iter_mut().zip(names) {
        *register = Some(get(name)?);
    }
    cpu.rflags = Some(get(if long { "RFL" } else { "EFL" })?);
    cpu.cs = Some(get("CS")? as u16);
    cpu.fs_base = segment_base(text, "FS");
    cpu.gs_base = segment_base(text, "GS");
    cpu.cr0 = Some(get("CR0")?);
    cpu.cr2 = Some(get("CR2")?);
    cpu.cr3 = Some(page_table_root(get("CR3")?));
    cpu.cr4 = Some(get("CR4")?);
    cpu.idt = descriptor_table(text, "IDT");
    cpu.halted = Some(get("HLT")? != 0);
    Ok(cpu)
}

/// Base and limit: `IDT=     0000000000118000 00000fff`.
fn descriptor_table(text: &str, name: &str) -> Option<(u64, u32)> {
    let line = text.lines().find_map(|line| line.trim_start().strip_prefix(name)?.strip_prefix('='))?;
    let mut words = line.split_whitespace();
    let base = u64::from_str_radix(words.next()?, 16).ok()?;
    Some((base, u32::from_str_radix(words.next()?, 16).ok()?))
}

/// Every `NAME=value`, the first of each name. Names may be padded with a blank: `R8 =0000…`, `CS =0008 …`.
fn values(text: &str) -> BTreeMap<&str, &str> {
    let mut values = BTreeMap::new();
    for line in text.lines() {
        let mut rest = line;
        while let Some((before, after)) = rest.split_once('=') {
            let name = before.trim_end().rsplit(char::is_whitespace).next().unwrap_or_default();
            let value = after.split_whitespace().next().unwrap_or_default();
            values.entry(name).or_insert(value);
            rest = after;
        }
    }
    values
}

/// The second word after `FS =`: `FS =0000 00007f1200000000 00000000 00000000`.
fn segment_base(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix('='))?;
    u64::from_str_radix(line.split_whitespace().nth(1)?, 16).ok()
}

#[cfg(test)]
mod tests {
    use uniprof_wire::address::GuestPhysical;

    use super::*;

    /// As QEMU 7.2 prints it, shortened where nothing is read.
    const LONG: &str = "\r\nCPU#0\r\n\
        RAX=0000000000000001 RBX=0000000000000002 RCX=0000000000000003 RDX=0000000000000004\r\n\
        RSI=0000000000000005 RDI=0000000000000006 RBP=0000000000000007 RSP=ffff800000000008\r\n\
        R8 =0000000000000009 R9 =000000000000000a R10=000000000000000b R11=000000000000000c\r\n\
        R12=000000000000000d R13=000000000000000e R14=000000000000000f R15=0000000000000010\r\n\
        RIP=0000000000101234 RFL=00000246 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=1\r\n\
        ES =0010 0000000000000000 ffffffff 00cf9300\r\n\
        CS =0008 0000000000000000 ffffffff 00af9b00\r\n\
        FS =0000 0000000000abc000 00000000 00000000\r\n\
        GS =0000 0000000000114c80 00000000 00000000\r\n\
        GDT=     0000000000117000 00000037\r\n\
        IDT=     0000000000118000 00000fff\r\n\
        CR0=80010033 CR2=0000000000000018 CR3=0000000000106007 CR4=00000620\r\n\
        EFER=0000000000000d00\r\n\
        FCW=037f FSW=0000 [ST=0] FTW=00 MXCSR=00001f80\r\n";

    #[test]
    fn every_register_is_where_it_belongs() {
        let text = format!("{LONG}\r\n{}", LONG.replace("CPU#0", "CPU#1").replace("HLT=1", "HLT=0"));
        let cpus = parse_registers(&text).unwrap();
        assert_eq!(cpus.len(), 2);
        let mut expected = CpuState::new(0, 0x10_1234, StateSource::Monitor);
        expected.general = std::array::from_fn(|index| Some(index as u64 + 1));
        expected.general[7] = Some(0xffff_8000_0000_0008);
        expected.rflags = Some(0x246);
        expected.cs = Some(8);
        expected.fs_base = Some(0xab_c000);
        expected.gs_base = Some(0x11_4c80);
        expected.cr0 = Some(0x8001_0033);
        expected.cr2 = Some(0x18);
        expected.cr3 = Some(GuestPhysical(0x10_6000));
        expected.cr4 = Some(0x620);
        expected.idt = Some((0x11_8000, 0xfff));
        expected.halted = Some(true);
        assert_eq!(cpus[0], expected);
        assert_eq!((cpus[1].vcpu, cpus[1].halted), (1, Some(false)));
    }

    #[test]
    fn a_guest_before_long_mode_has_eight_registers() {
        let text = "CPU#0\nEAX=00000001 EBX=00000000 ECX=00000000 EDX=00060fb1\n\
            ESI=00000000 EDI=00000000 EBP=00000000 ESP=00000000\n\
            EIP=0000fff0 EFL=00000002 [-------] CPL=0 II=0 A20=1 SMM=0 HLT=0\n\
            CS =f000 ffff0000 0000ffff 00009b00\nFS =0000 00000010 0000ffff 00009300\n\
            CR0=60000010 CR2=00000000 CR3=00000000 CR4=00000000\n";
        let cpu = &parse_registers(text).unwrap()[0];
        assert_eq!((cpu.rip, cpu.general[3], cpu.general[8]), (0xfff0, Some(0x6_0fb1), None));
        assert_eq!((cpu.cs, cpu.fs_base, cpu.gs_base), (Some(0xf000), Some(0x10), None));
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(parse_registers("no such thing"), Err(RegistersError::NoCpu));
        let without = LONG.replace("CR3=0000000000106007", "CR3=xyz");
        assert_eq!(parse_registers(&without), Err(RegistersError::Missing { register: "CR3", vcpu: 0 }));
        let cut = &LONG[..200];
        assert!(matches!(parse_registers(cut), Err(RegistersError::Missing { .. })));
        let wrong = LONG.replace("CPU#0", "CPU#7");
        assert!(parse_registers(&wrong).unwrap_err().to_string().contains("\"7\""));
    }
}
