//! What the hooks of the classes off-cpu, locks, irq, heap and calls cost: off, and on.
//!
//!     cargo bench -p uniprof-probes --bench hooks

use std::hint::black_box;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use criterion::{Criterion, criterion_group, criterion_main};
use uniprof_probes as probe;
use uniprof_wire::tables::ControlRequest;

probe::region!(bytes = 4 << 20);

static PINS: AtomicU32 = AtomicU32::new(0);

struct Process;
// SAFETY: one thread probes; nothing here locks, faults or allocates.
unsafe impl probe::Platform for Process {
    #[inline(always)]
    fn now() -> u64 {
        // SAFETY: rdtsc has no precondition.
        unsafe { core::arch::x86_64::_rdtsc() }
    }
    #[inline(always)]
    fn vcpu() -> u32 {
        0
    }
    #[inline(always)]
    fn pin() {
        PINS.store(PINS.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }
    #[inline(always)]
    fn unpin() {
        PINS.store(PINS.load(Ordering::Relaxed) - 1, Ordering::Relaxed);
    }
    #[inline(always)]
    fn stack() -> Range<usize> {
        0..0
    }
    #[inline(always)]
    fn thread() -> probe::ThreadId {
        1
    }
}
probe::platform!(Process);

/// An observer's request for classes, heard at once.
fn ask(classes: u64) {
    let asked =
        ControlRequest { owner: 1, renewals: classes, lease_ms: 60_000, classes, ..Default::default() };
    let words = [2].into_iter().chain(asked.to_words()).enumerate().collect::<Vec<_>>();
    for (i, word) in words.into_iter().rev() {
        // SAFETY: the control page, which a host may write.
        unsafe { AtomicU64::from_ptr(region_memory().base.cast::<u64>().add(512 + i)) }
            .store(word, Ordering::Release);
    }
    std::thread::sleep(std::time::Duration::from_millis(100));
    probe::poll();
}

fn call(argument: u64) -> i64 {
    probe::call!("bench.call" -> i64, argument = argument).returned(black_box(7))
}

fn each(c: &mut Criterion, state: &str) {
    c.bench_function(&format!("call, one argument and a result, {state}"), |b| b.iter(|| call(black_box(7))));
    c.bench_function(&format!("allocated and freed, {state}"), |b| {
        b.iter(|| {
            probe::allocated(black_box(0x1000), 64);
            probe::freed(black_box(0x1000), 64);
        });
    });
    c.bench_function(&format!("lock that is waited for, and its release, {state}"), |b| {
        b.iter(|| {
            let wait = probe::lock_wait(probe::LockKind::Spin, black_box(0x1000), 2);
            probe::lock_released(probe::LockKind::Spin, black_box(0x1000), 0);
            wait.acquired();
        });
    });
    c.bench_function(&format!("interrupt, {state}"), |b| b.iter(|| probe::interrupt(32, || black_box(7))));
    c.bench_function(&format!("a thread leaves to wait, is woken, comes back, {state}"), |b| {
        b.iter(|| {
            probe::switch(7, 0, probe::SwitchReason::Blocked);
            probe::woken(7);
            probe::switch(0, 7, probe::SwitchReason::Idle);
        });
    });
}

fn hooks(c: &mut Criterion) {
    let config = probe::Config {
        tsc_hz: 2_000_000_000,
        classes: 0,
        heap_interval: 0,
        ..probe::Config::new(region_memory())
    };
    // SAFETY: the static region.
    assert_eq!(unsafe { probe::init(config) }, probe::Status::On);
    probe::thread_start(7, "waiting", 0..0, 0);
    each(c, "off");
    ask(probe::Class::RECORDED);
    each(c, "on");
}

criterion_group!(benches, hooks);
criterion_main!(benches);
