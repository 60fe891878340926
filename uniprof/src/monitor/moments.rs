//! Pictures of a guest whose figures are known: of the second that is over, and of moments that are not the present.

use std::borrow::Cow;

use uniprof_collector::clock::HostTime;
use uniprof_collector::recording::{Body, Message, RingCounters, RingId, SessionInfo};
use uniprof_tui::picture::{Picture, Shorter, Shown, Span};
use uniprof_wire::address::{GuestPhysical, GuestVirtual};
use uniprof_wire::layout::RingKind;
use uniprof_wire::record::{
    CLASSES, Callers, Class, EventRecord, LockKind, LockWaitRecord, ParkRecord, Record, ResumeRecord,
    SampleRecord, SwitchReason, WalkEnd,
};
use uniprof_wire::tables::{THREAD_WORDS, ThreadEntry, ThreadState, VcpuField, WaitKind};

use super::model::Model;
use super::tests::{drawn, header};
use crate::profile::images::Images;

/// Ticks of a millisecond.
const MS: u64 = 1_000_000;
const HZ: u64 = 1000 * MS;
const CALLERS: Callers<'static> = Callers { end: WalkEnd::Root, frames: &[1] };

/// A guest that says what it is told to.
pub(super) struct Guest {
    pub(super) model: Model,
    pub(super) rate: u64,
    pub(super) classes: u64,
    pub(super) threads: Vec<ThreadEntry>,
}

impl Guest {
    pub(super) fn new() -> Self {
        let model = Model::new(SessionInfo::default(), Images::default());
        Self { model, rate: 99, classes: Class::Sample.bit(), threads: Vec::new() }
    }

    fn feed(&mut self, body: Body<'_>) {
        self.model.feed(&Message { at: HostTime::default(), session: 0, body });
    }

    /// A look at its tables.
    pub(super) fn look(&mut self, at_ms: u64) {
        let header = header(HZ, 5);
        let mut words = vec![0_u64; header.geometry.tables_bytes() / 8];
        words[..header.to_words().len()].copy_from_slice(&header.to_words());
        let vcpu = header.geometry.vcpu_table() / 8;
        let fields = [
            (VcpuField::Heartbeat, at_ms * MS),
            (VcpuField::Online, 1),
            (VcpuField::Rate, self.rate),
            (VcpuField::Classes, self.classes),
        ];
        fields.into_iter().for_each(|(field, value)| words[vcpu + field as usize] = value);
        let threads = header.geometry.thread_table() / 8;
        for (slot, entry) in self.threads.iter().enumerate() {
            let (at, entry) = (threads + slot * THREAD_WORDS, entry.to_words());
            words[at] = 2;
            words[at + 1..at + 1 + entry.len()].copy_from_slice(&entry);
        }
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.feed(Body::Region { at: GuestPhysical(0), bytes: bytes.into() });
    }

    /// So many records of each class were refused.
    fn refuse(&mut self, number: u64) {
        self.feed(Body::Counters(RingCounters {
            ring: RingId { vcpu: 0, kind: RingKind::Core },
            head: 0,
            last: true,
            refused: [number; CLASSES],
            slots: Cow::Owned(Vec::new()),
        }));
    }

    fn sample(&mut self, at_ms: u64, thread: u32, frame: u64) {
        self.model.record(
            0,
            &Record::Sample(SampleRecord {
                tsc: at_ms * MS,
                thread,
                rip: frame,
                rsp: 0,
                rbp: 0,
                weight: 1,
                missed: 0,
                end: WalkEnd::Root,
                stack: &[],
                frames: &[],
            }),
        );
    }

    fn event(&mut self, at_ms: u64) {
        self.model.record(0, &Record::Event(EventRecord { tsc: at_ms * MS, site: 8, thread: 1, args: &[] }));
    }

    pub(super) fn seen(&mut self, span: Span, at_ms: Option<u64>) -> Picture {
        let shown = at_ms.map_or(Shown::Now, |ms| Shown::At(ms as f64 / 1000.0));
        drawn(&mut self.model, span, shown)
    }
}

/// A thread that waits for a lock that another holds.
fn waiting(id: u32) -> ThreadEntry {
    ThreadEntry {
        id,
        state: ThreadState::Blocked,
        wait: WaitKind::Lock,
        waits_on: 9,
        waits_for: GuestVirtual(0x9000),
        wait_since: 1,
        ..ThreadEntry::default()
    }
}

#[test]
fn figures_of_a_pause_are_those_of_its_moment() {
    let mut guest = Guest::new();
    guest.threads = vec![waiting(1)];
    guest.look(9000);
    guest.refuse(1);
    (0..1000).for_each(|n| guest.sample(9500 + n, 1, 7));
    guest.look(10_500);
    let told = |picture: Picture| {
        let row = picture.lock_rows.unwrap()[0].clone();
        let threads: Vec<_> = picture.threads.unwrap().iter().map(|row| (row.id, row.state)).collect();
        let overview = picture.overview;
        let loss = (overview.loss.lost, overview.loss_rate, overview.threads);
        let sums = (overview.samples, overview.samples_rate, overview.history);
        (picture.rate, loss, sums, row, threads)
    };
    let lost = Class::ALL.len() as u64;
    let now = told(guest.seen(Span::Last(1.0), None));
    assert_eq!((now.0, now.1.0, &now.3.waiters), (Some(99), lost, &vec![1]));
    let paused = told(guest.seen(Span::Last(1.0), Some(10_500)));
    assert_eq!(paused, now, "it stops where it was");
    // The same moment later.
    guest.rate = 999;
    guest.threads = vec![waiting(1), waiting(2), waiting(3)];
    guest.refuse(1000);
    guest.sample(10_600, 1, 8);
    guest.look(10_900);
    assert_eq!(told(guest.seen(Span::Last(1.0), Some(10_500))), now);
    // Who comes back to it sees the last look before it.
    let present = told(guest.seen(Span::Last(1.0), None));
    assert_eq!((present.0, present.1.0, present.3.waiters.len()), (Some(999), 1000 * lost, 3));
    let back = told(guest.seen(Span::Last(1.0), Some(10_510)));
    assert_eq!((back.0, back.1.0, back.3.waiters.len()), (Some(99), lost, 1));
    assert_eq!(told(guest.seen(Span::Last(1.0), Some(10_500))), now);
    // And when its looks are given up.
    (11..100).for_each(|second| guest.look(second * 1000));
    assert_eq!(told(guest.seen(Span::Last(1.0), Some(10_500))), now);
}

#[test]
fn rates_are_of_the_last_second_that_is_over_and_counts_agree_with_them() {
    let mut guest = Guest::new();
    // Until 60 ms of a quarter have passed.
    for at in (0..6310).step_by(10) {
        guest.look(at);
        guest.sample(at, 1, 7);
        (0..3).for_each(|_| guest.event(at));
    }
    for at in [None, Some(6300), Some(5010)] {
        let picture = guest.seen(Span::Last(1.0), at);
        let overview = picture.overview;
        assert_eq!((overview.samples_rate, overview.events_rate, overview.samples), (100.0, 300.0, 100));
        let last = overview.history.last().unwrap();
        assert_eq!((last[1], last[2]), (100.0, 300.0), "{:?}", overview.history);
        let events = picture.events.unwrap();
        assert_eq!((events.names[0].count, events.names[0].rate), (300, 300.0));
    }
    assert_eq!(guest.seen(Span::All, None).overview.samples, 631, "all is all, also of a quarter that runs");
}

fn taken(at_ms: u64, lock: u64, waited_ms: u64) -> Record<'static> {
    Record::LockWait(LockWaitRecord {
        tsc: at_ms * MS,
        thread: 1,
        kind: LockKind::Blocking,
        lock: GuestVirtual(lock),
        begin: (at_ms - waited_ms) * MS,
        owner: 2,
        callers: CALLERS,
    })
}

fn parked(at_ms: u64, thread: u32) -> Record<'static> {
    Record::Park(ParkRecord {
        tsc: at_ms * MS,
        thread,
        reason: SwitchReason::Blocked,
        wait: WaitKind::Event,
        waits_for: GuestVirtual(0x1000),
        waits_on: 0,
        callers: CALLERS,
    })
}

fn resumed(at_ms: u64, thread: u32, parked_ms: u64) -> Record<'static> {
    Record::Resume(ResumeRecord {
        tsc: at_ms * MS,
        thread,
        reason: SwitchReason::Blocked,
        parked: parked_ms * MS,
        woken: 0,
        waker: 0,
        callers: CALLERS,
    })
}

#[test]
fn waits_of_which_not_all_are_kept_are_all_of_the_same_time_which_is_told() {
    let mut guest = Guest::new();
    guest.classes |= Class::OffCpu.bit() | Class::Lock.bit();
    // One waits the whole time, and its record is the first to go.
    guest.threads =
        vec![ThreadEntry { waits_for: GuestVirtual(0x1000), wait: WaitKind::Event, ..waiting(1) }];
    guest.threads[0].wait_since = 10 * MS;
    guest.look(0);
    // Without any record of the class the table's threads are no profile.
    guest.refuse(1);
    guest.model.record(0, &parked(10, 1));
    // One lock is waited for at first, the other all the time; thread 2 waits half of it.
    for at in 0..40_000 {
        if at % 1000 == 0 {
            guest.look(at);
        }
        let lock = if at < 1000 { 0x9000 } else { 0xa000 };
        guest.model.record(0, &taken(100 + at, lock, 1));
        if at % 2 == 1 {
            guest.model.record(0, &parked(100 + at, 2));
            guest.model.record(0, &resumed(101 + at, 2, 100 + at));
        }
    }
    guest.look(40_100);
    let seen = guest.seen(Span::All, None);
    let seconds = |told: &Option<String>| -> f64 {
        let text = told.as_ref().expect("it is told");
        let rest = text.strip_prefix("of the last ").unwrap();
        rest.strip_suffix(" s: older waits are not kept").unwrap().parse().unwrap()
    };
    let ms = |ns: u64| ns as f64 / 1e6;
    let since = seconds(&seen.shorter.locks);
    assert!((1.0..35.0).contains(&since), "{since}");
    let rows = seen.lock_rows.unwrap();
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert!((rows[0].waits as f64 - since * 1000.0).abs() < 100.0, "{since}: {rows:?}");
    assert!((ms(rows[0].waited_ns) - since * 1000.0).abs() < 100.0, "{since}: {rows:?}");
    let since = seconds(&seen.shorter.off_cpu);
    assert!((1.0..39.0).contains(&since), "{since}");
    let total = ms(seen.off_cpu.unwrap().total().weight);
    assert!((total - since * 1500.0).abs() < 150.0, "{since}: {total}");
    let short = guest.seen(Span::Last(0.5), None);
    assert_eq!(short.shorter, Shorter::default(), "half a second is there");
    let before = guest.seen(Span::All, Some(500));
    let not_kept = "waits of so long ago are not kept";
    assert_eq!(before.shorter.locks.as_deref(), Some(not_kept));
    assert_eq!(before.off_cpu.err().as_deref(), Some(not_kept));
}

#[test]
fn waits_are_of_the_time_since_they_are_recorded() {
    let mut guest = Guest::new();
    guest.threads = vec![ThreadEntry { wait: WaitKind::Event, ..waiting(1) }];
    guest.look(60_000);
    guest.classes |= Class::OffCpu.bit();
    guest.look(61_000);
    guest.refuse(1);
    guest.model.record(0, &parked(61_500, 2));
    guest.model.record(0, &resumed(61_800, 2, 61_500));
    guest.look(62_000);
    let seen = guest.seen(Span::All, None);
    assert_eq!(seen.shorter.off_cpu.as_deref(), Some("of the last 2.0 s: waits were not recorded before"));
    assert_eq!(seen.shorter.locks, None);
    // 2 s of the one that waits on, and 300 ms.
    assert_eq!(seen.off_cpu.unwrap().total().weight, 2_300_000_000);
}
