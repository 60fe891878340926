//! Histograms while interrupts record into them too; the region and the site table are read back as a host would, from memory.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use uniprof_probes as probe;
use uniprof_wire::record::Class;
use uniprof_wire::site::{self, SiteKind};
use uniprof_wire::tables::{HISTOGRAM_WORDS, Histogram, bucket_of};

mod machine;

use machine::{header, words};

/// Two vCPUs' rings of 256 KiB, and some room behind them.
const REGION_BYTES: usize = (1 << 20) + (300 << 10);
const RECORDED: u64 = 500_000;

probe::region!(bytes = REGION_BYTES);

/// Number and histogram of the site called `name`, on one vCPU.
fn histogram(name: &str, vcpu: u32) -> Option<Histogram> {
    let section = machine::section();
    let site = site::sites(section).find(|site| site.name == name).expect("a site");
    assert_eq!(site.kind, SiteKind::Histogram);
    let at = header().geometry.histogram_table(vcpu) + site.slot? as usize * HISTOGRAM_WORDS * 8;
    let (id, histogram) = Histogram::from_words(&words(at)).expect("in use");
    assert_eq!(id, site.id);
    Some(histogram)
}

fn by_thread(value: u64) {
    probe::histogram!("thread", value);
}

fn shared(value: u64) {
    probe::histogram!("shared", value);
}

static INTERRUPTS: AtomicU64 = AtomicU64::new(0);
static DONE: AtomicBool = AtomicBool::new(false);

/// The largest value of interrupts; threads' values go up and down below it.
const BY_INTERRUPTS: u64 = 1 << 40;

extern "C" fn interrupt(_: libc::c_int) {
    let n = INTERRUPTS.fetch_add(1, Ordering::Relaxed);
    shared(BY_INTERRUPTS + n);
}

#[test]
fn histograms_are_exact_under_interrupts() {
    by_thread(1);
    assert_eq!(words(0), [0; 1], "nothing is recorded before init");
    let classes = Class::Counter.bit();
    let config = probe::Config {
        tsc_hz: 1_000_000,
        vcpus: 2,
        ring_bytes: 256 << 10,
        classes,
        heap_interval: 0,
        ..probe::Config::new(region_memory())
    };
    // Left over from an earlier boot.
    // SAFETY: the static region.
    unsafe { region_memory().base.write_bytes(0xff, REGION_BYTES) };
    // SAFETY: the static region.
    assert_eq!(unsafe { probe::init(config) }, probe::Status::On);

    let geometry = header().geometry;
    assert!(geometry.region_bytes() <= REGION_BYTES);
    assert!((0..2).all(|vcpu| histogram("thread", vcpu) == Some(Histogram::default())), "empty at first");

    probe_all_values();
    under_interrupts();
    other_vcpus_have_their_own();
}

fn probe_all_values() {
    let values = (0..64).map(|bit| 1u64 << bit).chain([0, 15, 16, 17, 1000, u64::MAX]);
    let mut wanted = Histogram::default();
    for value in values {
        by_thread(value);
        wanted.record(value);
        // The guest's sum wraps, a host's own stays at its limit.
        wanted.sum = 0;
    }
    let mut found = histogram("thread", 0).unwrap();
    found.sum = 0;
    assert_eq!(found, wanted);
}

fn under_interrupts() {
    // SAFETY: a zeroed sigaction is valid; the handler only uses atomics and the probes.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = interrupt as *const () as usize;
        assert_eq!(libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()), 0);
    }
    // SAFETY: always succeeds.
    let vcpu = unsafe { libc::pthread_self() };
    let device = std::thread::spawn(move || {
        while !DONE.load(Ordering::Acquire) {
            // SAFETY: the test's thread waits for this one.
            unsafe { libc::pthread_kill(vcpu, libc::SIGUSR1) };
            std::thread::sleep(std::time::Duration::from_micros(20));
        }
    });
    for value in 0..RECORDED {
        shared(value % 5000);
    }
    while INTERRUPTS.load(Ordering::Relaxed) < 1000 {
        shared(7);
        INTERRUPTS_WAITED.fetch_add(1, Ordering::Relaxed);
    }
    DONE.store(true, Ordering::Release);
    device.join().unwrap();
    let (interrupts, extra) = (INTERRUPTS.load(Ordering::Relaxed), INTERRUPTS_WAITED.load(Ordering::Relaxed));
    let found = histogram("shared", 0).unwrap();
    let count = RECORDED + extra + interrupts;
    assert_eq!(found.count, count, "{interrupts} interrupts");
    assert_eq!(found.buckets.iter().sum::<u64>(), count);
    assert_eq!(found.max, BY_INTERRUPTS + interrupts - 1);
    let by_thread = RECORDED / 5000 * (4999 * 5000 / 2) + 7 * extra;
    let by_interrupts = BY_INTERRUPTS * interrupts + interrupts * (interrupts - 1) / 2;
    assert_eq!(found.sum, by_thread + by_interrupts);
    assert_eq!(found.buckets[bucket_of(BY_INTERRUPTS)], interrupts);
}
static INTERRUPTS_WAITED: AtomicU64 = AtomicU64::new(0);

fn other_vcpus_have_their_own() {
    let before = histogram("shared", 0).unwrap();
    machine::set_vcpu(1);
    shared(77);
    // One that the region has no place for.
    machine::set_vcpu(2);
    shared(78);
    machine::set_vcpu(0);
    assert_eq!(histogram("shared", 0).unwrap(), before);
    let other = histogram("shared", 1).unwrap();
    assert_eq!((other.count, other.sum, other.max), (1, 77, 77));
}
