//! Those who play: the table, lookups without it, two libraries and two programs.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use addr2line::gimli::{Dwarf, EndianSlice, LittleEndian, SectionId};
use blazesym::symbolize::source::{Elf, Source};
use blazesym::symbolize::{Input, Symbolized};
use uniprof_symbolizer::{AddressKind, Image, LoadBias, Symbolizer, Table, demangle, load};
use uniprof_wire::address::{GuestVirtual, LinkAddress};

use crate::answers::{Answers, Frame};

pub const PLAYERS: [&str; 8] = [
    "build-1-thread",
    "build-2-threads",
    "table",
    "without-table",
    "addr2line-crate",
    "blazesym",
    "llvm-symbolizer",
    "gnu-addr2line",
];

/// The clock, and the processor's time of this process, its threads and its children that have ended.
struct Watch {
    start: Instant,
    used: Duration,
}

impl Watch {
    fn start() -> Self {
        Self { start: Instant::now(), used: processor() }
    }

    fn stop(&self) -> (Duration, Duration) {
        (self.start.elapsed(), processor() - self.used)
    }
}

/// The kernel counts it in ticks of 10 ms.
fn processor() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let rest = stat.rsplit(") ").next().unwrap_or_default();
    let ticks: u64 = rest.split(' ').skip(11).take(4).filter_map(|word| word.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

/// How long all addresses take where nothing else runs: of 30 rounds through all of them, each piece counts as it went best.
/// Between two turns of a piece are all the others, so that it finds the processor's caches as they leave them; and a piece is
/// so short that many of its turns are not interrupted.
fn undisturbed(addresses: &[u64], mut work: impl FnMut(&[u64])) -> Duration {
    let mut best = vec![Duration::MAX; addresses.len().div_ceil(PIECE)];
    for _ in 0..30 {
        for (piece, best) in addresses.chunks(PIECE).zip(&mut best) {
            let start = Instant::now();
            work(piece);
            *best = (*best).min(start.elapsed());
        }
    }
    best.iter().sum()
}

const PIECE: usize = 250;

/// The processor's time of each thread of this process while something is done, the busiest first. Threads that end are asked
/// every millisecond, so they lose less than that.
fn of_threads<T>(work: impl FnOnce() -> T) -> (T, Vec<Duration>) {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let observer = scope.spawn(|| {
            let own = std::fs::read_link("/proc/thread-self").expect("Linux");
            let mut times: BTreeMap<std::ffi::OsString, (u64, u64)> = BTreeMap::new();
            loop {
                let last = done.load(Ordering::Relaxed);
                for thread in std::fs::read_dir("/proc/self/task").expect("Linux").flatten() {
                    let stat = std::fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
                    let ran = stat.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0);
                    times.entry(thread.file_name()).or_insert((ran, 0)).1 = ran;
                }
                if last {
                    times.remove(own.file_name().expect("a thread"));
                    let mut times: Vec<u64> = times.values().map(|(first, last)| last - first).collect();
                    times.sort_unstable_by_key(|time| std::cmp::Reverse(*time));
                    return times.into_iter().map(Duration::from_nanos).collect();
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let result = work();
        done.store(true, Ordering::Relaxed);
        (result, observer.join().expect("no panic"))
    })
}

fn peak() -> String {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0 kB");
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().unwrap_or(0);
    format!("{} MB", kilobytes / 1000)
}

fn say(player: &str, what: &str, (clock, used): (Duration, Duration), each: usize) {
    let each = u32::try_from(each).expect("few");
    // Less than a few ticks says nothing.
    let used =
        if used >= Duration::from_millis(50) { format!("({:.1?})", used / each) } else { String::new() };
    println!("{player:16} {what:28} {:>12.1?} {used:12} peak {}", clock / each, peak());
}

/// Addresses all over the code, in an order that no cache likes.
fn addresses(image: &Image, count: usize) -> Vec<u64> {
    let ranges = image.executable_ranges();
    let text = ranges.iter().max_by_key(|range| range.end - range.start).expect("code");
    let step = ((text.end - text.start) / count as u64).max(1);
    let mut all: Vec<u64> = (0..count as u64).map(|number| text.start + number * step).collect();
    let mut state = 12345u64;
    for index in (1..all.len()).rev() {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        all.swap(index, (state >> 33) as usize % (index + 1));
    }
    all
}

pub fn play(player: &str, path: &Path, count: usize, out: &Path) {
    if let Some(threads) =
        [("build-1-thread", 1), ("build-2-threads", 2)].iter().find(|known| known.0 == player)
    {
        let watch = Watch::start();
        let (table, times) = of_threads(|| {
            let image = load(path).expect("an image");
            Table::build(&image, NonZeroUsize::new(threads.1).expect("some")).expect("a table")
        });
        say(player, "load and build", watch.stop(), 1);
        println!("{player:16} {:28} {times:.0?}", "processor's time by thread");
        if threads.1 == 1 {
            std::fs::write(out.with_file_name("file"), table.as_bytes().concat()).expect("written");
        }
        return;
    }
    let addresses = addresses(&load(path).expect("an image"), count);
    let answers = match player {
        "table" => table(player, &out.with_file_name("file"), &addresses),
        "without-table" => without_table(player, path, &addresses),
        "addr2line-crate" => addr2line_crate(player, path, &addresses),
        "blazesym" => by_blazesym(player, path, &addresses),
        "llvm-symbolizer" => {
            let flags = ["--no-demangle", "--output-style=GNU", "--inlining", "-f", "-a", "-e"];
            program(player, &flags, path, &addresses)
        }
        _ => program("addr2line", &["-f", "-i", "-a", "-e"], path, &addresses),
    };
    answers.write(out);
}

fn table(player: &str, file: &Path, addresses: &[u64]) -> Answers {
    let watch = Watch::start();
    let table = Table::open(std::fs::read(file).expect("a file")).expect("a table");
    std::hint::black_box(table.frames(LinkAddress(addresses[0])).count());
    say(player, "open to first answer", watch.stop(), 1);
    let walk = |addresses: &[u64]| {
        let frames = addresses.iter().flat_map(|address| table.frames(LinkAddress(*address)));
        frames.map(|frame| frame.function.len() + frame.file.map_or(0, str::len)).sum::<usize>()
    };
    let mut sorted = addresses.to_vec();
    sorted.sort_unstable();
    for (what, addresses) in [
        ("warm, any order", addresses),
        ("warm, in order", &sorted),
        ("warm, 1000 hot ones", &addresses[..addresses.len().min(1000)]),
    ] {
        let best = undisturbed(addresses, |piece| {
            std::hint::black_box(walk(piece));
        });
        say(player, what, (best, Duration::ZERO), addresses.len());
    }
    let frames = |address: &u64| {
        let frames = table.frames(LinkAddress(*address));
        let frame = |frame: uniprof_symbolizer::FrameRef<'_>| Frame {
            function: frame.function.into(),
            file: frame.file.unwrap_or_default().into(),
            line: frame.line.unwrap_or(0),
        };
        (*address, frames.map(frame).collect())
    };
    Answers(addresses.iter().map(frames).collect())
}

fn without_table(player: &str, path: &Path, addresses: &[u64]) -> Answers {
    let watch = Watch::start();
    let image = Arc::new(load(path).expect("an image"));
    let mut symbolizer = Symbolizer::new(image, LoadBias::NONE);
    symbolizer.resolve(GuestVirtual(addresses[0]), AddressKind::Instruction);
    say(player, "load to first answer", watch.stop(), 1);
    let asked: Vec<_> =
        addresses.iter().map(|address| (GuestVirtual(*address), AddressKind::Instruction)).collect();
    let watch = Watch::start();
    let found = symbolizer.resolve_many(&asked);
    say(player, "each, the first time", watch.stop(), asked.len());
    let frames = |resolution: &uniprof_symbolizer::Resolution| {
        let frame = |frame: &uniprof_symbolizer::Frame| Frame {
            function: frame.function.to_string(),
            file: frame.file.as_deref().unwrap_or_default().into(),
            line: frame.line.unwrap_or(0),
        };
        resolution.frames().iter().map(frame).collect()
    };
    Answers(
        addresses.iter().zip(&found).map(|(address, resolution)| (*address, frames(resolution))).collect(),
    )
}

fn addr2line_crate(player: &str, path: &Path, addresses: &[u64]) -> Answers {
    let watch = Watch::start();
    let image = load(path).expect("an image");
    let section = |id: SectionId| -> Result<Vec<u8>, uniprof_symbolizer::ImageError> {
        Ok(image.section(id.name())?.map_or_else(Vec::new, |section| section.to_vec()))
    };
    let sections = addr2line::gimli::DwarfSections::load(section).expect("readable");
    let dwarf: Dwarf<EndianSlice<'_, LittleEndian>> =
        sections.borrow(|bytes| EndianSlice::new(bytes, LittleEndian));
    let context = addr2line::Context::from_dwarf(dwarf).expect("sound");
    let frames = |address: u64| {
        let mut found = context.find_frames(address).skip_all_loads().expect("sound");
        let mut frames = Vec::new();
        while let Some(frame) = found.next().expect("sound") {
            let name = frame.function.as_ref().and_then(|name| name.raw_name().ok());
            let place = frame.location;
            frames.push(Frame {
                function: name.map_or_else(|| "?".into(), |name| demangle(&name)),
                file: place.as_ref().and_then(|place| place.file).unwrap_or_default().into(),
                line: place.and_then(|place| place.line).unwrap_or(0),
            });
        }
        frames
    };
    std::hint::black_box(frames(addresses[0]));
    say(player, "load to first answer", watch.stop(), 1);
    let watch = Watch::start();
    let answers: BTreeMap<u64, Vec<Frame>> =
        addresses.iter().map(|address| (*address, frames(*address))).collect();
    say(player, "each, the first time", watch.stop(), addresses.len());
    let best = undisturbed(addresses, |piece| {
        piece.iter().for_each(|address| {
            let mut found = context.find_frames(*address).skip_all_loads().expect("sound");
            while let Some(frame) = found.next().expect("sound") {
                std::hint::black_box(frame.function.is_some());
            }
        });
    });
    say(player, "warm, any order, no names", (best, Duration::ZERO), addresses.len());
    Answers(answers)
}

fn by_blazesym(player: &str, path: &Path, addresses: &[u64]) -> Answers {
    let watch = Watch::start();
    let source = Source::Elf(Elf::new(path));
    let symbolizer = blazesym::symbolize::Symbolizer::builder().enable_demangling(false).build();
    let _ = std::hint::black_box(symbolizer.symbolize(&source, Input::VirtOffset(&addresses[..1])));
    say(player, "load to first answer", watch.stop(), 1);
    for what in ["each, the first time", "warm, any order"] {
        let watch = Watch::start();
        let _ = std::hint::black_box(symbolizer.symbolize(&source, Input::VirtOffset(addresses)));
        say(player, what, watch.stop(), addresses.len());
    }
    let found = symbolizer.symbolize(&source, Input::VirtOffset(addresses)).expect("answers");
    let frame = |name: &str, place: Option<&blazesym::symbolize::CodeInfo<'_>>| Frame {
        function: demangle(name),
        file: place.map(|place| place.to_path().display().to_string()).unwrap_or_default(),
        line: place.and_then(|place| place.line).unwrap_or(0),
    };
    let frames = |symbolized: &Symbolized<'_>| match symbolized {
        Symbolized::Sym(symbol) => {
            let inlined =
                symbol.inlined.iter().rev().map(|inner| frame(&inner.name, inner.code_info.as_ref()));
            inlined.chain([frame(&symbol.name, symbol.code_info.as_deref())]).collect()
        }
        Symbolized::Unknown(_) => Vec::new(),
    };
    Answers(addresses.iter().zip(&found).map(|(address, found)| (*address, frames(found))).collect())
}

/// A program that prints like GNU addr2line.
fn program(name: &str, flags: &[&str], path: &Path, addresses: &[u64]) -> Answers {
    let ask = |addresses: &[u64]| {
        let watch = Watch::start();
        let mut command = Command::new(name);
        let mut child = command
            .args(flags)
            .arg(path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("installed");
        let mut input = child.stdin.take().expect("piped");
        let asked: String = addresses.iter().map(|address| format!("{address:#x}\n")).collect();
        let writer = std::thread::spawn(move || input.write_all(asked.as_bytes()));
        let output: Vec<String> =
            BufReader::new(child.stdout.take().expect("piped")).lines().map_while(Result::ok).collect();
        child.wait().expect("it ends");
        writer.join().expect("no panic").expect("it reads");
        (output, watch.stop())
    };
    let (_, first) = ask(&addresses[..1]);
    say(name, "start to first answer", first, 1);
    // GNU's takes a millisecond for each; a part of them says enough.
    let some = &addresses[..addresses.len().min(if name == "addr2line" { 20_000 } else { usize::MAX })];
    let (output, all) = ask(some);
    say(name, "each", all, some.len());
    Answers(parse(&output))
}

fn parse(output: &[String]) -> BTreeMap<u64, Vec<Frame>> {
    let mut answers = BTreeMap::new();
    let mut lines = output.iter().filter(|line| !line.is_empty()).peekable();
    while let Some(line) = lines.next() {
        let Some(address) = line.strip_prefix("0x").and_then(|text| u64::from_str_radix(text, 16).ok())
        else {
            continue;
        };
        let mut frames = Vec::new();
        while let Some(function) = lines.next_if(|line| !line.starts_with("0x")) {
            let place = lines.next().map_or("", String::as_str).split(" (disc").next().unwrap_or_default();
            let (file, line) = place.rsplit_once(':').unwrap_or((place, "0"));
            if function.starts_with("??") && file.starts_with("??") {
                continue;
            }
            frames.push(Frame {
                function: demangle(function),
                file: file.into(),
                line: line.parse().unwrap_or(0),
            });
        }
        answers.insert(address, frames);
    }
    answers
}
