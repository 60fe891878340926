//! The probes as a kernel sees them, in a "kernel" that is this process; the region is read back as a host would.

use uniprof_probes as probe;
use uniprof_wire::layout::RingKind;
use uniprof_wire::record::{Class, MAX_SNAPSHOT_BYTES, Record};
use uniprof_wire::site;
use uniprof_wire::tables::{
    ControlRequest, CrashRecord, Slot, THREAD_SLOTS, ThreadEntry, ThreadState, VcpuField, VcpuStats,
};
use uniprof_wire::text::FixedText;

mod machine;

use machine::{drain, header, word, words};

probe::region!(bytes = 1 << 20);

fn stats() -> VcpuStats {
    VcpuStats::from_words(&words(header().geometry.vcpu_table()))
}

fn thread(id: u32) -> ThreadEntry {
    let table = header().geometry.thread_table();
    (0..THREAD_SLOTS)
        .filter_map(|i| ThreadEntry::from_words(&words(table + i * 256)).entry())
        .find(|t| t.id == id)
        .expect("the thread is in the table")
}

/// One test, because the probes of a process are one: steps in the order of a kernel's life.
#[test]
fn a_kernels_life() {
    probes_are_silent_before_init();
    init();
    events_carry_their_arguments();
    a_silent_collectors_request_ends();
    sites_go_on_and_off_by_name();
    marks_are_written_once();
    a_request_is_heard_soon_while_nothing_is_sampled();
    time_without_sampling_weighs_nothing();
    ticks_weigh_busy_time();
    short_runs_between_idle_times_miss_nothing();
    stacks_are_shipped_while_somebody_asks();
    other_vcpus_run_unobserved();
    threads_are_tracked();
    waits_are_told();
    a_crash_is_kept();
}

fn probes_are_silent_before_init() {
    probe::event!("early", x = 1u64);
    probe::log_line("early");
    assert_eq!(probe::next_tick(), u64::MAX);
    assert_eq!(word(0), 0);
}

fn init() {
    let config = probe::Config {
        name: "face",
        tsc_hz: 1_000_000,
        ring_bytes: 1 << 20,
        sample_hz: 100,
        classes: !Class::Sample.bit(),
        patterns: "-quiet.*",
        image: probe::Image { build_id: &[1, 2, 3], start: 0x1000, end: 0x2000, bias: 0 },
        ..probe::Config::new(region_memory())
    };
    let misaligned = probe::Memory { base: config.memory.base.wrapping_add(8), ..config.memory };
    let off = |config| {
        // SAFETY: refused before anything is written.
        let status = unsafe { probe::init(config) };
        assert_ne!(status, probe::Status::On);
        status.to_string()
    };
    assert!(off(probe::Config { memory: misaligned, ..config }).contains("page"));
    assert!(off(probe::Config { tsc_hz: 0, ..config }).contains("frequency"));
    assert!(off(probe::Config { vcpus: 65, ..config }).contains("65 vCPUs"));
    let tiny = probe::Memory { bytes: 4096, ..config.memory };
    assert!(off(probe::Config { memory: tiny, ..config }).contains("needs"));
    // SAFETY: the static region.
    assert_eq!(unsafe { probe::init(config) }, probe::Status::On);
    assert!(off(config).contains("twice"));
    assert_eq!(
        (stats().rate, stats().classes),
        (100, Class::RECORDED & !Class::Sample.bit()),
        "stated from the start"
    );
    let header = header();
    assert_eq!(header.name.as_str(), "face");
    assert!(header.geometry.ring_bytes() < 1 << 20, "halved until two rings fit 1 MiB");
    assert_eq!(header.region_gva.0, region_memory().base as u64);
}

fn events_carry_their_arguments() {
    {
        let _span = probe::span!("request", id = 9u32);
        probe::event!("hit", key: i32 = -1, ratio: f64 = 0.5, ok: bool = true);
        probe::counter!("bytes", 77u64);
    }
    let section = machine::section();
    let site = |id: u32| site::sites(section).find(|s| s.id == id).expect("a site");
    let mut seen = Vec::new();
    drain(RingKind::Events, |record| match record {
        Record::SpanBegin(e) => {
            assert_eq!((e.args, e.thread), (&[9][..], 5));
            assert_eq!(site(e.site).args().map(|arg| arg.name).collect::<Vec<_>>(), ["id"]);
            seen.push(site(e.site).name);
        }
        Record::Event(e) => {
            assert_eq!(e.args, [u64::MAX, 0.5f64.to_bits(), 1]);
            let values: Vec<_> =
                site(e.site).values(e.args).map(|(arg, value)| format!("{}={value}", arg.name)).collect();
            assert_eq!(values, ["key=-1", "ratio=0.5", "ok=true"]);
            assert!(site(e.site).file.ends_with("face.rs"));
            seen.push(site(e.site).name);
        }
        Record::Counter(c) => {
            assert_eq!(c.value, 77);
            seen.push(site(c.site).name);
        }
        Record::SpanEnd(e) => {
            assert!(e.begin < e.tsc);
            seen.push("end");
        }
        other => panic!("{other:?}"),
    });
    assert_eq!(seen, ["request", "hit", "bytes", "end"]);
}

fn request(slot: usize, asked: ControlRequest) {
    machine::request(slot, &asked);
}

/// A collector asks for a rate; when it falls silent, its request ends with its lease.
fn a_silent_collectors_request_ends() {
    let asked =
        ControlRequest { owner: 1, renewals: 1, lease_ms: 1000, rate: 500, ..ControlRequest::default() };
    request(0, asked);
    let mut intervals = Vec::new();
    for _ in 0..30 {
        machine::pass(100_000);
        probe::poll();
        intervals.push(stats().rate);
    }
    assert_eq!(intervals[0], 500, "granted at the first look");
    assert_eq!(*intervals.last().unwrap(), 100, "dropped with the lease");
    assert!((9..=11).contains(&intervals.iter().filter(|&&rate| rate == 500).count()), "{intervals:?}");
    drain(RingKind::Core, |_| {});
}

/// The kernel keeps `quiet.*` off; a collector wants one of them, and another asks for all events but not for that one.
fn sites_go_on_and_off_by_name() {
    let emitted = || {
        machine::pass(50_000);
        probe::poll();
        drain(RingKind::Events, |_| {});
        probe::event!("quiet.one");
        probe::event!("quiet.two");
        let mut records = 0;
        drain(RingKind::Events, |_| records += 1);
        records
    };
    assert_eq!(emitted(), 0);
    let asked = |owner, patterns| {
        let patterns = FixedText::new(patterns);
        ControlRequest { owner, renewals: 1, lease_ms: 1000, patterns, ..ControlRequest::default() }
    };
    request(0, asked(10, b"quiet.one"));
    assert_eq!(emitted(), 1);
    request(1, ControlRequest { classes: Class::Event.bit(), ..asked(11, b"-quiet.one") });
    assert_eq!(emitted(), 2, "each gets what it asked for");
    request(0, ControlRequest::default());
    assert_eq!(emitted(), 1);
    machine::pass(1_000_000);
    assert_eq!(emitted(), 0, "a collector that is gone leaves nothing on");
}

fn marks_are_written_once() {
    let marked = |number, renewals, text: &[u8]| {
        let asked = ControlRequest { owner: 12, renewals, lease_ms: 1000, ..ControlRequest::default() };
        request(0, ControlRequest { mark: number, flush: number, mark_text: FixedText::new(text), ..asked });
        machine::pass(50_000);
        probe::poll();
        let mut told = Vec::new();
        drain(RingKind::Core, |record| {
            let Record::Mark(mark) = record else { return };
            told.push(String::from_utf8(mark.text.bytes().collect()).unwrap());
        });
        told
    };
    assert!(!probe::flush_wanted());
    assert_eq!(marked(1, 1, b"deploy"), ["deploy"]);
    assert!(probe::flush_wanted() && !probe::flush_wanted(), "once");
    assert!(marked(1, 2, b"deploy").is_empty(), "a renewal is no mark");
    assert!(!probe::flush_wanted());
    assert_eq!(marked(2, 3, b"done"), ["done"]);
    assert!(probe::flush_wanted());
}

/// Wherever between two ticks the request comes: 30 ms by the guest's clock, of the 100 that are promised.
fn a_request_is_heard_soon_while_nothing_is_sampled() {
    for phase in 0..40 {
        let rate = 200 + phase as u32;
        let asked =
            ControlRequest { owner: 13, renewals: rate.into(), lease_ms: 1000, ..ControlRequest::default() };
        let interval = probe::next_tick();
        machine::pass(interval * phase / 40);
        request(0, ControlRequest { rate, ..asked });
        let began = machine::now();
        machine::pass(interval - interval * phase / 40);
        loop {
            // SAFETY: the stack is empty.
            unsafe { probe::tick(0x1234, 0, 0) };
            let took = machine::now() - began;
            assert!(took < 30_000, "{took} us");
            if stats().rate == rate {
                break;
            }
            machine::pass(probe::next_tick());
        }
    }
    request(0, ControlRequest::default());
    machine::pass(50_000);
    probe::poll();
    drain(RingKind::Core, |_| {});
}

fn ticks_weigh_busy_time() {
    let stack: Vec<u64> = vec![0; 64];
    let low = stack.as_ptr() as u64;
    machine::set_stack(low as usize..low as usize + 512);
    // SAFETY: the stack is a live vector.
    let tick = || unsafe { probe::tick(0x1234, low + 448, 0) };
    tick();
    let mut weights = Vec::new();
    drain(RingKind::Core, |_| {});
    let interval = probe::next_tick();
    assert!((8_750..=11_250).contains(&interval), "10,000 ± an eighth: {interval}");
    machine::pass(10_000);
    tick();
    probe::idle_enter();
    machine::pass(1_000_000);
    tick();
    probe::idle_exit();
    machine::pass(5_000);
    tick();
    machine::pass(50_000);
    tick();
    drain(RingKind::Core, |record| {
        let Record::Sample(s) = record else { panic!("{record:?}") };
        assert_eq!((s.rip, s.stack.len(), s.frames.len(), s.thread), (0x1234, 8, 0, 5));
        weights.push((s.weight, s.missed));
    });
    let near = |weight: u64, wanted: u64| assert!(weight.abs_diff(wanted) < 200, "{weights:?}");
    assert_eq!(weights.len(), 3, "none for the idle tick: {weights:?}");
    near(weights[0].0, 10_000);
    near(weights[1].0, 5_000);
    near(weights[2].0, 50_000);
    assert!(weights[2].1 >= 3, "missed ticks are counted: {weights:?}");
    assert!(stats().idle.abs_diff(1_000_000) < 200);
    assert!(stats().probe_time > 0);
}

/// A vCPU that works in bursts shorter than a period meets no tick for a while, and has missed none: the kernel asks anew when
/// it leaves its idle loop.
fn short_runs_between_idle_times_miss_nothing() {
    machine::set_stack(0..0);
    let before = stats().missed;
    for _ in 0..10 {
        let _ = probe::next_tick();
        machine::pass(5_000);
        probe::idle_enter();
        machine::pass(30_000);
        probe::idle_exit();
    }
    let _ = probe::next_tick();
    machine::pass(9_000);
    // SAFETY: the stack is empty.
    unsafe { probe::tick(0x1234, 0, 0) };
    drain(RingKind::Core, |record| {
        let Record::Sample(s) = record else { panic!("{record:?}") };
        assert!(s.weight.abs_diff(59_000) < 300, "all busy time since the last sample: {s:?}");
        assert_eq!(s.missed, 0);
    });
    assert_eq!(stats().missed, before);
}

/// Two collectors ask for snapshots: the longer one wins, cut to what fits; a tick that knows three registers goes on walking.
fn stacks_are_shipped_while_somebody_asks() {
    assert_eq!(stats().snapshot_bytes, 0);
    let stack: Vec<u64> = (0..8192).map(|i| i << 32).collect();
    let low = stack.as_ptr() as u64;
    machine::set_stack(low as usize..low as usize + 65536);
    let (rip, rsp, rbp) = (0x1234, low + 80, 77);
    let registers = probe::Registers { rip, rsp, rbp, rbx: 1, r12: 2, r13: 3, r14: 4, r15: 5 };
    let ask = |slot, snapshot_bytes| {
        let owner = 3 + slot as u64;
        let renewals = u64::from(snapshot_bytes);
        let asked =
            ControlRequest { owner, renewals, lease_ms: 60_000, snapshot_bytes, ..Default::default() };
        request(slot, asked);
        machine::pass(100_000);
        // SAFETY: the stack is a live vector.
        unsafe { probe::tick_with_registers(&registers) };
        let mut taken = None;
        drain(RingKind::Core, |record| {
            let Record::Snapshot(s) = record else { panic!("{record:?}") };
            assert_eq!((s.registers, s.thread, s.stack_end), (registers, 5, low + 65536));
            assert!(s.stack.iter().zip(10..).all(|(&word, i)| word == i << 32));
            assert!(s.weight > 0);
            taken = Some((s.stack.len() * 8, stats().snapshot_bytes as usize));
        });
        taken.expect("a snapshot")
    };
    assert_eq!(ask(2, 100), (96, 96), "whole words");
    assert_eq!(ask(3, 64), (96, 96), "the longer one");
    assert_eq!(ask(3, 8192), (8192, 8192));
    // Header, TSC and registers need their part of the sub-buffer.
    let room = header().geometry.sub_buffer_bytes() as usize - 14 * 8;
    let longest = room.min(MAX_SNAPSHOT_BYTES as usize);
    assert_eq!(ask(3, u32::MAX), (longest, longest), "capped");
    // SAFETY: the stack is a live vector.
    unsafe { probe::tick(rip, rsp, rbp) };
    assert_eq!(stats().snapshot_bytes, 0, "what is in effect, not what was asked for");
    drain(RingKind::Core, |record| assert!(matches!(record, Record::Sample(_)), "{record:?}"));
    [2, 3].into_iter().for_each(|slot| request(slot, ControlRequest::default()));
    machine::pass(100_000);
    // SAFETY: as above.
    unsafe { probe::tick_with_registers(&registers) };
    drain(RingKind::Core, |record| assert!(matches!(record, Record::Sample(_)), "{record:?}"));
    machine::set_stack(0..0);
}

/// The first sample after sampling was off stands for its own period, not for all the time before. It is on from here.
fn time_without_sampling_weighs_nothing() {
    let mut samples = 0;
    // SAFETY: the stack is empty.
    let tick = || unsafe { probe::tick(0x1234, 0, 0) };
    for _ in 0..5 {
        assert_eq!(probe::next_tick(), 25_000, "to look at control");
        machine::pass(25_000);
        tick();
    }
    let classes = Class::Sample.bit();
    let asked =
        ControlRequest { owner: 2, renewals: 1, lease_ms: 60_000, classes, ..ControlRequest::default() };
    request(0, asked);
    machine::pass(100_000);
    tick();
    drain(RingKind::Core, |record| panic!("the time behind it was not sampled: {record:?}"));
    machine::pass(probe::next_tick());
    tick();
    drain(RingKind::Core, |record| {
        let Record::Sample(s) = record else { panic!("{record:?}") };
        assert!(s.weight < 12_000 && s.missed == 0, "{s:?}");
        samples += 1;
    });
    assert_eq!(samples, 1);
}

/// Every call on a vCPU that the region has no place for does nothing.
fn other_vcpus_run_unobserved() {
    drain(RingKind::Events, |_| {});
    let before: Vec<u64> = (0..header().geometry.region_bytes()).step_by(8).map(word).collect();
    for vcpu in [1, 64, 256, u32::MAX] {
        machine::set_vcpu(vcpu);
        probe::vcpu_online();
        probe::idle_enter();
        probe::idle_exit();
        probe::event!("elsewhere", vcpu = vcpu);
        probe::log_line("elsewhere");
        probe::switch(7, 8, probe::SwitchReason::Yielded);
        assert_eq!(probe::next_tick(), u64::MAX);
        // SAFETY: the stack is empty.
        unsafe { probe::tick(0x1234, 0, 0) };
        assert!(!probe::crash(&A_CRASH));
    }
    machine::set_vcpu(0);
    assert!((0..).step_by(8).zip(&before).all(|(byte, &was)| word(byte) == was), "nothing was written");
}

fn threads_are_tracked() {
    drain(RingKind::Core, |_| {});
    probe::thread_start(7, "worker", 0x1000..0x2000, 0x42);
    // 7 + 256 wants the same slot.
    probe::thread_start(263, "other", 0x2000..0x3000, 0x43);
    assert_eq!((thread(7).name.as_str(), thread(7).state), ("worker", ThreadState::Ready));
    probe::switch(0, 7, probe::SwitchReason::Idle);
    assert_eq!(thread(7).state, ThreadState::Running);
    machine::pass(5_000);
    probe::switch(7, 263, probe::SwitchReason::Blocked);
    assert_eq!((thread(7).state, thread(263).state), (ThreadState::Blocked, ThreadState::Running));
    assert!(thread(7).cpu_time.abs_diff(5_000) < 100);
    probe::thread_exit(263);
    probe::switch(263, 0, probe::SwitchReason::Exited);
    assert_eq!(thread(263).state, ThreadState::Exited);
    assert!(thread(263).cpu_time > 0, "counted up to its end");
    probe::thread_start(519, "third", 0..0, 0);
    assert_eq!(thread(519).name.as_str(), "third", "takes the slot of the thread that ended");
    let mut kinds = Vec::new();
    drain(RingKind::Core, |record| kinds.push(record.kind().class()));
    let (t, s) = (Class::Thread, Class::Switch);
    assert_eq!(kinds, [t, t, s, s, t, s, t]);
    assert_eq!(word(header().geometry.vcpu_table() + 8 * VcpuField::Switches as usize), 3);
}

/// Thread 7 has left the CPU, blocked.
fn waits_are_told() {
    let saved = probe::SavedRegisters { rip: 0x40, rsp: 0x1f00, rbp: 0x1f08 };
    probe::saved(7, &saved);
    assert_eq!(thread(7).saved, [0x40, 0x1f00, 0x1f08]);
    let wait =
        probe::Wait { kind: probe::WaitKind::Lock, address: 0x5000, word: 0x5008, owner: 519, until: 9 };
    probe::wait_begin(7, &wait);
    let told = thread(7);
    assert_eq!((told.wait, told.waits_on, told.waits_for.0), (probe::WaitKind::Lock, 519, 0x5000));
    assert_eq!((told.wait_word.0, told.wakes_at), (0x5008, 9));
    assert!(told.wait_since > 0);
    assert_eq!((told.state, told.state_now()), (ThreadState::Blocked, ThreadState::Blocked));
    probe::woken(7);
    assert_eq!((thread(7).state, thread(7).state_now()), (ThreadState::Blocked, ThreadState::Ready));
    probe::switch(0, 7, probe::SwitchReason::Idle);
    assert_eq!(thread(7).saved, [0; 3], "the registers of a running thread are its vCPU's");
    probe::wait_end(7);
    let after = thread(7);
    assert_eq!((after.wait, after.waits_on, after.waits_for.0), (probe::WaitKind::None, 0, 0));
    assert_eq!((after.wait_word.0, after.wait_since, after.wakes_at), (0, 0, 0));
    let unchanged: Vec<u64> = (0..header().geometry.tables_bytes()).step_by(8).map(word).collect();
    for nobody in [0, 12_345] {
        probe::wait_begin(nobody, &wait);
        probe::wait_end(nobody);
        probe::woken(nobody);
        probe::saved(nobody, &saved);
    }
    assert!((0..).step_by(8).zip(&unchanged).all(|(byte, &was)| word(byte) == was), "nothing was written");
}

const A_CRASH: probe::Crash<'_> = probe::Crash {
    reason: probe::CrashReason::Panic,
    vector: 0,
    rip: 1,
    rflags: 2,
    cr2: 3,
    cr3: 4,
    error_code: 5,
    registers: [6; 16],
    message: "out of cheese",
};

fn a_crash_is_kept() {
    assert!(probe::crash(&A_CRASH));
    assert!(
        !probe::crash(&probe::Crash { message: "a later one", ..A_CRASH }),
        "the first crash is the cause"
    );
    let Slot::Whole(kept) = CrashRecord::from_words(&words(header().geometry.crash_table())) else {
        panic!()
    };
    assert_eq!((kept.message.as_str(), kept.rip, kept.registers), ("out of cheese", 1, [6; 16]));
}
