//! The hooks of the classes off-cpu, locks, irq, heap and calls, in a "kernel" that is this process; the region is read back as a host would.
//!
//! Stacks of the process itself are not looked at: it is compiled without frame pointers. Those of threads that do not run are made by hand.

use uniprof_probes as probe;
use uniprof_wire::layout::RingKind;
use uniprof_wire::record::{Class, Record, SwitchReason, WalkEnd};
use uniprof_wire::site;
use uniprof_wire::tables::{ControlRequest, THREAD_SLOTS, THREAD_WORDS, ThreadEntry, VcpuStats, WaitKind};

mod machine;

use machine::{drain, header, words};

probe::region!(bytes = 1 << 20);

/// The running thread, and one that waits.
const RUNNING: u32 = machine::THREAD;
const WAITING: u32 = 7;

fn stats() -> VcpuStats {
    VcpuStats::from_words(&words(header().geometry.vcpu_table()))
}

fn thread(id: u32) -> ThreadEntry {
    let table = header().geometry.thread_table();
    (0..THREAD_SLOTS)
        .filter_map(|i| ThreadEntry::from_words(&words(table + i * THREAD_WORDS * 8)).entry())
        .find(|t| t.id == id)
        .expect("the thread is in the table")
}

/// An observer who has not been there before asks for classes, and is heard.
fn ask(slot: usize, owner: u64, classes: u64) {
    let asked = ControlRequest { owner, renewals: 1, lease_ms: 60_000, classes, ..ControlRequest::default() };
    machine::request(slot, &asked);
    machine::pass(100_000);
    probe::poll();
}

/// One test, because the probes of a process are one.
#[test]
fn hooks_tell_what_observers_ask_for() {
    init();
    let classes = [Class::OffCpu, Class::Lock, Class::Irq, Class::Heap, Class::Call];
    for class in classes {
        assert!(!probe::recording(class), "{} is off", class.name());
    }
    everything_once();
    assert_eq!(drain(RingKind::Events, |record| panic!("{record:?}")), 0, "nobody asked");
    who_left_unseen_comes_back_with_his_stack();
    waits_are_told_from_leaving_to_coming_back();
    a_later_observer_gets_the_stack_again();
    who_did_not_wait_is_not_told_of();
    locks_tell_of_waits_and_of_those_who_caused_them();
    interrupts_are_counted_and_told();
    sampled_blocks_are_told();
    calls_carry_arguments_and_results();
    ask(0, 1, 0);
    ask(1, 2, 0);
    everything_once();
    assert_eq!(drain(RingKind::Events, |record| panic!("{record:?}")), 0, "nobody asks any more");
}

fn init() {
    let config = probe::Config {
        name: "hooks",
        tsc_hz: 1_000_000,
        classes: 0,
        heap_interval: 1 << 10,
        ..probe::Config::new(region_memory())
    };
    // SAFETY: the static region.
    assert_eq!(unsafe { probe::init(config) }, probe::Status::On);
    probe::thread_start(RUNNING, "running", 0..0, 0);
    probe::thread_start(WAITING, "waiting", 0..0, 0);
}

fn everything_once() {
    probe::switch(WAITING, 0, SwitchReason::Blocked);
    probe::woken(WAITING);
    probe::switch(0, WAITING, SwitchReason::Idle);
    probe::lock_wait(probe::LockKind::Spin, 0x10, 3).acquired();
    probe::lock_released(probe::LockKind::Spin, 0x10, 0);
    probe::interrupt(32, || ());
    probe::allocated(0x10_0000, 1 << 20);
    probe::freed(0x10_0000, 1 << 20);
    let not_evaluated = || -> u64 { panic!("the site is off") };
    let _ = probe::call!("off" -> u32, argument: u64 = not_evaluated()).returned(7);
}

/// A stack of a thread, as its kernel left it: three frames.
fn stack_made_by_hand() -> (Vec<[u64; 2]>, probe::SavedRegisters) {
    let mut stack = vec![[0; 2]; 4];
    for i in 0..3 {
        stack[i] = [&raw const stack[i + 1] as u64, 0x1000 + i as u64];
    }
    let low = stack.as_ptr() as u64;
    (stack, probe::SavedRegisters { rip: 0x42, rsp: low, rbp: low })
}

fn who_left_unseen_comes_back_with_his_stack() {
    let (stack, saved) = stack_made_by_hand();
    let range = stack.as_ptr_range();
    probe::switch(WAITING, 0, SwitchReason::Yielded);
    probe::thread_exit(WAITING);
    probe::thread_start(WAITING, "waiting", range.start as usize..range.end as usize, 0);
    probe::switch(0, WAITING, SwitchReason::Idle);
    probe::wait_begin(WAITING, &probe::Wait { kind: WaitKind::Event, ..probe::Wait::default() });
    let since = thread(WAITING).wait_since;
    probe::switch(WAITING, 0, SwitchReason::Blocked);
    probe::saved(WAITING, &saved);
    assert_eq!(thread(WAITING).parked, 0);
    ask(0, 1, Class::OffCpu.bit());
    assert!(probe::recording(Class::OffCpu));
    probe::switch(0, WAITING, SwitchReason::Idle);
    let count = drain(RingKind::Events, |record| {
        let Record::Resume(resume) = record else { panic!("{record:?}") };
        assert_eq!((resume.thread, resume.reason, resume.parked), (WAITING, SwitchReason::Blocked, since));
        assert_eq!((resume.woken, resume.waker), (0, 0), "nobody told of that");
        assert_eq!(resume.callers.frames, [0x1000, 0x1001, 0x1002]);
        assert_eq!(resume.callers.end, WalkEnd::Root);
    });
    assert_eq!(count, 1);
    probe::wait_end(WAITING);
}

fn wait_for_lock() -> u64 {
    let wait = probe::Wait { kind: WaitKind::Lock, address: 0x5000, owner: 9, ..probe::Wait::default() };
    probe::wait_begin(WAITING, &wait);
    probe::switch(WAITING, 0, SwitchReason::Blocked);
    thread(WAITING).parked
}

fn waits_are_told_from_leaving_to_coming_back() {
    for by_interrupt in [false, true] {
        let parked = wait_for_lock();
        assert!(parked > 0, "a dump tells that there is a record");
        drain(RingKind::Events, |record| {
            let Record::Park(park) = record else { panic!("{record:?}") };
            assert_eq!((park.thread, park.tsc, park.reason), (WAITING, parked, SwitchReason::Blocked));
            assert_eq!((park.wait, park.waits_for.0, park.waits_on), (WaitKind::Lock, 0x5000, 9));
        });
        if by_interrupt {
            probe::woken_by_interrupt(WAITING)
        } else {
            probe::woken(WAITING)
        }
        let (woken, waker) = (thread(WAITING).woken, thread(WAITING).waker);
        assert_eq!(waker, if by_interrupt { 0 } else { RUNNING });
        probe::switch(0, WAITING, SwitchReason::Idle);
        assert_eq!(thread(WAITING).parked, 0, "it runs");
        probe::wait_end(WAITING);
        let mut kinds = Vec::new();
        drain(RingKind::Events, |record| match record {
            Record::Wake(wake) => {
                assert_eq!((wake.tsc, wake.thread, wake.waker), (woken, WAITING, RUNNING));
                assert_eq!(wake.by_interrupt, by_interrupt);
                kinds.push("wake");
            }
            Record::Resume(resume) => {
                assert_eq!((resume.parked, resume.woken, resume.waker), (parked, woken, waker));
                assert!(resume.callers.frames.is_empty() && resume.tsc > woken, "{resume:?}");
                kinds.push("resume");
            }
            other => panic!("{other:?}"),
        });
        assert_eq!(kinds, ["wake", "resume"]);
    }
}

fn a_later_observer_gets_the_stack_again() {
    let parked = wait_for_lock();
    let (stack, saved) = stack_made_by_hand();
    probe::saved(WAITING, &probe::SavedRegisters { rsp: 0, ..saved });
    drain(RingKind::Events, |_| ());
    ask(1, 2, Class::OffCpu.bit());
    probe::switch(0, WAITING, SwitchReason::Idle);
    probe::wait_end(WAITING);
    let count = drain(RingKind::Events, |record| {
        let Record::Resume(resume) = record else { panic!("{record:?}") };
        assert_eq!(resume.parked, parked, "the first observer knows it by that");
        assert_eq!(resume.callers.end, WalkEnd::NoStack, "walked, where this thread has no stack");
    });
    assert_eq!(count, 1);
    drop(stack);
    wait_for_lock();
    probe::switch(0, WAITING, SwitchReason::Idle);
    probe::wait_end(WAITING);
    assert_eq!(drain(RingKind::Events, |_| ()), 2);
}

fn who_did_not_wait_is_not_told_of() {
    for reason in [SwitchReason::Preempted, SwitchReason::Yielded] {
        probe::switch(WAITING, 0, reason);
        probe::switch(0, WAITING, SwitchReason::Idle);
    }
    for nobody in [0, 12_345] {
        probe::woken(nobody);
        probe::woken_by_interrupt(nobody);
        probe::switch(nobody, nobody, SwitchReason::Blocked);
    }
    assert_eq!(drain(RingKind::Events, |record| panic!("{record:?}")), 0);
}

fn locks_tell_of_waits_and_of_those_who_caused_them() {
    let before = machine::now();
    ask(0, 1, Class::Lock.bit());
    let wait = probe::lock_wait(probe::LockKind::Blocking, 0x5000, 9);
    let begun = machine::now();
    machine::pass(500);
    probe::lock_released(probe::LockKind::Blocking, 0x5000, begun);
    probe::lock_released(probe::LockKind::Spin, 0x6000, before);
    wait.acquired();
    let mut seen = Vec::new();
    drain(RingKind::Events, |record| match record {
        Record::LockWait(wait) => {
            assert_eq!((wait.thread, wait.lock.0, wait.owner), (RUNNING, 0x5000, 9));
            assert!((500..520).contains(&(wait.tsc - wait.begin)), "{wait:?}");
            seen.push((wait.kind, wait.lock.0, 0));
        }
        Record::LockHold(hold) => {
            assert_eq!(hold.thread, RUNNING);
            seen.push((hold.kind, hold.lock.0, hold.since));
        }
        other => panic!("{other:?}"),
    });
    let (spin, blocking) = (probe::LockKind::Spin, probe::LockKind::Blocking);
    // What was kept before anybody asked may be of an earlier hold.
    assert_eq!(seen, [(blocking, 0x5000, begun), (spin, 0x6000, 0), (blocking, 0x5000, 0)]);
    let wait = probe::lock_wait(probe::LockKind::Spin, 0x5000, 9);
    ask(0, 1, 0);
    wait.acquired();
    assert_eq!(drain(RingKind::Events, |record| panic!("{record:?}")), 0);
}

fn interrupts_are_counted_and_told() {
    let before = stats();
    let handler = || machine::pass(300);
    probe::interrupt(33, handler);
    assert_eq!(drain(RingKind::Events, |record| panic!("{record:?}")), 0);
    ask(0, 1, Class::Irq.bit());
    probe::interrupt(34, handler);
    let begin = probe::interrupt_enter();
    machine::pass(300);
    probe::interrupt_exit(35, begin);
    let mut vectors = Vec::new();
    drain(RingKind::Events, |record| {
        let Record::Interrupt(interrupt) = record else { panic!("{record:?}") };
        assert_eq!(interrupt.thread, RUNNING);
        assert!((300..310).contains(&(interrupt.tsc - interrupt.begin)), "{interrupt:?}");
        vectors.push(interrupt.vector);
    });
    assert_eq!(vectors, [34, 35]);
    assert_eq!(stats().interrupts - before.interrupts, 3, "whoever asks");
    assert!((900..930).contains(&(stats().irq_time - before.irq_time)));
    assert!(stats().probe_time > before.probe_time);
}

fn sampled_blocks_are_told() {
    ask(0, 1, Class::Heap.bit());
    assert!(probe::watching_heap());
    const BYTES: usize = 1 << 20;
    let before = stats().heap.dropped;
    (1..=3000).for_each(|block| probe::allocated(block * BYTES, BYTES));
    let dropped = (stats().heap.dropped - before) as usize;
    let mut told = Vec::new();
    drain(RingKind::Events, |record| {
        let Record::Allocation(block) = record else { panic!("{record:?}") };
        assert_eq!((block.thread, block.bytes, block.weight), (RUNNING, BYTES as u64, BYTES as u64));
        told.push(block.address);
    });
    assert!(dropped > 0, "the table has fewer slots");
    assert_eq!(told.len() + dropped, 3000, "what is in no table is not told: its end would not be, either");
    (1..=3000).for_each(|block| probe::freed(block * BYTES, BYTES));
    let mut freed = Vec::new();
    drain(RingKind::Events, |record| {
        let Record::Free(block) = record else { panic!("{record:?}") };
        assert_eq!((block.thread, block.bytes, block.weight), (RUNNING, BYTES as u64, BYTES as u64));
        freed.push(block.address);
    });
    assert_eq!(freed, told);
}

fn early_return(fail: bool) -> Option<f32> {
    let call = probe::call!("early" -> f32, fail: bool = fail);
    if fail {
        return None;
    }
    Some(call.returned(0.5))
}

fn calls_carry_arguments_and_results() {
    ask(0, 1, Class::Call.bit());
    let path = String::from("/data/x");
    let call = probe::call!("fs.open" -> i64, path: str = &path, flags = 7u8);
    machine::pass(200);
    assert_eq!(call.returned(-2), -2, "handed on");
    assert_eq!(early_return(false), Some(0.5));
    assert_eq!(early_return(true), None);
    drop(probe::call!("fs.sync"));
    let long = [0xab; 200];
    let _ = probe::call!("fs.write" -> ptr, bytes: bytes = &long).returned(0x7000);
    let section = machine::section();
    let mut told = Vec::new();
    drain(RingKind::Events, |record| {
        let Record::Call(call) = record else { panic!("{record:?}") };
        let site = site::sites(section).find(|site| site.id == call.site).expect("a site");
        assert_eq!(site.result().is_some(), site.name != "fs.sync");
        assert!(call.begin < call.tsc && call.thread == RUNNING);
        let values: Vec<_> =
            site.values(call.args).map(|(arg, value)| format!(" {}={value}", arg.name)).collect();
        told.push(format!("{}{}", site.name, values.concat()));
        if site.name == "fs.open" {
            assert!((200..210).contains(&(call.tsc - call.begin)), "{call:?}");
        }
    });
    let wanted = [
        "fs.open path=\"/data/x\" flags=7 result=-2",
        "early fail=false result=0.5",
        "early fail=true",
        "fs.sync",
        &format!("fs.write bytes={}… (200 bytes) result=0x7000", "ab".repeat(128)),
    ];
    assert_eq!(told, wanted);
}
