//! `uniprof attach` in a real terminal: keys go in, the screen is read.

use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use uniprof_tests::{Qmp, Scene, Terminal, kernels, uniprof};

use crate::by_hand::start;
use crate::guests::{start_line, start_words};

const LIMIT: Duration = Duration::from_secs(60);

fn attach(target: &str) -> String {
    format!("{} attach {target}", uniprof().display())
}

fn signal(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(pid.cast_signed()).expect("a pid"), signal).expect("a signal can be sent");
}

/// The screen's rows between the tabs and the status.
fn body(screen: &str) -> Vec<&str> {
    screen.lines().skip(2).take(19).collect()
}

#[test]
fn a_guest_is_seen_changed_paused_and_outlived() {
    let scene = Scene::with_guest();
    let guest = start_line(&scene, "web", &["--vcpus", "2", "--", "workload=kv"]);
    let terminal = Terminal::open(&scene, (80, 24), &[]);
    let before = terminal.state();
    terminal.run(&attach("web"));
    let first = terminal.until("samples of both vCPUs", |screen| {
        screen.contains(" LIVE ") && screen.contains("Functions ─") && !screen.contains("CPU          0.0%")
    });
    assert!(first.starts_with(" uniprof web  pid ") && first.contains("irq"), "{first}");

    // Sorted by another column; the rows are another way round.
    terminal.text("2");
    terminal.shows("self▼");
    terminal.text("o");
    let by_total = terminal.shows("total▼");
    assert!(body(&by_total)[2].contains('%'), "{by_total}");

    // What matches, and its share.
    terminal.text("/kv::");
    terminal.shows("/kv:: ");
    terminal.keys(&["Enter"]);
    terminal.until("a share of what matches", |screen| {
        body(screen)[0].contains("matched ") && !screen.contains("matched 0.0%")
    });

    // Into the function.
    terminal.keys(&["Enter"]);
    terminal.until("the function", |screen| screen.contains(" h hottest"));
    terminal.keys(&["Escape"]);
    terminal.shows("total▼");

    // Folded and unfolded.
    terminal.text("3");
    terminal.shows("▼ kv-");
    terminal.keys(&["g", "Left"]);
    terminal.until("a folded thread", |screen| body(screen)[2].contains("▶ kv-"));
    terminal.keys(&["Right"]);
    terminal.until("an unfolded thread", |screen| body(screen)[2].contains("▼ kv-"));

    // Paused: nothing moves. The figures of a running guest do.
    terminal.text(" ");
    terminal.until("a moment that stands", |screen| {
        sleep(Duration::from_secs(1));
        screen.contains(" PAUSED ") && body(screen) == body(&terminal.screen())
    });
    terminal.text("[");
    terminal.text(" ");
    terminal.shows(" LIVE ");

    // Changed: a class and the rate, as the guest then says.
    terminal.text("e");
    terminal.shows("What is recorded");
    terminal.text("off-cpu");
    terminal.shows("[ ] off-cpu");
    terminal.keys(&["Enter"]);
    terminal.shows("[x] off-cpu");
    terminal.keys(&["Escape"]);
    terminal.text("r");
    terminal.shows("samples per second and vCPU");
    terminal.text("499");
    terminal.keys(&["Enter"]);
    terminal.shows(" 499 Hz ");

    // Other sizes, too small ones too.
    terminal.resize(140, 40);
    terminal.shows(" 1 Overview   2 Functions ");
    terminal.resize(50, 10);
    terminal.shows("This terminal has 50x10 cells");
    terminal.resize(80, 24);
    terminal.shows("1Overview 2Functions");

    // It dies; what was seen stays.
    signal(scene.qemus()[0], Signal::KILL);
    let dead = terminal
        .until("a verdict", |screen| screen.contains("was killed by signal 9") && screen.contains(" ENDED "));
    assert!(dead.contains("▼ kv-"), "{dead}");
    terminal.text("q");
    terminal.until_prompt();
    assert_eq!(terminal.state(), before);
    guest.wait(LIMIT);
}

/// A moment that stands, and the last of a guest that has ended: of both the recording has what is seen.
#[test]
fn what_is_seen_is_saved() {
    let scene = Scene::with_guest();
    let guest = start_line(&scene, "web", &["--vcpus", "2", "--", "workload=kv"]);
    let terminal = Terminal::open(&scene, (80, 24), &[]);
    terminal.run(&attach("web"));
    terminal.until("samples of both vCPUs", |screen| {
        screen.contains(" LIVE ") && screen.contains("Functions ─") && !screen.contains("CPU          0.0%")
    });
    let save = |key: &str, name: &str| {
        terminal.text(&format!("s{key}"));
        terminal.shows("a name is found");
        terminal.text(name);
        terminal.keys(&["Enter"]);
        terminal.shows(&format!("wrote {name}"))
    };
    let samples = |name: &str| {
        let ended = scene.run(&["report", name]).ok();
        assert!(!ended.stderr.contains("damaged") && !ended.stderr.contains("missing"), "{}", ended.stderr);
        let report = scene.run(&["report", name, "--json"]).ok().json();
        (report["samples"].as_u64().expect("samples"), report["seconds"].as_f64().expect("a duration"))
    };
    terminal.text("tt");
    terminal.shows("last 10 s");
    terminal.text(" ");
    terminal.shows(" PAUSED ");
    // What comes meanwhile is not seen.
    save("r", "now.uniprof");
    sleep(Duration::from_secs(12));
    save("r", "later.uniprof");
    let (now, later) = (samples("now.uniprof"), samples("later.uniprof"));
    assert!(now.0 > 0 && later.0.abs_diff(now.0) <= now.0 / 4 + 20, "{now:?} {later:?}");
    save("t", "seen.txt");
    terminal.text("st");
    terminal.shows("a name is found");
    terminal.text("seen.txt");
    terminal.keys(&["Enter"]);
    terminal.shows("wrote seen-2.txt");
    terminal.text(" ");
    terminal.shows(" LIVE ");
    signal(scene.qemus()[0], Signal::KILL);
    terminal.shows(" ENDED ");
    sleep(Duration::from_secs(12));
    save("r", "end.uniprof");
    let end = samples("end.uniprof");
    assert!(end.0 > 0, "{end:?}");
    terminal.text("q");
    terminal.until_prompt();
    guest.wait(LIMIT);
}

/// What became of it stands on the screen, and goes when it goes on.
#[test]
fn a_guest_that_is_paused_or_wedged_is_said_to_be() {
    let scene = Scene::with_guest();
    let guest = start_words(&scene, "web", &["workload=kv"]);
    let terminal = Terminal::open(&scene, (80, 24), &[]);
    terminal.run(&attach("web"));
    terminal.shows(" LIVE ");
    let control = scene.path("../run/uniprof/web/qmp").canonicalize().expect("a control socket");
    Qmp::connect(&control).ask("stop", json!({}));
    terminal.shows("The VMM has paused the guest");
    Qmp::connect(&control).ask("cont", json!({}));
    terminal.until("it goes on", |screen| !screen.contains("has paused") && screen.contains(" LIVE "));
    terminal.text("q");
    terminal.until_prompt();
    scene.run(&["stop", "web"]).ok();
    guest.wait(LIMIT).ok();

    // One vCPU of two: the other goes on.
    let guest = start_line(&scene, "spin", &["--vcpus", "2", "--", "workload=crash-spin"]);
    terminal.run(&attach("spin"));
    let wedged = terminal.shows("The guest is wedged: ");
    assert!(wedged.contains("c core"), "{wedged}");
    terminal.text("q");
    terminal.until_prompt();
    scene.run(&["stop", "spin"]).ok();
    guest.wait(LIMIT).ok();
}

/// What it said last, and a core, which is then seen the same way.
#[test]
fn a_guest_that_crashed_and_its_core_are_seen_with_the_verdict() {
    let scene = Scene::with_guest();
    let guest = start(&scene, "crash-null", "called from", "");
    let terminal = Terminal::open(&scene, (120, 30), &[]);
    terminal.run(&attach("shop"));
    let crashed = terminal.shows("The guest has crashed: ");
    assert!(crashed.contains("page fault") && crashed.contains("c core"), "{crashed}");
    terminal.text("c");
    terminal.shows("keep it as a secret");
    terminal.keys(&["Enter"]);
    terminal.until("a core", |_| scene.files().iter().any(|name| name.ends_with(".core")));
    terminal.shows("wrote ");
    terminal.text("q");
    terminal.until_prompt();
    guest.signal(Signal::TERM);
    guest.wait(LIMIT);

    let core = scene.files().into_iter().find(|name| name.ends_with(".core")).expect("a core");
    terminal.run(&attach(&core));
    terminal.until("the core, with its verdict", |screen| {
        screen.contains(" CORE ")
            && screen.contains("The guest has crashed: a read of ")
            && screen.contains("threads")
    });
    // Threads, and the stack of one.
    terminal.text("5");
    terminal.shows("frontend");
    terminal.until("its stack", |screen| screen.contains("stack of ") && screen.contains("thread_entry"));
    for (key, shown) in [("2", "self"), ("3", "Tree"), ("6", "http.request"), ("9", "Source")] {
        terminal.text(key);
        terminal.shows(shown);
    }
    terminal.text("+");
    terminal.shows("it is a dump");
    terminal.text("q");
    terminal.until_prompt();
}

/// Lines of the kernel's own source with what was sampled in them. The kernel is built with paths that are on no machine, so they have to be mapped.
#[test]
fn source_lines_are_shown_with_their_hits_from_where_they_lie_here() {
    let scene = Scene::new();
    let terminal = Terminal::open(&scene, (140, 40), &[]);
    let open = |words: &str| {
        terminal.run(&attach(&format!("sample {words}")));
        terminal.until("the end", |screen| screen.contains("The recording's end"));
        terminal.text("2");
        terminal.text("/sched::run::make_runnable");
        terminal.keys(&["Enter"]);
        terminal.until("what matches", |screen| screen.contains("matched "));
        terminal.keys(&["Enter"]);
    };
    open("");
    terminal.shows("/uniprof/sample-kernel/src/sched/run.rs: this file is not here; --path-map FROM=TO");
    terminal.text("q");
    terminal.until_prompt();
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace").join("sample-kernel");
    let text = std::fs::read_to_string(sources.join("src/sched/run.rs")).expect("the source");
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    open(&format!("--path-map /uniprof/sample-kernel={}", sources.display()));
    // "  100%    58     let urgent = thread.urgent;": of that file, that line.
    terminal.until("a line with its share", |screen| {
        screen.lines().any(|row| {
            let Some((share, rest)) = row.trim().split_once('%') else { return false };
            let Some((number, shown)) = rest.trim().split_once(' ') else { return false };
            let line = number.parse::<usize>().ok().and_then(|number| lines.get(number.checked_sub(1)?));
            share.parse::<f64>().is_ok() && line.is_some_and(|line| !line.is_empty() && *line == shown.trim())
        })
    });
    terminal.text("q");
    terminal.until_prompt();
}

#[test]
fn a_guest_without_probes_says_what_works() {
    let scene = Scene::with_guest();
    std::fs::write(scene.path("bare.elf"), kernels::without_probes("nothing to see")).unwrap();
    let line = "-machine q35 -accel tcg -m 64M -nodefaults -no-user-config -display none -name bare -serial stdio -kernel bare.elf";
    let line: Vec<&str> = line.split_whitespace().collect();
    let guest = scene.start_command(&mut scene.program(Path::new("qemu-system-x86_64"), &line));
    let begun = Instant::now();
    while !guest.so_far().contains("nothing to see") {
        assert!(begun.elapsed() < LIMIT, "{}", guest.so_far());
        sleep(Duration::from_millis(50));
    }
    let pid = format!("pid:{}", guest.pid());
    let offers = ["no probes", "ping", "core", "dump", "doctor"]
        .map(|word| if word == "no probes" { word.to_owned() } else { format!("`uniprof {word} {pid}`") });
    let offers: Vec<&str> = offers.iter().map(String::as_str).collect();
    scene.run(&["top", &pid, "--once"]).failed_with(1).says(&offers);
    // They do.
    scene.run(&["ping", &pid]).ok();
    scene.run(&["dump", &pid, "-o", "bare.core"]).ok();
    guest.signal(Signal::TERM);
    guest.wait(LIMIT);
}

#[test]
fn a_signal_gives_the_terminal_back() {
    let scene = Scene::with_guest();
    let guest = start_words(&scene, "web", &["workload=kv"]);
    let terminal = Terminal::open(&scene, (80, 24), &[]);
    let before = terminal.state();
    for which in [Signal::TERM, Signal::HUP, Signal::INT] {
        terminal.run(&attach("web"));
        terminal.shows(" LIVE ");
        signal(terminal.child(), which);
        terminal.until_prompt();
        assert_eq!(terminal.state(), before, "{which:?}");
    }
    // Ctrl-Z, as any program; then Ctrl-C.
    terminal.run(&attach("web"));
    terminal.shows(" LIVE ");
    terminal.keys(&["C-z"]);
    terminal.until_prompt();
    assert_eq!(terminal.state(), before);
    terminal.run("fg");
    terminal.shows(" LIVE ");
    terminal.keys(&["C-c"]);
    terminal.until_prompt();
    assert_eq!(terminal.state(), before);
    scene.run(&["stop", "web"]).ok();
    guest.wait(LIMIT).ok();
}

#[test]
fn a_recording_is_replayed_with_a_bar_of_time() {
    let scene = Scene::new();
    let terminal = Terminal::open(&scene, (80, 24), &[]);
    terminal.run(&attach("sample"));
    terminal.shows(" REPLAY ");
    terminal.until("the end", |screen| screen.contains("The recording's end"));
    terminal.keys(&["{", "{", "{"]);
    terminal.until("an earlier moment", |screen| !screen.contains("The recording's end"));
    terminal.text("2");
    terminal.shows("self▼");
    terminal.text("L");
    terminal.shows("The recording's end");
    // What can't be is said with its reason.
    terminal.text("+");
    terminal.shows("it is a recording");
    terminal.text("q");
    terminal.until_prompt();
}

#[test]
fn who_closes_the_terminal_ends_it() {
    let scene = Scene::new();
    let terminal = Terminal::open(&scene, (80, 24), &[]);
    terminal.run(&attach("sample"));
    terminal.shows(" REPLAY ");
    let process = PathBuf::from(format!("/proc/{}", terminal.child()));
    terminal.close();
    let limit = Instant::now() + LIMIT;
    while process.exists() {
        assert!(Instant::now() < limit, "it goes on without a terminal");
        sleep(Duration::from_millis(100));
    }
}

#[test]
fn without_colours_and_unicode_there_is_none() {
    let scene = Scene::new();
    let terminal = Terminal::open(&scene, (80, 24), &[("NO_COLOR", "1"), ("LC_ALL", "C")]);
    terminal.run(&attach("sample"));
    terminal.shows(" REPLAY ");
    terminal.text("4");
    terminal.until("frames", |screen| screen.contains("|all") && screen.matches('|').count() > 5);
    let screen = terminal.coloured_screen();
    assert!(screen.is_ascii(), "{screen}");
    for sequence in screen.split('\x1b').skip(1) {
        let numbers = sequence.split('m').next().unwrap_or_default().trim_start_matches('[');
        let is_colour = |number: &str| {
            number.parse().is_ok_and(|number: u32| (30..=38).contains(&number) || (40..=48).contains(&number))
        };
        assert!(!numbers.split([';', ':']).any(is_colour), "{sequence:?} is a colour");
    }
    terminal.text("q");
    terminal.until_prompt();
}

#[test]
fn without_a_terminal_it_says_what_to_do() {
    let scene = Scene::new();
    scene.run(&["attach", "sample"]).failed_with(2).says(&["no terminal", "--once"]);
}

#[test]
fn a_panic_gives_the_terminal_back_and_can_be_read() {
    let scene = Scene::new();
    let terminal = Terminal::open(&scene, (80, 24), &[]);
    let before = terminal.state();
    let example = uniprof_tests::example("uniprof-tui", "made_up");
    terminal.run(&format!("{} panic", example.display()));
    terminal.shows(" LIVE ");
    let screen = terminal.until("the end", |screen| screen.contains("ended: Quit"));
    assert!(screen.contains("whoever watches has panicked"), "{screen}");
    terminal.until_prompt();
    assert_eq!(terminal.state(), before);
}
