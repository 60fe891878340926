//! A recording, walked once from front to back: every record handed on, every record accounted for.

use std::collections::BTreeMap;

use uniprof_collector::accounting::{RingAccount, RingBlock};
use uniprof_collector::clock::HostTime;
use uniprof_collector::recording::{Body, Damage, Item, Message, RingCounters, RingId, SessionInfo};
use uniprof_wire::layout::{HEADER_WORDS, RegionHeader};
use uniprof_wire::record::Record;
use uniprof_wire::ring::Counters;
use uniprof_wire::tables::{THREAD_SLOTS, THREAD_WORDS, ThreadEntry, VCPU_WORDS, VcpuStats};

use super::figures::Figures;
use super::open::Source;

/// What is handed on: a record, with the vCPU that wrote it and the header of its boot.
pub(crate) struct Seen<'a> {
    pub(crate) vcpu: u32,
    pub(crate) header: &'a RegionHeader,
    pub(crate) record: Record<'a>,
}

/// Reads `source` to its end, hands every record to `each` and every console line to `console`.
pub(crate) fn walk(
    mut source: Source,
    session: SessionInfo,
    mut each: impl FnMut(Seen<'_>),
    mut console: impl FnMut(HostTime, &[u8]),
) -> anyhow::Result<Figures> {
    let mut walk = Walk::default();
    while let Some(item) = source.next()? {
        match item {
            Item::Message(Message { at, body: Body::Console { bytes, .. }, .. }) => console(at, &bytes),
            Item::Message(message) => walk.message(message, &mut each),
            Item::Session(_) | Item::Attachment(_) => {}
        }
    }
    let mut figures = walk.finish();
    figures.session = session;
    figures.notes.extend(damage(source.damage()));
    Ok(figures)
}

fn damage(found: &[Damage]) -> Option<String> {
    let first = found.first()?;
    let bytes: u64 = found.iter().map(|damage| damage.bytes).sum();
    let more = match found.len() {
        1 => String::new(),
        several => format!(" and in {} more places", several - 1),
    };
    Some(format!("the recording is damaged {first}{more}; {bytes} bytes were passed over, the rest was read"))
}

#[derive(Default)]
struct Walk {
    figures: Figures,
    boot: Option<Boot>,
    /// Monotonic time of the first and the last message.
    span: Option<(u64, u64)>,
    /// Blocks that came before anything said what they mean.
    unplaced: u64,
    ended: bool,
}

/// What belongs to one boot of the guest.
struct Boot {
    session: u32,
    header: RegionHeader,
    accounts: BTreeMap<RingId, RingAccount>,
    first: Vec<VcpuStats>,
    last: Vec<VcpuStats>,
}

impl Walk {
    fn message(&mut self, message: Message<'_>, each: &mut impl FnMut(Seen<'_>)) {
        let now = message.at.monotonic_ns;
        let (first, last) = self.span.unwrap_or((now, now));
        self.span = Some((first.min(now), last.max(now)));
        if self.boot.as_ref().is_some_and(|boot| boot.session != message.session) {
            self.close_boot();
        }
        match message.body {
            Body::Region { bytes, .. } => self.region(message.session, &bytes),
            Body::Block { ring, start, sealed, words } => {
                self.block(ring, RingBlock { start, words: &words, sealed }, each);
            }
            Body::Counters(counters) => self.counters(&counters),
            Body::End(_) => self.ended = true,
            Body::Clock(_) | Body::Console { .. } => {}
        }
    }

    fn region(&mut self, session: u32, bytes: &[u8]) {
        // The recording holds only the tables; that the whole region fits was checked when it was made.
        let header =
            words_at::<HEADER_WORDS>(bytes, 0).map(|words| RegionHeader::from_words(&words, u64::MAX));
        let Some(Ok(header)) = header else { return };
        let stats = vcpu_stats(&header, bytes);
        self.threads(&header, bytes);
        match &mut self.boot {
            Some(boot) => boot.last = stats,
            None => {
                let (first, last) = (stats.clone(), stats);
                self.boot = Some(Boot { session, header, accounts: BTreeMap::new(), first, last });
            }
        }
    }

    fn threads(&mut self, header: &RegionHeader, bytes: &[u8]) {
        let table = header.geometry.thread_table();
        for slot in 0..THREAD_SLOTS {
            let Some(words) = words_at::<THREAD_WORDS>(bytes, table + slot * THREAD_WORDS * 8) else {
                return;
            };
            if let Some(entry) = ThreadEntry::from_words(&words).entry()
                && !entry.name.as_str().is_empty()
            {
                self.figures.threads.insert(entry.id, entry.name.as_str().to_owned());
            }
        }
    }

    fn counters(&mut self, counters: &RingCounters<'_>) {
        let Some(boot) = &mut self.boot else { return };
        let at = Counters { head: counters.head, refused: counters.refused };
        if !counters.last {
            let (geometry, salt) = (boot.header.geometry.ring(), boot.header.salt());
            boot.accounts.insert(counters.ring, RingAccount::from_here(geometry, salt, &at, &counters.slots));
        } else if let Some(account) = boot.accounts.get_mut(&counters.ring) {
            account.settle(&at, &counters.slots);
        }
    }

    fn block(&mut self, ring: RingId, block: RingBlock<'_>, each: &mut impl FnMut(Seen<'_>)) {
        let Some(Boot { header, accounts, .. }) =
            self.boot.as_mut().filter(|boot| u32::from(ring.vcpu) < boot.header.geometry.vcpus())
        else {
            self.unplaced += 1;
            return;
        };
        let account = accounts
            .entry(ring)
            .or_insert_with(|| RingAccount::from_boot(header.geometry.ring(), header.salt()));
        let threads = &mut self.figures.threads;
        account.block(block, |record| {
            if let Record::Thread(thread) = &record
                && !thread.name.is_empty()
            {
                let name: Vec<u8> = thread.name.bytes().collect();
                threads.insert(thread.thread, String::from_utf8_lossy(&name).into_owned());
            }
            each(Seen { vcpu: ring.vcpu.into(), header, record });
        });
    }

    /// Adds up what one boot came to.
    fn close_boot(&mut self) {
        let Some(boot) = self.boot.take() else { return };
        for (ring, account) in &boot.accounts {
            let vcpu = self.figures.vcpus.entry(ring.vcpu.into()).or_default();
            for (sum, tally) in vcpu.classes.iter_mut().zip(account.tallies()) {
                *sum += *tally;
            }
        }
        for (id, (first, last)) in boot.first.iter().zip(&boot.last).enumerate() {
            self.figures.vcpus.entry(id as u32).or_default().add_span(first, last);
        }
    }

    fn finish(mut self) -> Figures {
        self.close_boot();
        let Self { mut figures, span, unplaced, ended, .. } = self;
        figures.seconds = span.map_or(0.0, |(first, last)| (last - first) as f64 / 1e9);
        if !ended {
            let cut = "the recording was cut off: what came after its last whole part is in no figure";
            figures.notes.push(cut.into());
        }
        if unplaced > 0 {
            let lost = format!("{unplaced} blocks could not be placed: the part that describes them is lost");
            figures.notes.push(lost);
        }
        let inconsistent = figures.all().inconsistent;
        if inconsistent > 0 {
            let lies = format!(
                "guest inconsistent: counters and records contradict each other {inconsistent} times"
            );
            figures.notes.push(lies);
        }
        figures
    }
}

fn vcpu_stats(header: &RegionHeader, bytes: &[u8]) -> Vec<VcpuStats> {
    let table = header.geometry.vcpu_table();
    (0..header.geometry.vcpus() as usize)
        .map_while(|vcpu| words_at::<VCPU_WORDS>(bytes, table + vcpu * VCPU_WORDS * 8))
        .map(|words| VcpuStats::from_words(&words))
        .collect()
}

fn words_at<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u64; N]> {
    let mut words = [0; N];
    let part = bytes.get(offset..offset.checked_add(N * 8)?)?;
    for (word, bytes) in words.iter_mut().zip(part.as_chunks::<8>().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    Some(words)
}
