//! How long it takes from a dump of 512 MiB to a report, against gdb and drgn: one crashed guest, one run, files dropped from the page
//! cache before each measurement.
//!
//!     cargo bench -p uniprof-tests --bench core
//!
//! drgn is measured where `UNIPROF_DRGN_PYTHON` names a Python that has it (`python3 -m venv DIR && DIR/bin/pip install drgn`). It
//! refuses QEMU's dumps of anything but Linux, so it reads the core that `uniprof core export` made of the dump.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{Advice, fadvise};
use uniprof_tests::{Scene, Stopped, uniprof};

const RUNS: usize = 7;
const DRGN: &str = "
import drgn, sys
prog = drgn.Program()
prog.set_core_dump(sys.argv[1])
kernel = prog.extra_module('kernel', create=True)
kernel.address_range = (int(sys.argv[3], 16), int(sys.argv[4], 16))
kernel.try_file(sys.argv[2], force=True)
for thread in prog.threads():
    print(thread.tid, thread.stack_trace())
";

fn main() {
    let scene = Scene::with_guest();
    let mut guest = Stopped::run(&scene, "crash-null", &["-smp", "2", "-m", "512M"]);
    guest.dump("elf.core", "elf", false);
    guest.dump("kdump.core", "kdump-zlib", false);
    guest.end();
    let kernel = ["--kernel", "kernel.elf"];
    scene.run(&[&["core", "export", "elf.core", "-o", "x.elf"], &kernel[..]].concat()).ok();
    std::fs::write(scene.path("stacks.py"), DRGN).expect("the script");
    println!("{:>9}  {:>9}  {:>9}  what (median, least and most of {RUNS} cold runs)", "ms", "least", "most");
    let ours = uniprof();
    let with = |program: &Path, words: &[&str]| {
        let mut command = scene.program(program, words);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    let report = measure(&scene, "uniprof core: the report, of QEMU's ELF", || {
        with(ours, &[&["core", "elf.core"], &kernel[..]].concat())
    });
    measure(&scene, "uniprof core --no-cache: the same, no symbol table kept", || {
        with(ours, &[&["core", "elf.core", "--no-cache"], &kernel[..]].concat())
    });
    measure(&scene, "uniprof core: the report, of kdump-zlib", || {
        with(ours, &[&["core", "kdump.core"], &kernel[..]].concat())
    });
    measure(&scene, "uniprof core stacks: every thread", || {
        with(ours, &[&["core", "stacks", "elf.core"], &kernel[..]].concat())
    });
    let gdb = Path::new("gdb");
    let bt = measure(&scene, "gdb bt, of QEMU's ELF: one vCPU", || {
        with(gdb, &["-nx", "-batch", "-ex", "bt", "kernel.elf", "elf.core"])
    });
    let all = measure(&scene, "gdb thread apply all bt, of the exported core", || {
        with(gdb, &["-nx", "-batch", "-ex", "thread apply all bt", "kernel.elf", "x.elf"])
    });
    println!(
        "gdb takes {:.1} times as long for one stack, {:.1} times for all",
        ratio(bt, report),
        ratio(all, report)
    );
    match std::env::var("UNIPROF_DRGN_PYTHON") {
        Ok(python) => {
            let (start, end) = span(&scene);
            let drgn = measure(&scene, "drgn: every thread's stack, of the exported core", || {
                with(Path::new(&python), &["stacks.py", "x.elf", "kernel.elf", &start, &end])
            });
            println!("drgn takes {:.1} times as long", ratio(drgn, report));
        }
        Err(_) => println!("drgn: not measured, UNIPROF_DRGN_PYTHON names no Python that has it"),
    }
}

fn ratio(other: Duration, ours: Duration) -> f64 {
    other.as_secs_f64() / ours.as_secs_f64()
}

/// The median of several runs, each with the files out of the page cache.
fn measure(scene: &Scene, what: &str, command: impl Fn() -> Command) -> Duration {
    let mut times: Vec<Duration> = (0..RUNS)
        .map(|_| {
            ["elf.core", "kdump.core", "x.elf", "kernel.elf"]
                .iter()
                .for_each(|file| forget(&scene.path(file)));
            forget(uniprof());
            let begun = Instant::now();
            let status = command().status().expect("it starts");
            assert!(status.success(), "{what}: {status}");
            begun.elapsed()
        })
        .collect();
    times.sort();
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    println!("{:9.1}  {:9.1}  {:9.1}  {what}", ms(times[RUNS / 2]), ms(times[0]), ms(times[RUNS - 1]));
    times[RUNS / 2]
}

/// Drops a file from the page cache, where the file system lets that be done.
fn forget(path: &Path) {
    let file = File::open(path).expect("the file");
    // What is not on disk yet stays.
    file.sync_all().expect("a disk");
    fadvise(&file, 0, None, Advice::DontNeed).expect("advice");
}

/// The kernel's first and last address.
fn span(scene: &Scene) -> (String, String) {
    let output =
        Command::new("readelf").args(["-lW"]).arg(scene.path("kernel.elf")).output().expect("readelf");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let number = |word: &str| u64::from_str_radix(word.trim_start_matches("0x"), 16).expect("a number");
    let loads = text.lines().filter(|line| line.trim_start().starts_with("LOAD"));
    let ranges: Vec<(u64, u64)> = loads
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .map(|words| (number(words[2]), number(words[2]) + number(words[5])))
        .collect();
    let start = ranges.iter().map(|range| range.0).min().unwrap_or(0);
    let end = ranges.iter().map(|range| range.1).max().unwrap_or(0);
    (format!("{start:x}"), format!("{end:x}"))
}
