//! The kernel command line: words separated by spaces.

use core::fmt;
use core::num::NonZeroU64;

use crate::net::Addresses;
use crate::probes::{Class, Settings};
use crate::region::Placement;
use crate::text::FixedText;
use crate::virtio::{MMIO_DEVICES, MmioDevice};
use crate::workload::Workload;

/// What the command line asks for.
pub(crate) struct Options {
    pub(crate) workload: Workload,
    /// `kv`: how many requests each vCPU serves, `http`: how many are answered; for ever without it.
    pub(crate) requests: Option<NonZeroU64>,
    /// `ratio`: how many times a round each of the three functions works.
    pub(crate) shares: [u32; 3],
    /// When to end; each workload has its own default.
    pub(crate) seconds: Option<u64>,
    /// `http`: whether its client is a thread of this kernel.
    pub(crate) own_client: bool,
    /// `http`: who it is on its network.
    pub(crate) addresses: Addresses,
    pub(crate) placement: Placement,
    pub(crate) probes: Settings,
    /// Devices that QEMU tells of.
    pub(crate) mmio: [Option<MmioDevice>; MMIO_DEVICES],
}

/// What is wrong with a word, and what would be right.
pub(crate) enum UsageError<'a> {
    NotText,
    UnknownWord(&'a str),
    BadValue { key: &'a str, value: &'a str, valid: &'static str },
}

pub(crate) const WORDS: &str = "workload=, requests=, shares=, seconds=, client=, ip=, uniprof.hz=, uniprof.classes=, uniprof.events=, uniprof.ring=, uniprof.stack=, uniprof.heap=, uniprof.placement=, uniprof.wall=";

/// What a control request takes, and so the probes.
pub(crate) const MAX_PATTERN_BYTES: usize = 256;

const CLASS_NAMES: &str = "samples, events, spans, switches, counters, logs, threads, off-cpu, locks, irq, heap, calls, net (with commas and no spaces between them), light, all, none";

impl fmt::Display for UsageError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotText => write!(f, "the command line is not UTF-8"),
            Self::UnknownWord(word) => {
                write!(f, "unknown word '{word}' on the command line; valid are: {WORDS}")
            }
            Self::BadValue { key, value, valid } => {
                write!(f, "bad value '{value}' for {key}; valid: {valid}")
            }
        }
    }
}

impl<'a> Options {
    /// Words that carry another's prefix are passed over; `virtio_mmio.device=…`, which QEMU itself adds on `microvm`, tells of a device.
    pub(crate) fn parse(line: &'a [u8]) -> Result<Self, UsageError<'a>> {
        let line = core::str::from_utf8(line).map_err(|_| UsageError::NotText)?;
        let mut options = Self {
            workload: Workload::Kv,
            requests: None,
            shares: [6, 3, 1],
            seconds: None,
            own_client: false,
            addresses: Addresses::QEMU_USER,
            placement: Placement::Auto,
            probes: Settings {
                ring_bytes: 1 << 20,
                sample_hz: 99,
                classes: Class::LIGHT,
                patterns: FixedText::of(format_args!("")),
                snapshot_bytes: 0,
                heap_interval: 512 << 10,
                wall_ns: 0,
            },
            mmio: [None; MMIO_DEVICES],
        };
        for word in line.split_ascii_whitespace() {
            let (key, value) = word.split_once('=').ok_or(UsageError::UnknownWord(word))?;
            options.set(key, value, word)?;
        }
        Ok(options)
    }

    fn set(&mut self, key: &'a str, value: &'a str, word: &'a str) -> Result<(), UsageError<'a>> {
        let bad = |valid| UsageError::BadValue { key, value, valid };
        match key {
            "workload" => self.workload = Workload::named(value).ok_or(bad(Workload::NAMES))?,
            "requests" => self.requests = Some(value.parse().map_err(|_| bad("a number from 1"))?),
            "shares" => self.shares = shares(value).ok_or(bad("three numbers from 0 to 100, as in 6:3:1"))?,
            "seconds" => {
                let seconds = value.parse().ok().filter(|s| (1..=1_000_000).contains(s));
                self.seconds = Some(seconds.ok_or(bad("seconds from 1 to 1000000"))?);
            }
            "client" if value == "own" => self.own_client = true,
            "client" => return Err(bad("own: a thread of this kernel")),
            "ip" => self.addresses = Addresses::parse(value).ok_or(bad(Addresses::FORM))?,
            "uniprof.hz" => {
                let hz = value.parse().ok().filter(|&hz| hz <= 20_000);
                self.probes.sample_hz = hz.ok_or(bad("samples per second, 0 to 20000"))?;
            }
            "uniprof.classes" => self.probes.classes = classes(value).ok_or(bad(CLASS_NAMES))?,
            "uniprof.events" => {
                let patterns = Some(value).filter(|value| value.len() <= MAX_PATTERN_BYTES);
                let patterns = patterns.ok_or(bad("patterns of at most 256 bytes"))?;
                self.probes.patterns = FixedText::of(format_args!("{patterns}"));
            }
            "uniprof.ring" => {
                self.probes.ring_bytes = ring_bytes(value).ok_or(bad("a power of two from 16K to 64M"))?;
            }
            "uniprof.stack" => {
                let bytes = value.parse().ok().filter(|&bytes| bytes <= 32 << 10);
                self.probes.snapshot_bytes =
                    bytes.ok_or(bad("bytes of stack with each sample, 0 to 32768"))?;
            }
            "uniprof.heap" => {
                let bytes = bytes(value).filter(|&bytes| bytes <= 1 << 30);
                self.probes.heap_interval =
                    bytes.ok_or(bad("bytes from one sample of the heap to the next, 0 to 1024M"))?.into();
            }
            "uniprof.placement" => self.placement = Placement::named(value).ok_or(bad(Placement::NAMES))?,
            "uniprof.wall" => {
                self.probes.wall_ns = value.parse().map_err(|_| bad("nanoseconds since 1970"))?
            }
            "virtio_mmio.device" => {
                if let Some(place) = self.mmio.iter_mut().find(|place| place.is_none()) {
                    *place = MmioDevice::parse(value);
                }
            }
            _ if key.contains('.') && !key.starts_with("uniprof.") => {}
            _ => return Err(UsageError::UnknownWord(word)),
        }
        Ok(())
    }
}

/// Three numbers with colons between them, of which one is not 0.
fn shares(text: &str) -> Option<[u32; 3]> {
    let mut parts = text.split(':').map(|part| part.parse().ok().filter(|&share| share <= 100));
    let shares = [parts.next()??, parts.next()??, parts.next()??];
    (parts.next().is_none() && shares != [0; 3]).then_some(shares)
}

/// Class names with commas between them, as a mask.
fn classes(text: &str) -> Option<u64> {
    text.split(',').try_fold(0, |mask, name| {
        Some(
            mask | match name {
                "all" => Class::RECORDED,
                "light" => Class::LIGHT,
                "none" => 0,
                _ => Class::ALL
                    .iter()
                    .find(|class| class.bit() & Class::RECORDED != 0 && class.name() == name)?
                    .bit(),
            },
        )
    })
}

fn ring_bytes(text: &str) -> Option<u32> {
    bytes(text).filter(|bytes| bytes.is_power_of_two() && (16 << 10..=64 << 20).contains(bytes))
}

/// A number, perhaps of kibibytes or mebibytes.
fn bytes(text: &str) -> Option<u32> {
    let (digits, unit) = match text.as_bytes().last()? {
        b'K' | b'k' => (&text[..text.len() - 1], 1 << 10),
        b'M' | b'm' => (&text[..text.len() - 1], 1 << 20),
        _ => (text, 1),
    };
    digits.parse::<u32>().ok()?.checked_mul(unit)
}
