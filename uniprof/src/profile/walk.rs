//! A recording, walked once from front to back: every record handed on, every record accounted for.

use uniprof_collector::clock::{HostTime, Looks};
use uniprof_collector::ledger::Ledger;
use uniprof_collector::live_blocks::LiveBlocks;
use uniprof_collector::network::Network;
use uniprof_collector::recording::{Body, Damage, Item, Message, SessionInfo};
use uniprof_collector::tables::Tables;
use uniprof_events::waits::Window;
use uniprof_wire::record::Record;

use super::figures::Figures;
use super::open::Source;

/// Takes what a walk comes by.
pub(crate) trait Visitor {
    /// A record of a vCPU.
    fn record(&mut self, vcpu: u32, record: &Record<'_>);

    /// A line of the console.
    fn console(&mut self, _at: HostTime, _bytes: &[u8]) {}

    /// A copy of the region's tables.
    fn tables(&mut self, _tables: &Tables) {}

    /// The sampled blocks of the heap that were allocated then.
    fn live_blocks(&mut self, _blocks: &LiveBlocks) {}

    /// Interfaces and connections as they were then.
    fn network(&mut self, _network: &Network) {}

    /// What follows is of that boot of the guest.
    fn boot(&mut self, _session: u32) {}

    /// The collector's clock has got so far.
    fn at(&mut self, _at: HostTime) {}

    /// Whether the rest need not be read.
    fn is_done(&self) -> bool {
        false
    }
}

/// Reads `source` to its end.
pub(crate) fn walk(
    mut source: Source,
    session: SessionInfo,
    visitor: &mut impl Visitor,
) -> anyhow::Result<Figures> {
    let mut ledger = Ledger::new();
    let mut figures = Figures { session, ..Figures::default() };
    let mut span: Option<(u64, u64)> = None;
    let (mut from_boot, mut ended) = (true, false);
    let mut looks = Looks::new(figures.session.guest_started_ns);
    let mut boot = None;
    while let Some(item) = source.next()? {
        let message = match item {
            Item::Message(message) => message,
            Item::Gap => {
                ledger.gap();
                continue;
            }
            Item::Session(_) | Item::Attachment(_) => continue,
        };
        if visitor.is_done() {
            break;
        }
        visitor.at(message.at);
        looks.feed(&message);
        if matches!(message.body, Body::Region { .. })
            && boot.replace(message.session) != Some(message.session)
        {
            figures.apart.reset();
            visitor.boot(message.session);
        }
        // The first pair is from before the recording.
        if !matches!(message.body, Body::Clock(_)) {
            let now = message.at.monotonic_ns;
            let (first, last) = span.unwrap_or((now, now));
            span = Some((first.min(now), last.max(now)));
        }
        match &message.body {
            Body::Console { bytes, .. } => visitor.console(message.at, bytes),
            Body::End(_) => ended = true,
            Body::Histograms(words) => figures.metrics.take_histograms(message.session, words),
            Body::Network(words) => visitor.network(&Network::from_words(words)),
            Body::Heap(words) => visitor.live_blocks(&LiveBlocks::from_words(words)),
            body => {
                // Only a reader that came late says what the counters were before it.
                from_boot &= !matches!(body, Body::Counters(counters) if !counters.last);
                feed(&mut ledger, &message, &mut figures, visitor);
            }
        }
    }
    take_window(&ledger, &mut figures);
    figures.seconds = span.map_or(0.0, |(first, last)| (last - first) as f64 / 1e9);
    figures.take(&ledger, from_boot);
    figures.metrics.finish(from_boot);
    figures.clocks = looks.finish();
    let sentences = super::clock::sentences(&figures);
    figures.notes.extend(sentences);
    figures.is_settled = ended && ledger.unsettled().next().is_none();
    take_notes(&ledger, ended, source.damage(), &mut figures.notes);
    Ok(figures)
}

/// From when to when the guest's clock went meanwhile: by its records, and by its signs of life.
fn take_window(ledger: &Ledger, figures: &mut Figures) {
    let (Some(first), Some(last)) = (ledger.first_tables(), ledger.tables()) else { return };
    let sign = |tables: &Tables| tables.vcpus.iter().map(|vcpu| vcpu.heartbeat).max().unwrap_or(0);
    let (begin, end) = (sign(first), sign(last));
    let window = figures.window.get_or_insert(Window { begin, end });
    window.begin = if begin == 0 { window.begin } else { window.begin.min(begin) };
    window.end = window.end.max(end);
    figures.last_threads = last.threads.iter().filter_map(|slot| slot.entry()).collect();
}

fn feed(ledger: &mut Ledger, message: &Message<'_>, figures: &mut Figures, visitor: &mut impl Visitor) {
    ledger.feed(message, |ring, record| {
        if let Record::Thread(thread) = &record
            && !thread.name.is_empty()
        {
            let name: Vec<u8> = thread.name.bytes().collect();
            figures.threads.insert(thread.thread, String::from_utf8_lossy(&name).into_owned());
        }
        figures.apart.record(ring.vcpu.into(), &record);
        let tsc = record.tsc();
        let window = figures.window.get_or_insert(Window { begin: tsc, end: tsc });
        window.begin = window.begin.min(tsc);
        window.end = window.end.max(tsc);
        if let Record::Counter(value) = &record {
            figures.metrics.take_value(value);
        }
        visitor.record(ring.vcpu.into(), &record);
    });
    if let (Body::Region { .. }, Some(tables)) = (&message.body, ledger.tables()) {
        visitor.tables(tables);
    }
}

fn take_notes(ledger: &Ledger, ended: bool, damage: &[Damage], notes: &mut Vec<String>) {
    if !ended {
        notes.push("the recording was cut off: what came after its last whole part is in no figure".into());
    }
    let unsettled = ledger.unsettled().count();
    if ended && unsettled > 0 {
        notes.push(format!(
            "the guest wrote without pause when the recording ended: what {unsettled} rings lost at the very end is in \
             no figure"
        ));
    }
    if ledger.restarts() > 0 {
        let times = ledger.restarts();
        notes.push(format!("the guest was restarted ({times}): what it lost just before is in no figure"));
    }
    if ledger.unplaced() > 0 {
        let count = ledger.unplaced();
        notes.push(format!("{count} messages could not be placed: the one that introduces them is lost"));
    }
    let inconsistent = ledger.total().inconsistent;
    if inconsistent > 0 {
        notes.push(format!(
            "guest inconsistent: counters and records contradict each other {inconsistent} times"
        ));
    }
    if let Some(first) = damage.first() {
        let bytes: u64 = damage.iter().map(|damage| damage.bytes).sum();
        let more = match damage.len() {
            1 => String::new(),
            several => format!(" and in {} more places", several - 1),
        };
        notes.push(format!(
            "the recording is damaged {first}{more}; {bytes} bytes were passed over, the rest was read"
        ));
    }
}
