//! Packets on their way into a pcapng file.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::pcapng::blocks::interface_statistics::{InterfaceStatisticsBlock, InterfaceStatisticsOption};
use pcap_file::pcapng::blocks::section_header::{SectionHeaderBlock, SectionHeaderOption};
use pcap_file::pcapng::{PcapNgBlock, PcapNgWriter};
use pcap_file::{DataLink, Endianness, PcapError};
use uniprof_collector::ledger::Ledger;
use uniprof_collector::network::Network;
use uniprof_events::{Event, EventKind, Filter, Guest, Value};
use uniprof_wire::net::{Direction, Verdict};
use uniprof_wire::record::Class;
use uniprof_wire::tables::InterfaceEntry;

use crate::output;

/// Nanoseconds, as a power of ten.
const RESOLUTION: u8 = 9;
/// Of a packet's flags: it came in, it went out.
const INBOUND: u32 = 1;
const OUTBOUND: u32 = 2;

/// What was asked for.
pub(super) struct Wanted {
    pub(super) snaplen: u32,
    pub(super) count: u64,
    /// A name or a number.
    pub(super) interface: Option<String>,
    pub(super) filter: Option<Filter>,
}

/// Where packets go.
pub(super) struct Sink<'a> {
    out: PcapNgWriter<&'a mut dyn Write>,
    wanted: Wanted,
    /// Interfaces of the guest, as they were seen first and last.
    first: BTreeMap<u8, InterfaceEntry>,
    last: BTreeMap<u8, InterfaceEntry>,
    /// The number of each in the file.
    blocks: BTreeMap<u8, u32>,
    /// Wall clock of the first and the latest packet.
    times: Option<(u64, u64)>,
    came: u64,
    written: u64,
    /// By reason.
    dropped: BTreeMap<&'static str, u64>,
}

/// How it went.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Packets that the guest recorded.
    seen: u64,
    written: u64,
    /// Records of the class that were lost, packets or states of connections.
    lost: u64,
    dropped: BTreeMap<&'static str, u64>,
    pub(super) notes: Vec<String>,
}

impl Outcome {
    pub(super) fn sentence(&self) -> String {
        let Self { seen, written, lost, .. } = self;
        let word = if *seen == 1 { "packet" } else { "packets" };
        let mut text = format!(
            "{seen} {word} seen, {written} written, {lost} records of packets and connections lost in the ring"
        );
        let dropped: u64 = self.dropped.values().sum();
        if dropped > 0 {
            let reasons: Vec<String> =
                self.dropped.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
            text.push_str(&format!("; of those written the guest dropped {dropped}: {}", reasons.join(", ")));
        }
        text
    }
}

impl<'a> Sink<'a> {
    /// Begins the file.
    pub(super) fn new(out: &'a mut dyn Write, wanted: Wanted) -> io::Result<Self> {
        let tool = concat!("uniprof ", env!("CARGO_PKG_VERSION"));
        let section = SectionHeaderBlock {
            endianness: Endianness::Little,
            options: vec![SectionHeaderOption::UserApplication(tool.into())],
            ..SectionHeaderBlock::default()
        };
        Ok(Self {
            out: PcapNgWriter::with_section_header(out, section).map_err(failed)?,
            wanted,
            first: BTreeMap::new(),
            last: BTreeMap::new(),
            blocks: BTreeMap::new(),
            times: None,
            came: 0,
            written: 0,
            dropped: BTreeMap::new(),
        })
    }

    pub(super) fn snaplen(&self) -> u32 {
        self.wanted.snaplen
    }

    /// Interfaces as they are now.
    pub(super) fn network(&mut self, network: &Network) {
        for (index, interface) in &network.interfaces {
            self.first.entry(*index).or_insert(*interface);
            self.last.insert(*index, *interface);
        }
    }

    /// What there is of interfaces, for people; an error: there is none that was asked for.
    pub(super) fn interfaces(&self) -> Result<String, String> {
        let named: Vec<String> = self
            .last
            .iter()
            .map(|(index, interface)| match interface.name.as_str() {
                "" => index.to_string(),
                name => output::printable(name),
            })
            .collect();
        let all = named.join(", ");
        match &self.wanted.interface {
            Some(wanted) if !self.last.keys().any(|index| self.is_wanted(*index)) => {
                Err(format!("the guest has no interface {wanted}; it has {all}"))
            }
            Some(wanted) => Ok(wanted.clone()),
            None => Ok(all),
        }
    }

    fn is_wanted(&self, index: u8) -> bool {
        let Some(wanted) = &self.wanted.interface else { return true };
        let name = self.last.get(&index).map_or("", |interface| interface.name.as_str());
        name == wanted || index.to_string() == *wanted
    }

    /// Whether there are as many packets as were asked for.
    pub(super) fn is_full(&self) -> bool {
        self.written >= self.wanted.count
    }

    /// Nanoseconds from the first packet to `wall_ns`.
    pub(super) fn since_first(&self, wall_ns: u64) -> u64 {
        self.times.map_or(0, |(first, _)| wall_ns.saturating_sub(first))
    }

    /// Whether the guest has told of any interface.
    pub(super) fn has_interfaces(&self) -> bool {
        !self.last.is_empty()
    }

    /// Takes a packet at `wall_ns`; other events are none of its business.
    pub(super) fn packet(&mut self, event: &Event, guest: &Guest, wall_ns: u64) -> io::Result<()> {
        if event.kind != EventKind::Packet {
            return Ok(());
        }
        self.came += 1;
        let number = |name: &str| match event.field(name) {
            Some(Value::Unsigned(number)) => *number,
            _ => 0,
        };
        let word = |name: &str| match event.field(name) {
            Some(Value::Word(word)) => *word,
            _ => "",
        };
        let index = number("interface") as u8;
        let is_chosen = self.wanted.filter.as_ref().is_none_or(|filter| filter.matches(event, guest));
        if self.is_full() || !is_chosen || !self.is_wanted(index) {
            return Ok(());
        }
        let Some(Value::Bytes { kept, total }) = event.field("bytes") else { return Ok(()) };
        let verdict = word("verdict");
        let is_out = word("direction") == Direction::Out.name();
        let mut options = vec![EnhancedPacketOption::Flags(if is_out { OUTBOUND } else { INBOUND })];
        if verdict != Verdict::Accepted.name() {
            options.push(EnhancedPacketOption::Comment(format!("dropped by the guest: {verdict}").into()));
            *self.dropped.entry(verdict_name(verdict)).or_default() += 1;
        }
        // What is learnt of the clock later must not turn the order of packets around.
        let (first, latest) = self.times.unwrap_or((wall_ns, wall_ns));
        let at = wall_ns.max(latest);
        self.times = Some((first, at));
        let interface_id = self.describe(index)?;
        let data = kept.get(..self.wanted.snaplen as usize).unwrap_or(kept);
        let block = EnhancedPacketBlock {
            interface_id,
            timestamp: Duration::from_nanos(at),
            original_len: u32::try_from(*total).unwrap_or(u32::MAX),
            data: Cow::Borrowed(data),
            options,
        };
        self.write(block)?;
        self.written += 1;
        Ok(())
    }

    /// What has been told is to be seen.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.get_mut().flush()
    }

    /// The number of an interface in the file, where it is described before its first packet.
    fn describe(&mut self, index: u8) -> io::Result<u32> {
        if let Some(number) = self.blocks.get(&index) {
            return Ok(*number);
        }
        let known = self.last.get(&index).copied();
        let entry = known
            .unwrap_or(InterfaceEntry { link_type: InterfaceEntry::ETHERNET, ..InterfaceEntry::default() });
        let name = match String::from_utf8_lossy(entry.name.bytes()).into_owned() {
            name if name.is_empty() => format!("if{index}"),
            name => name,
        };
        let mut options = vec![
            InterfaceDescriptionOption::IfName(name.into()),
            InterfaceDescriptionOption::IfTsResol(RESOLUTION),
        ];
        if entry.mac != [0; 6] {
            options.push(InterfaceDescriptionOption::IfMacAddr(entry.mac.to_vec().into()));
        }
        let number = self.blocks.len() as u32;
        self.write(InterfaceDescriptionBlock {
            linktype: DataLink::from(u32::from(entry.link_type)),
            snaplen: self.wanted.snaplen,
            options,
        })?;
        self.blocks.insert(index, number);
        Ok(number)
    }

    /// Ends the file with the statistics of each interface.
    pub(super) fn finish(mut self, ledger_lost: u64) -> io::Result<Outcome> {
        let indexes: Vec<u8> = self.last.keys().copied().filter(|index| self.is_wanted(*index)).collect();
        for index in indexes {
            self.describe(index)?;
        }
        let latest = self.times.map_or(0, |(_, latest)| latest);
        for (position, (index, number)) in self.blocks.clone().into_iter().enumerate() {
            let mut options = Vec::new();
            if let (Some(before), Some(after)) = (self.first.get(&index), self.last.get(&index)) {
                let meanwhile =
                    |count: fn(&InterfaceEntry) -> u64| count(after).saturating_sub(count(before));
                let packets = meanwhile(|it| it.received.packets().saturating_add(it.sent.packets()));
                let dropped = meanwhile(|it| it.received.dropped().saturating_add(it.sent.dropped()));
                options.push(InterfaceStatisticsOption::IsbIfRecv(packets));
                options.push(InterfaceStatisticsOption::IsbIfDrop(dropped));
            }
            // Of which interface a lost record was is not known.
            if position == 0 {
                options.push(InterfaceStatisticsOption::IsbOsDrop(ledger_lost));
            }
            if let Some((first, latest)) = self.times {
                options.push(InterfaceStatisticsOption::IsbStartTime(halves(first)));
                options.push(InterfaceStatisticsOption::IsbEndTime(halves(latest)));
            }
            self.write(InterfaceStatisticsBlock {
                interface_id: number,
                timestamp: halves(latest),
                options,
            })?;
        }
        self.flush()?;
        Ok(Outcome {
            seen: self.came,
            written: self.written,
            lost: ledger_lost,
            dropped: self.dropped,
            notes: Vec::new(),
        })
    }

    fn write<'b>(&mut self, block: impl PcapNgBlock<'b>) -> io::Result<()> {
        self.out.write_pcapng_block(block).map(|_| ()).map_err(failed)
    }
}

/// Records of packets and connections that were lost.
pub(super) fn lost(ledger: &Ledger) -> u64 {
    ledger.class(Class::Net).lost()
}

/// Times outside packets are two halves, the high one first; the crate writes such a one as one number.
fn halves(ns: u64) -> u64 {
    ns.rotate_left(32)
}

/// The same word, which lives for ever.
fn verdict_name(word: &str) -> &'static str {
    Verdict::ALL.into_iter().map(Verdict::name).find(|name| *name == word).unwrap_or("other")
}

fn failed(error: PcapError) -> io::Error {
    match error {
        PcapError::IoError(error) => error,
        other => io::Error::other(other.to_string()),
    }
}
