//! From a merged profile of 200,000 distinct stacks to a picture, against the same as folded text through inferno. Every
//! variant runs in a process of its own, several times, in turns. Time and heap are those of the picture alone; the resident
//! peak is that of the process, with the profile or the text that was there before.
//!
//! `cargo bench -p uniprof-flamegraph --bench against_inferno`

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::BTreeMap;
use std::env;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use uniprof_flamegraph::{
    Amount, Frame, HtmlOptions, Measure, Owner, Profile, ProfileBuilder, SvgOptions, Title, folded, html, svg,
};

const STACKS: usize = 200_000;
const DEPTH: u64 = 16;
const TURNS: usize = 7;
const VARIANTS: [&str; 3] = ["inferno", "svg", "html"];

/// Counts the heap while it is told to, in runs whose time is not taken.
struct Counting;

static COUNTS: AtomicBool = AtomicBool::new(false);
static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

impl Counting {
    fn grow(bytes: usize) {
        if COUNTS.load(Relaxed) {
            PEAK.fetch_max(NOW.fetch_add(bytes, Relaxed) + bytes, Relaxed);
        }
    }

    fn shrink(bytes: usize) {
        if COUNTS.load(Relaxed) {
            NOW.fetch_sub(bytes, Relaxed);
        }
    }
}

// SAFETY: everything is the system's; the numbers beside it touch no memory that is handed out.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::grow(layout.size());
        // SAFETY: the caller keeps the same promise to us.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Self::grow(layout.size());
        // SAFETY: the caller keeps the same promise to us.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if size > layout.size() {
            Self::grow(size - layout.size());
        } else {
            Self::shrink(layout.size() - size);
        }
        // SAFETY: the caller keeps the same promise to us.
        unsafe { System.realloc(place, layout, size) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        Self::shrink(layout.size());
        // SAFETY: the caller keeps the same promise to us.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static HEAP: Counting = Counting;

/// What is in use before counting starts, so that freeing it cannot lead below zero.
const BEFORE: usize = 1 << 40;

fn main() {
    let args: Vec<String> = env::args().collect();
    match args.iter().position(|arg| arg == "--variant") {
        Some(at) => run_variant(&args[at + 1], &args[at + 2], Path::new(&args[at + 3])),
        None => compare(),
    }
}

/// The same stacks in every process.
fn profile() -> Profile {
    let mut builder = ProfileBuilder::new();
    let frames: Vec<_> = (0..2_000)
        .map(|n| builder.frame(Frame::function(&format!("module_{}::function_{n}", n % 40))))
        .collect();
    let mut state = 1u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state >> 33
    };
    for _ in 0..STACKS {
        let stack: Vec<_> = (0..DEPTH)
            .map(|depth| frames[(depth * 100 + random() % (1 + depth).pow(2).min(100)) as usize])
            .collect();
        let samples = 1 + random() % 4;
        builder.add(stack, Owner { thread: 1, vcpu: 0 }, Amount { samples, weight: samples * 1_000_000 });
    }
    builder.finish()
}

/// Prints the microseconds, or else the heap's and the resident peak in kilobytes.
fn run_variant(name: &str, what: &str, text: &Path) {
    let source = (name != "inferno").then(profile);
    let mut out = BufWriter::new(File::create("/dev/null").expect("the null device"));
    // Linux takes the peak of resident memory anew from here.
    fs::write("/proc/self/clear_refs", "5").expect("Linux 4.0 or later");
    NOW.store(BEFORE, Relaxed);
    COUNTS.store(what == "memory", Relaxed);
    let start = Instant::now();
    draw(name, source.as_ref(), text, &mut out);
    let time = start.elapsed();
    COUNTS.store(false, Relaxed);
    match what {
        "memory" => println!("{} {}", PEAK.load(Relaxed).saturating_sub(BEFORE) / 1024, resident_peak()),
        _ => println!("{}", time.as_micros()),
    }
}

fn draw(name: &str, source: Option<&Profile>, text: &Path, out: &mut impl Write) {
    match (name, source) {
        ("svg", Some(profile)) => {
            svg(profile, &Title::default(), &SvgOptions::default(), &mut *out).expect("it draws");
        }
        ("html", Some(profile)) => {
            html(profile, &Title::default(), &HtmlOptions::default(), &mut *out).expect("it writes");
        }
        _ => {
            let mut options = inferno::flamegraph::Options::default();
            inferno::flamegraph::from_files(&mut options, &[text.to_owned()], &mut *out).expect("it draws");
        }
    }
    out.flush().expect("the null device takes all");
}

fn resident_peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmHWM")).expect("a peak");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
}

fn compare() {
    let text = env::temp_dir().join(format!("uniprof-against-inferno-{}.folded", std::process::id()));
    let mut file = BufWriter::new(File::create(&text).expect("a temporary file"));
    folded(&profile(), Measure::Samples, &mut file).expect("it writes");
    file.into_inner().expect("it writes");
    let lines = fs::read_to_string(&text).expect("it reads").lines().count();
    println!("{lines} folded lines; time is minimum, median and maximum of {TURNS} turns");
    let mut times: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for variant in (0..TURNS).flat_map(|_| VARIANTS) {
        times.entry(variant).or_default().extend(numbers(variant, "time", &text));
    }
    let memory = VARIANTS.map(|variant| numbers(variant, "memory", &text));
    let _ = fs::remove_file(&text);
    for times in times.values_mut() {
        times.sort_unstable();
    }
    let memory_of_inferno = memory[0][0];
    let ms = |variant: &str, turn: usize| times[variant][turn] as f64 / 1e3;
    let middle = TURNS / 2;
    for (variant, memory) in VARIANTS.iter().zip(&memory) {
        println!(
            "{variant:8} {:6.1} {:6.1} {:6.1} ms, {:4.1} x faster; heap {:5.1} MB, {:.2} of inferno's; resident {:5.1} MB",
            ms(variant, 0),
            ms(variant, middle),
            ms(variant, TURNS - 1),
            ms("inferno", middle) / ms(variant, middle),
            memory[0] as f64 / 1024.0,
            memory[0] as f64 / memory_of_inferno as f64,
            memory[1] as f64 / 1024.0,
        );
    }
}

/// Runs one variant in a process of its own.
fn numbers(variant: &str, what: &str, text: &Path) -> Vec<u64> {
    let output = Command::new(env::current_exe().expect("this program"))
        .args(["--variant", variant, what])
        .arg(text)
        .output()
        .expect("it starts");
    assert!(output.status.success(), "{variant}: {}", String::from_utf8_lossy(&output.stderr));
    let numbers = String::from_utf8_lossy(&output.stdout).into_owned();
    numbers.split_whitespace().map(|number| number.parse().expect("a number")).collect()
}
