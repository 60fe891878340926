//! A control page of any bytes, as a guest's own probes look at it: what takes effect is capped, and nothing outlives its lease.
#![no_main]

use std::sync::OnceLock;
use std::sync::atomic::Ordering;

use libfuzzer_sys::fuzz_target;
use uniprof_probes as probe;
use uniprof_wire::layout::{CONTROL_OFFSET, PAGE};
use uniprof_wire::record::{Class, MAX_SNAPSHOT_BYTES};
use uniprof_wire::tables::{CONTROL_WORDS, ControlRequest, VCPU_WORDS, VcpuField, VcpuStats};

const BYTES: usize = 1 << 20;
const HZ: u64 = 1_000_000;
/// More than the longest lease.
const LONG: u64 = 61 * HZ;

#[path = "../../guest-probes/tests/machine/mod.rs"]
mod machine;

probe::region!(bytes = BYTES);

/// Where the vCPU's slot lies.
fn start() -> usize {
    static SLOT: OnceLock<usize> = OnceLock::new();
    *SLOT.get_or_init(|| {
        let config = probe::Config {
            name: "fuzz",
            tsc_hz: HZ,
            sample_hz: 0,
            classes: 0,
            ..probe::Config::new(region_memory())
        };
        // SAFETY: the static region.
        assert_eq!(unsafe { probe::init(config) }, probe::Status::On);
        probe::vcpu_online();
        machine::header().geometry.vcpu_table() / 8
    })
}

fn stats(slot: usize) -> VcpuStats {
    let words: [u64; VCPU_WORDS] = machine::words(slot * 8);
    VcpuStats::from_words(&words)
}

/// Lets time pass, with what a guest does meanwhile; what is in effect then.
fn pass(slot: usize, ticks: u64) -> VcpuStats {
    machine::pass(ticks);
    probe::poll();
    let _ = probe::next_tick();
    // SAFETY: the stack is empty.
    unsafe { probe::tick(0x1000, 0, 0) };
    probe::event!("fuzz.event", number = ticks, text: str = "some");
    let _ = probe::flush_wanted();
    stats(slot)
}

fuzz_target!(|bytes: &[u8]| {
    let slot = start();
    let page = CONTROL_OFFSET / 8..(CONTROL_OFFSET + PAGE) / 8;
    page.clone().for_each(|index| machine::region()[index].store(0, Ordering::Relaxed));
    assert_eq!(pass(slot, LONG).rate, 0);
    let chunks = bytes.as_chunks::<8>().0;
    for (index, chunk) in page.clone().zip(chunks) {
        machine::region()[index].store(u64::from_le_bytes(*chunk), Ordering::Relaxed);
    }
    for request in chunks.chunks_exact(CONTROL_WORDS) {
        let words: [u64; ControlRequest::WORDS] =
            std::array::from_fn(|index| u64::from_le_bytes(request[index]));
        if let Some(entry) = ControlRequest::from_words(&words).entry() {
            // What was read says the same when it is written.
            let written = entry.to_words();
            let again = std::array::from_fn(|index| if index == 0 { words[0] } else { written[index - 1] });
            assert_eq!(ControlRequest::from_words(&again).entry(), Some(entry));
            let _ = entry.wants(b"fuzz.event", Class::Event.bit());
        }
    }
    for _ in 0..4 {
        let now = pass(slot, HZ / 20);
        assert!(now.rate <= 100_000 && now.rate <= now.rate_asked, "{now:?}");
        assert!(now.classes & !Class::RECORDED == 0 && now.classes & now.classes_shed == 0, "{now:?}");
        assert!(now.snapshot_bytes <= MAX_SNAPSHOT_BYTES && now.budget_ppm <= 1_000_000, "{now:?}");
    }
    // Nobody renews.
    let over = pass(slot, LONG);
    assert_eq!((over.rate, over.classes), (0, 0), "nothing outlives its lease");
    assert_eq!(machine::word(8 * (slot + VcpuField::Budget as usize)), 0);
});
