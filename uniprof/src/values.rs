//! Values as people write them, on the command line, in the environment and in the configuration file.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;
use uniprof_collector::cpu::{CpuState, GENERAL, StateSource};
use uniprof_collector::qemu;
use uniprof_wire::address::GuestPhysical;
use uniprof_wire::record::MAX_SNAPSHOT_BYTES;

/// Samples per second and vCPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hertz(pub(crate) u32);

impl Hertz {
    const MOST: u32 = uniprof_tui::HIGHEST_RATE;
}

impl FromStr for Hertz {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(rate @ 1..=Self::MOST) => Ok(Self(rate)),
            _ => Err(format!("a rate is a whole number from 1 to {} samples per second", Self::MOST)),
        }
    }
}

/// A share of a vCPU's time: `1%`, `0.5%`; in millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Budget(pub(crate) u32);

impl FromStr for Budget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let percent = text.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
        match percent {
            Some(percent) if (0.001..=100.0).contains(&percent) => {
                Ok(Self((percent * 10_000.0).round() as u32))
            }
            _ => Err(format!("`{text}` is no share of a vCPU's time; examples are 1% and 0.5%")),
        }
    }
}

/// How stacks are found: `fp`, `dwarf`, `dwarf,BYTES`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallGraph {
    /// By frame pointers, in the guest; the caller of a leaf function by its unwind table.
    Fp,
    /// By unwind tables, here: every sample takes along its registers and at most so many bytes of its stack.
    Dwarf(u32),
}

impl CallGraph {
    /// What perf takes.
    const USUAL_BYTES: u32 = 8192;

    /// Bytes of stack that a sample takes along.
    pub(crate) fn snapshot_bytes(self) -> u32 {
        match self {
            Self::Fp => 0,
            Self::Dwarf(bytes) => bytes,
        }
    }
}

impl FromStr for CallGraph {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bytes = match text.split_once(',') {
            None if text == "fp" => return Ok(Self::Fp),
            None if text == "dwarf" => return Ok(Self::Dwarf(Self::USUAL_BYTES)),
            Some(("dwarf", bytes)) => bytes,
            _ => {
                return Err(format!(
                    "`{text}` is no way to find stacks; there are fp, dwarf and dwarf,BYTES"
                ));
            }
        };
        match bytes.parse::<Size>() {
            Ok(Size(bytes)) if bytes <= MAX_SNAPSHOT_BYTES.into() => {
                // Stacks consist of words; perf rounds up, too.
                Ok(Self::Dwarf((bytes as u32).next_multiple_of(8)))
            }
            _ => {
                Err(format!("`{bytes}` is no size of a stack snapshot; 8 to {MAX_SNAPSHOT_BYTES} bytes are"))
            }
        }
    }
}

/// A length of time: `10`, `10s`, `500ms`, `2m`, `1h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) Duration);

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused = || format!("`{text}` is no length of time; examples are 10 (seconds), 500ms, 2m, 1h");
        let (number, unit) = split_unit(text);
        let seconds = match unit {
            "" | "s" => 1.0,
            "ms" => 0.001,
            "m" | "min" => 60.0,
            "h" => 3600.0,
            _ => return Err(refused()),
        };
        let number: f64 = number.parse().map_err(|_| refused())?;
        match Duration::try_from_secs_f64(number * seconds) {
            Ok(length) if !length.is_zero() => Ok(Self(length)),
            _ => Err(refused()),
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}s", self.0.as_secs_f64())
    }
}

/// An amount of memory: `64K`, `1M`, `1G`, or bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) u64);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused = || format!("`{text}` is no size; examples are 64K, 1M, 256M, 2G");
        let (number, unit) = split_unit(text);
        let shift = match unit.to_ascii_lowercase().as_str() {
            "" | "b" => 0,
            "k" | "kb" | "kib" => 10,
            "m" | "mb" | "mib" => 20,
            "g" | "gb" | "gib" => 30,
            _ => return Err(refused()),
        };
        let number: u64 = number.parse().map_err(|_| refused())?;
        number.checked_mul(1 << shift).filter(|bytes| *bytes > 0).map(Self).ok_or_else(refused)
    }
}

fn split_unit(text: &str) -> (&str, &str) {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    text.split_at(digits)
}

/// `ELF[@BIAS]`: an image, and how far from its link addresses it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Image {
    pub(crate) file: PathBuf,
    /// `None` where that is for the guest to say.
    pub(crate) bias: Option<u64>,
}

impl FromStr for Image {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((file, bias)) = text.rsplit_once('@') else {
            return Ok(Self { file: text.into(), bias: None });
        };
        let bias =
            hexadecimal(bias).map_err(|reason| format!("{reason}; write one like app.elf@0x10000000"))?;
        Ok(Self { file: file.into(), bias: Some(bias) })
    }
}

/// `FROM=TO`: sources that were at FROM when the image was built lie at TO here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PathMap {
    pub(crate) from: PathBuf,
    pub(crate) to: PathBuf,
}

impl FromStr for PathMap {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((from, to)) if !from.is_empty() && !to.is_empty() => {
                Ok(Self { from: from.into(), to: to.into() })
            }
            _ => Err(format!("`{text}` is not FROM=TO, such as /build/kernel=/home/me/kernel")),
        }
    }
}

/// Registers of a vCPU: `rip=0x101234,rsp=0x7ff0,cr3=0x1000`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Registers(pub(crate) CpuState);

impl FromStr for Registers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut state = CpuState::new(0, 0, StateSource::Given);
        let mut has_rip = false;
        for pair in text.split(',').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').ok_or_else(|| format!("`{pair}` is not NAME=VALUE"))?;
            let value = number(value)?;
            match name.trim().to_ascii_lowercase().as_str() {
                "rip" => (state.rip, has_rip) = (value, true),
                "rflags" | "eflags" => state.rflags = Some(value),
                "cs" => {
                    state.cs =
                        Some(u16::try_from(value).map_err(|_| format!("cs={value:#x} is no selector"))?)
                }
                "fs_base" => state.fs_base = Some(value),
                "gs_base" => state.gs_base = Some(value),
                "cr0" => state.cr0 = Some(value),
                "cr2" => state.cr2 = Some(value),
                "cr3" => state.cr3 = Some(GuestPhysical(value)),
                "cr4" => state.cr4 = Some(value),
                name => match GENERAL.iter().position(|known| *known == name) {
                    Some(index) => state.general[index] = Some(value),
                    None => return Err(format!("`{name}` is no register; examples are rip, rsp, rbp, cr3")),
                },
            }
        }
        if has_rip {
            Ok(Self(state))
        } else {
            Err("rip is missing: without it there is no stack to follow".into())
        }
    }
}

/// A number as people write addresses: hexadecimal with `0x`, else decimal; `_` may group digits.
pub(crate) fn number(text: &str) -> Result<u64, String> {
    let digits = text.trim().replace('_', "");
    let value = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => digits.parse(),
    };
    value.map_err(|_| format!("`{text}` is no number; examples are 4096 and 0x1000"))
}

/// A load bias: hexadecimal, with or without `0x`.
pub(crate) fn hexadecimal(text: &str) -> Result<u64, String> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let fine = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let value = fine.then(|| u64::from_str_radix(digits, 16).ok()).flatten();
    value.ok_or_else(|| format!("`{text}` is no load bias in hexadecimal"))
}

/// What kind of machine QEMU emulates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Machine {
    /// A PC with PCI Express.
    Q35,
    /// No PCI and no firmware to speak of: starts fastest.
    Microvm,
}

/// Where the observation region lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Placement {
    /// In the memory of an ivshmem device (q35 only).
    Ivshmem,
    /// In the guest's own RAM, which QEMU shares through a file.
    Ram,
}

/// How records get to the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Transport {
    /// Shared memory where there is some, else virtio-serial.
    #[default]
    Auto,
    /// Memory that guest and host share.
    Shm,
    /// A port of a virtio-serial device; no memory is shared.
    VirtioSerial,
}

/// What runs the guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Accel {
    /// KVM where it works, else emulation.
    Auto,
    /// The processor itself.
    Kvm,
    /// QEMU's emulation: timings are not the processor's.
    Tcg,
}

impl From<Transport> for qemu::Transport {
    /// Where nothing is said: a guest that is started here can always share its memory.
    fn from(transport: Transport) -> Self {
        match transport {
            Transport::Auto | Transport::Shm => Self::Shm,
            Transport::VirtioSerial => Self::VirtioSerial,
        }
    }
}

impl From<Machine> for qemu::Machine {
    fn from(machine: Machine) -> Self {
        match machine {
            Machine::Q35 => Self::Q35,
            Machine::Microvm => Self::Microvm,
        }
    }
}

impl From<Placement> for qemu::Placement {
    fn from(placement: Placement) -> Self {
        match placement {
            Placement::Ivshmem => Self::Ivshmem,
            Placement::Ram => Self::Ram,
        }
    }
}

impl From<Accel> for qemu::AcceleratorChoice {
    fn from(accel: Accel) -> Self {
        match accel {
            Accel::Auto => Self::Auto,
            Accel::Kvm => Self::Kvm,
            Accel::Tcg => Self::Tcg,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time() {
        let cases = [("10", 10_000), ("10s", 10_000), ("500ms", 500), ("2m", 120_000), ("1.5s", 1_500)];
        for (text, millis) in cases {
            assert_eq!(text.parse(), Ok(Span(Duration::from_millis(millis))), "{text}");
        }
        for text in ["", "s", "-1", "0", "10x", "1e400", "nan", "inf", "99999999999999999999999h"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }

    #[test]
    fn sizes() {
        let cases = [("1", 1), ("64K", 64 << 10), ("3MiB", 3 << 20), ("2g", 2 << 30), ("1025b", 1025)];
        for (text, bytes) in cases {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for text in ["", "K", "0", "1.5M", "64KB/s", "18014398509481984K", "99999999999999999999G"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }

    #[test]
    fn rates_have_bounds() {
        assert_eq!("99".parse(), Ok(Hertz(99)));
        for text in ["0", "-1", "1e3", "20001", ""] {
            assert!(text.parse::<Hertz>().is_err(), "{text}");
        }
    }

    #[test]
    fn budgets_are_percentages() {
        assert_eq!("1%".parse(), Ok(Budget(10_000)));
        assert_eq!("0.25 %".parse(), Ok(Budget(2_500)));
        for text in ["1", "0%", "101%", "-1%", "%", "nan%"] {
            assert!(text.parse::<Budget>().is_err(), "{text}");
        }
    }

    #[test]
    fn call_graphs_are_written_as_for_perf() {
        assert_eq!("fp".parse(), Ok(CallGraph::Fp));
        assert_eq!("dwarf".parse(), Ok(CallGraph::Dwarf(8192)));
        assert_eq!("dwarf,1001".parse(), Ok(CallGraph::Dwarf(1008)));
        assert_eq!("dwarf,32K".parse(), Ok(CallGraph::Dwarf(32768)));
        for text in ["dwarf,", "dwarf,0", "dwarf,32769", "dwarf,-8", "dwarf,8,8"] {
            let refused = text.parse::<CallGraph>().unwrap_err();
            assert!(refused.contains("8 to 32768"), "{refused}");
        }
        for text in ["", "lbr", "fp,8192", "DWARF"] {
            let refused = text.parse::<CallGraph>().unwrap_err();
            assert!(refused.contains("fp, dwarf and dwarf,BYTES"), "{refused}");
        }
    }

    #[test]
    fn registers_have_names() {
        let Registers(state) = "rip=0x101234,rsp=0x7ff0,CR3=4096".parse().unwrap();
        assert_eq!((state.rip, state.rsp(), state.rbp()), (0x10_1234, Some(0x7ff0), None));
        assert_eq!(state.cr3, Some(GuestPhysical(0x1000)));
        for text in ["rsp=0x1", "rip", "rip=1,st0=1", "rip=zero", "rip=1,cs=0x10000", ""] {
            assert!(text.parse::<Registers>().is_err(), "{text}");
        }
    }

    #[test]
    fn images_with_and_without_bias() {
        assert_eq!("a@b/k.elf@0x1000".parse(), Ok(Image { file: "a@b/k.elf".into(), bias: Some(0x1000) }));
        assert_eq!("k.elf".parse(), Ok(Image { file: "k.elf".into(), bias: None }));
        assert!("k.elf@zero".parse::<Image>().is_err());
    }
}
