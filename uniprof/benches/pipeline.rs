//! The whole way at full speed, without a guest: `cargo bench -p uniprof --bench pipeline`.
//!
//! A thread of this process is the "guest": it calls the real probes with real stacks of 16 frames, a million times a second for
//! ten seconds, in shared memory that the real drainer reads and the real writer puts into a file in `/dev/shm`. Then the
//! binary draws that recording. Needs 3 GB of `/dev/shm`. Not criterion: one run is ten seconds and ten million samples.
//!
//! `PIPELINE_SECONDS=1` for a short one.

use std::error::Error;
use std::fs::OpenOptions;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use uniprof_collector::drain::{Begin, Drainer, Pace};
use uniprof_collector::ledger::Ledger;
use uniprof_collector::memory::{GuestMemory, IvshmemFile, find_region};
use uniprof_collector::recording::{Body, Message, RecordingFile, SessionInfo};
use uniprof_probes as probe;
use uniprof_wire::record::{Class, Records};
use uniprof_wire::ring::Source;

#[path = "../../guest-probes/benches/machine/mod.rs"]
mod machine;

const FRAMES: usize = 16;
const DISTINCT_STACKS: usize = 10_000;
const DISTINCT_ADDRESSES: usize = 2_000;
const PER_SECOND: u64 = 1_000_000;
const RING_BYTES: u32 = 64 << 20;
const REGION_BYTES: usize = 160 << 20;

static DONE: AtomicBool = AtomicBool::new(false);

/// xorshift64: the same stacks in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}

/// One stack: `FRAMES` frames of frame pointer and return address, and a root.
type Stack = [[u64; 2]; FRAMES + 1];

/// Stacks as a program makes them: a call tree in which each function has one to three callees, of addresses of the kernel.
/// Returns them with where each was interrupted.
fn stacks(kernel: &Path) -> Result<(Vec<Stack>, Vec<u64>), Box<dyn Error>> {
    let image = uniprof_symbolizer::Image::parse(std::fs::read(kernel)?)?;
    let text = image.executable_ranges().into_iter().max_by_key(|r| r.end - r.start).ok_or("no text")?;
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let addresses: Vec<u64> = (0..DISTINCT_ADDRESSES)
        .map(|_| text.start + 16 + random.below((text.end - text.start - 32) as usize) as u64)
        .collect();
    // A call site is its caller and which of the caller's callees it is, so equal ways have equal addresses.
    let callee = |caller: usize, choice: usize| {
        addresses[(caller * 31 + choice * 17 + 7).wrapping_mul(0x9e37_79b1) % addresses.len()]
    };
    let mut stacks = vec![[[0u64; 2]; FRAMES + 1]; DISTINCT_STACKS];
    let mut interrupted = Vec::with_capacity(stacks.len());
    for stack in &mut stacks {
        let mut way = 1;
        for i in (0..FRAMES).rev() {
            let choice = if i % 2 == 0 { random.below(3) } else { 0 };
            stack[i] = [&raw const stack[i + 1] as u64, callee(way, choice)];
            way = (way * 3 + choice) % 1_000_003;
        }
        interrupted.push(callee(way, random.below(3)));
    }
    Ok((stacks, interrupted))
}

/// The probes of this process, in a file that the host side opens like an ivshmem device's.
fn guest_region(path: &Path, tsc_hz: u64) -> Result<(), Box<dyn Error>> {
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
    file.set_len(REGION_BYTES as u64)?;
    let (read_write, shared) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
    // SAFETY: a fresh mapping of a file of that size, never unmapped.
    let base =
        unsafe { libc::mmap(std::ptr::null_mut(), REGION_BYTES, read_write, shared, file.as_raw_fd(), 0) };
    if base == libc::MAP_FAILED {
        return Err(std::io::Error::last_os_error().into());
    }
    let memory = probe::Memory { base: base.cast(), bytes: REGION_BYTES, physical: 1 << 32 };
    let config = probe::Config {
        name: "pipeline",
        tsc_hz,
        ring_bytes: RING_BYTES,
        sample_hz: 1000,
        ..probe::Config::new(memory)
    };
    // SAFETY: the mapping above, which nothing else writes.
    match unsafe { probe::init(config) } {
        probe::Status::On => Ok(()),
        off => Err(off.to_string().into()),
    }
}

fn tsc() -> u64 {
    machine::ticks()
}

fn tsc_hz() -> u64 {
    let (start, begin) = (tsc(), Instant::now());
    std::thread::sleep(Duration::from_millis(200));
    ((tsc() - start) as f64 / begin.elapsed().as_secs_f64()) as u64
}

/// Samples at a steady rate; returns how many, counted here.
fn sample(stacks: &[Stack], interrupted: &[u64], tsc_hz: u64, seconds: u64) -> u64 {
    let total = seconds * PER_SECOND;
    let start = tsc();
    for n in 0..total {
        let due = start + (u128::from(n) * u128::from(tsc_hz) / u128::from(PER_SECOND)) as u64;
        while tsc() < due {
            std::hint::spin_loop();
        }
        let i = n as usize % stacks.len();
        let frame = stacks[i].as_ptr() as u64;
        // SAFETY: the stack is a live vector.
        unsafe { probe::tick(interrupted[i], frame, frame) };
    }
    DONE.store(true, Ordering::Release);
    total
}

/// Drains into the recording, as `uniprof record` does, on two threads with a channel between them.
fn record(region: &Path, recording: &Path) -> Result<(Ledger, u64), Box<dyn Error>> {
    let memory: Arc<dyn GuestMemory> = Arc::new(IvshmemFile::open(region)?);
    let found = find_region(&*memory, None)?.map_err(|search| format!("no region: {search:?}"))?;
    let (send, receive) = crossbeam_channel::bounded::<Message<'static>>(4096);
    let session = SessionInfo {
        guest: "pipeline".into(),
        kernel: "kernel.elf".into(),
        boot_id: found.header.boot_id,
        architecture: "x86_64".into(),
        tsc_hz: found.header.tsc_hz,
        vcpus: 1,
        ..SessionInfo::default()
    };
    std::thread::scope(|scope| {
        let writer = scope.spawn(move || -> Result<(Ledger, u64), String> {
            let mut file = RecordingFile::create(recording, &session).map_err(|e| e.to_string())?;
            let mut ledger = Ledger::new();
            for message in receive {
                ledger.feed(&message, |_, _| {});
                file.write(&message).map_err(|e| e.to_string())?;
            }
            Ok((ledger, file.finish().map_err(|e| e.to_string())?))
        });
        let mut drainer = Drainer::attach(memory, found, 0)?;
        let mut emit = |message: Message<'_>| {
            // The writer ends early only with an error, which it returns.
            let _ = send.send(message.into_owned());
        };
        drainer.begin(Begin::Boot, &mut emit)?;
        let mut pace = Pace::default();
        while !DONE.load(Ordering::Acquire) {
            let round = drainer.round(Source::Live, &mut emit);
            std::thread::sleep(pace.after(&round));
        }
        drainer.finish(Source::Dead, &mut emit)?;
        drop(send);
        Ok(writer.join().map_err(|_| "the writer panicked")??)
    })
}

/// Copying and decoding alone, on one core: a ring that is full, read again and again.
fn drain_and_decode(region: &Path) -> Result<(), Box<dyn Error>> {
    let memory: Arc<dyn GuestMemory> = Arc::new(IvshmemFile::open(region)?);
    let found = find_region(&*memory, None)?.map_err(|search| format!("no region: {search:?}"))?;
    let salt = found.header.salt();
    let (mut bytes, mut records) = (0u64, 0u64);
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(2) {
        let mut drainer = Drainer::attach(memory.clone(), found, 0)?;
        let round = drainer.round(Source::Dead, &mut |message| {
            if let Body::Block { start, words, .. } = &message.body {
                records +=
                    Records::new(words, *start, salt).filter(|found| found.record.is_ok()).count() as u64;
            }
        });
        bytes += round.bytes;
    }
    let seconds = begin.elapsed().as_secs_f64();
    println!(
        "drain + decode    {:.2} GB/s, {:.1} M records/s on one core",
        bytes as f64 / seconds / 1e9,
        records as f64 / seconds / 1e6
    );
    Ok(())
}

/// `uniprof flame` on the recording: time, and the most memory that it was seen with.
fn flame(recording: &Path, kernel: &Path, picture: &Path) -> Result<(), Box<dyn Error>> {
    let begin = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_uniprof"))
        .args(["flame", "--force", "-o"])
        .arg(picture)
        .arg("--kernel")
        .arg(kernel)
        .arg(recording)
        .stdout(Stdio::null())
        .spawn()?;
    // Not getrusage: what that tells of a child begins with the memory of the process that it was forked from.
    let mut peak_kb = 0;
    let status = loop {
        let proc = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = proc.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let now = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        peak_kb = now.unwrap_or(0u64).max(peak_kb);
        match child.try_wait()? {
            Some(status) => break status,
            None => std::thread::sleep(Duration::from_millis(2)),
        }
    };
    let seconds = begin.elapsed().as_secs_f64();
    println!("flame             {seconds:.2} s, {} MB at most, {status}", peak_kb / 1000);
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    // `cargo test --benches` and `cargo bench -- FILTER` pass words that mean nothing here.
    let seconds = std::env::var("PIPELINE_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(10);
    let dir = tempfile::Builder::new().prefix("uniprof-pipeline-").tempdir_in("/dev/shm")?;
    let path = |name: &str| dir.path().join(name);
    let kernel = path("kernel.elf");
    let made = Command::new(env!("CARGO_BIN_EXE_uniprof")).args(["kernel", "-o"]).arg(&kernel).output()?;
    if !made.status.success() {
        return Err(String::from_utf8_lossy(&made.stderr).into());
    }
    let (stacks, interrupted) = stacks(&kernel)?;
    let range = stacks.as_ptr_range();
    // The stacks outlive what probes.
    machine::set_stack(range.start as usize..range.end as usize);
    let hz = tsc_hz();
    guest_region(&path("region"), hz)?;

    let begin = Instant::now();
    let (ledger, bytes, sampled) = std::thread::scope(|scope| -> Result<_, Box<dyn Error>> {
        let guest = scope.spawn(|| sample(&stacks, &interrupted, hz, seconds));
        let (ledger, bytes) = record(&path("region"), &path("r.uniprof"))?;
        Ok((ledger, bytes, guest.join().map_err(|_| "the guest panicked")?))
    })?;
    let took = begin.elapsed().as_secs_f64();
    let tally = ledger.class(Class::Sample);
    println!(
        "record            {sampled} samples of {FRAMES} frames in {took:.2} s: {:.2} M/s, {:.0} MB/s to /dev/shm; \
         {} received, {} lost",
        sampled as f64 / took / 1e6,
        bytes as f64 / took / 1e6,
        tally.received,
        tally.lost()
    );
    drain_and_decode(&path("region"))?;
    flame(&path("r.uniprof"), &kernel, &path("flame.svg"))
}
