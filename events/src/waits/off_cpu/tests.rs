use uniprof_wire::record::{Callers, WalkEnd};

use super::*;

const WINDOW: Window = Window { begin: 1_000, end: 9_000 };
const WAIT: &[u64] = &[11, 12];
const WAKE: &[u64] = &[21];

fn callers(frames: &[u64]) -> Callers<'_> {
    Callers { end: WalkEnd::Root, frames }
}

fn park(thread: u32, tsc: u64) -> Record<'static> {
    let (reason, wait) = (SwitchReason::Blocked, WaitKind::Event);
    let callers = callers(WAIT);
    Record::Park(ParkRecord {
        tsc,
        thread,
        reason,
        wait,
        waits_for: GuestVirtual(0x77),
        waits_on: 5,
        callers,
    })
}

fn resume(thread: u32, parked: u64, woken: u64, tsc: u64) -> Record<'static> {
    let reason = SwitchReason::Blocked;
    Record::Resume(ResumeRecord { tsc, thread, reason, parked, woken, waker: 0, callers: Callers::NONE })
}

fn wake(thread: u32, tsc: u64, waker: u32, by_interrupt: bool) -> Record<'static> {
    Record::Wake(WakeRecord { tsc, waker, by_interrupt, thread, callers: callers(WAKE) })
}

/// All waits in the order in which they began, and what was not joined.
fn paired(records: &[Record<'_>], threads: &[ThreadEntry]) -> (Vec<Wait>, Unpaired) {
    let (mut pairing, mut stacks, mut waits) = (OffCpu::default(), Stacks::default(), Vec::new());
    for record in records {
        pairing.record(3, record, &mut stacks, &mut |wait| waits.push(wait));
    }
    let unpaired = pairing.finish(WINDOW, threads, &mut |wait| waits.push(wait));
    waits.sort_by_key(|wait| (wait.parked, wait.thread));
    (waits, unpaired)
}

#[test]
fn three_records_make_a_wait_in_whatever_order_they_come() {
    let records = [park(1, 2_000), wake(1, 2_500, 4, false), resume(1, 2_000, 2_500, 2_600)];
    for [a, b, c] in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let (waits, unpaired) = paired(&[records[a], records[b], records[c]], &[]);
        let [wait] = waits[..] else { panic!("{waits:?}") };
        assert_eq!((wait.thread, wait.vcpu, wait.kind, wait.waits_on), (1, 3, WaitKind::Event, 5));
        assert_eq!((wait.parked, wait.woken, wait.resumed), (2_000, Some(2_500), Some(2_600)));
        assert_eq!((wait.blocked(WINDOW.end), wait.runnable()), (500, Some(100)));
        assert_eq!(wait.waker, Waker::Thread(4));
        assert!(wait.stack.is_some() && wait.wake_stack.is_some() && wait.stack != wait.wake_stack);
        assert_eq!(unpaired, Unpaired::default());
    }
}

#[test]
fn a_complete_wait_is_told_at_once() {
    let (mut pairing, mut stacks, mut told) = (OffCpu::default(), Stacks::default(), 0);
    for record in [park(1, 2_000), wake(1, 2_500, 4, true), resume(1, 2_000, 2_500, 2_600), park(1, 3_000)] {
        pairing.record(0, &record, &mut stacks, &mut |wait| {
            assert_eq!(wait.waker, Waker::Interrupt);
            told += 1;
        });
    }
    assert_eq!(told, 1);
}

#[test]
fn a_wait_that_goes_on_counts_to_the_end() {
    let (waits, unpaired) = paired(&[park(1, 2_000), park(2, 3_000), wake(2, 4_000, 1, false)], &[]);
    assert!(waits[0].goes_on() && waits[0].blocked(WINDOW.end) == 7_000);
    assert_eq!(waits[0].waker, Waker::Nobody);
    // Woken, but not yet on a CPU.
    assert_eq!((waits[1].blocked(WINDOW.end), waits[1].runnable(), waits[1].goes_on()), (1_000, None, false));
    assert_eq!(unpaired, Unpaired::default());
}

#[test]
fn a_wait_that_began_before_the_records_counts_from_their_beginning() {
    let told = ResumeRecord {
        tsc: 4_000,
        thread: 1,
        reason: SwitchReason::Sleeping,
        parked: 0,
        woken: 3_900,
        waker: 0,
        callers: callers(WAIT),
    };
    let (waits, unpaired) = paired(&[Record::Resume(told), resume(2, 500, 2_000, 2_000)], &[]);
    // The one that nobody had recorded tells its stack when it comes back.
    assert!(waits[0].is_clipped && waits[0].stack.is_some());
    assert_eq!((waits[0].parked, waits[0].blocked(WINDOW.end)), (1_000, 2_900));
    // The other one's stack has been overwritten: its time counts.
    assert!(waits[1].is_clipped && waits[1].stack.is_none());
    assert_eq!(waits[1].blocked(WINDOW.end), 1_000);
    assert_eq!(unpaired, Unpaired { lost_stacks: 1, ..Unpaired::default() });
}

#[test]
fn a_lost_end_is_counted_and_no_time_is_made_up() {
    // Thread 1 was seen again, so it did come back; of thread 2 the park is lost, within the records.
    let (waits, unpaired) = paired(
        &[park(1, 2_000), park(1, 5_000), resume(1, 5_000, 0, 6_000), resume(2, 4_000, 0, 4_500)],
        &[],
    );
    assert_eq!(waits.len(), 2);
    assert_eq!((waits[0].thread, waits[0].stack, waits[0].blocked(WINDOW.end)), (2, None, 500));
    assert_eq!((waits[1].blocked(WINDOW.end), waits[1].runnable()), (1_000, None));
    assert_eq!(unpaired, Unpaired { lost_ends: 1, lost_stacks: 1, ..Unpaired::default() });
}

#[test]
fn a_thread_that_never_came_by_is_told_from_the_table() {
    let thread = |id, state| ThreadEntry { id, state, wait_since: 10, ..ThreadEntry::default() };
    let threads =
        [thread(1, ThreadState::Blocked), thread(2, ThreadState::Ready), thread(3, ThreadState::Exited)];
    // Thread 3 ended: its last park has an end that was lost.
    let (waits, unpaired) = paired(&[park(3, 2_000)], &threads);
    let [wait] = waits[..] else { panic!("{waits:?}") };
    assert_eq!(
        (wait.thread, wait.is_clipped, wait.goes_on(), wait.blocked(WINDOW.end)),
        (1, true, true, 8_000)
    );
    assert_eq!(unpaired, Unpaired { lost_ends: 1, lost_stacks: 1, ..Unpaired::default() });
}

#[test]
fn clocks_that_contradict_each_other_are_noticed() {
    let (waits, unpaired) =
        paired(&[park(1, 2_000), wake(1, 2_700, 4, false), resume(1, 2_000, 2_700, 2_600)], &[]);
    assert_eq!((waits[0].blocked(WINDOW.end), waits[0].runnable()), (700, Some(0)));
    assert_eq!((unpaired.disordered, unpaired.disorder), (1, 100));
    // Woken before it had left: it was never blocked, and that is in order.
    let (waits, unpaired) =
        paired(&[wake(1, 1_900, 4, false), park(1, 2_000), resume(1, 2_000, 1_900, 2_050)], &[]);
    assert_eq!((waits[0].blocked(WINDOW.end), waits[0].runnable(), unpaired.disordered), (0, Some(50), 0));
}
