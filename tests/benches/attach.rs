//! What `uniprof attach` costs while a guest is busy, and how soon it answers a key.
//!
//!     cargo bench -p uniprof-tests --bench attach
//!     cargo bench -p uniprof-tests --bench attach -- --minutes 2 --rate 999
//!     cargo bench -p uniprof-tests --bench attach -- --events +calls,off-cpu
//!
//! Every look shows the overview's own rates, beside what the kernel counts for the process. The rate is for each vCPU; two of them that are
//! emulated come to about half of what is asked for.

use std::fs;
use std::io::{Read as _, Write as _};
use std::process::{ChildStdin, ChildStdout, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use uniprof_tests::process::{cpu_seconds, resident_mib};
use uniprof_tests::words::{number, word};
use uniprof_tests::{Running, Scene};

const MINUTES: u64 = 10;
const HZ: u64 = 1999;
const SIZE: (u16, u16) = (140, 40);
const LOOK: Duration = Duration::from_secs(30);
/// Between two keys.
const KEY: Duration = Duration::from_millis(500);
const LIMIT: Duration = Duration::from_secs(60);
/// What nothing but the help shows.
const HELP: &str = "this help";

/// The terminal's screen, as its output makes it.
struct Screen {
    parser: Mutex<vt100::Parser>,
    changed: Condvar,
}

impl Screen {
    /// Waits until `is_so`; how long that took.
    fn until(&self, what: &str, is_so: impl Fn(&str) -> bool) -> Duration {
        let began = Instant::now();
        let mut parser = self.parser.lock().expect("nobody panicked");
        loop {
            let text = parser.screen().contents();
            if is_so(&text) {
                return began.elapsed();
            }
            assert!(began.elapsed() < LIMIT, "{what}:\n{text}");
            (parser, _) = self.changed.wait_timeout(parser, LIMIT).expect("nobody panicked");
        }
    }

    fn text(&self) -> String {
        self.parser.lock().expect("nobody panicked").screen().contents()
    }

    fn follow(&self, mut output: ChildStdout) {
        let mut bytes = vec![0; 64 << 10];
        while let Ok(read @ 1..) = output.read(&mut bytes) {
            self.parser.lock().expect("nobody panicked").process(&bytes[..read]);
            self.changed.notify_all();
        }
    }
}

fn main() {
    let minutes = number("--minutes").unwrap_or(MINUTES);
    let scene = Scene::with_guest();
    let guest = guest(&scene);
    let (pid, mut keys, screen) = attach(&scene);
    let (began, cpu) = (Instant::now(), cpu_seconds(pid));
    let (mut looks, mut answers) = (1, Vec::new());
    while began.elapsed() < Duration::from_secs(minutes * 60) {
        thread::sleep(KEY);
        press(&mut keys, "?");
        answers.push(screen.until("the help", |text| text.contains(HELP)));
        press(&mut keys, "\x1b");
        screen.until("no help", |text| !text.contains(HELP));
        if began.elapsed() >= LOOK * looks {
            looks += 1;
            let share = (cpu_seconds(pid) - cpu) / began.elapsed().as_secs_f64() * 100.0;
            println!(
                "{:4.0} s  {share:.1} % of a core  {:.1} MB resident  {}",
                began.elapsed().as_secs_f64(),
                resident_mib(pid) * 1.048_576,
                rates(&screen.text())
            );
        }
    }
    answers.sort_unstable();
    let at = |share: usize| answers[(answers.len() - 1) * share / 100];
    println!(
        "{} keys: half answered within {:.1?}, 99 % within {:.1?}, all within {:.1?}",
        answers.len(),
        at(50),
        at(99),
        at(100)
    );
    press(&mut keys, "q");
    scene.run(&["stop", "cost"]).ok();
    guest.wait(LIMIT).ok();
}

fn guest(scene: &Scene) -> Running {
    let line = ["run", "bundled", "--name", "cost", "--vcpus", "2", "--ring", "4M", "--", "workload=kv"];
    let guest = scene.start(&line);
    let until = Instant::now() + LIMIT;
    while scene.run(&["ping", "cost"]).code != 0 {
        assert!(Instant::now() < until, "the guest does not come up: {}", guest.so_far());
        thread::sleep(Duration::from_millis(100));
    }
    guest
}

/// In a terminal that `script` makes; its process id, its keyboard and its screen.
fn attach(scene: &Scene) -> (u32, ChildStdin, Arc<Screen>) {
    let events = word("--events").map_or(String::new(), |events| format!("-e {events}"));
    let hz = number("--rate").unwrap_or(HZ);
    let (columns, rows) = SIZE;
    let line = format!(
        "stty cols {columns} rows {rows}; echo $$ > pid; exec '{}' attach cost -F {hz} {events}",
        uniprof_tests::uniprof().display()
    );
    let mut command = scene.program("script".as_ref(), &["-qfec", &line, "/dev/null"]);
    command.env("TERM", "xterm-256color").env("LC_ALL", "C.UTF-8");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("script starts");
    let parser = Mutex::new(vt100::Parser::new(rows, columns, 0));
    let screen = Arc::new(Screen { parser, changed: Condvar::new() });
    let (output, keys) = (child.stdout.take().expect("a pipe"), child.stdin.take().expect("a pipe"));
    let follower = Arc::clone(&screen);
    thread::spawn(move || {
        follower.follow(output);
        // It reports nothing that the screen has not said.
        let _ = child.wait();
    });
    screen.until("the overview", |text| text.contains("samples/s"));
    let pid = fs::read_to_string(scene.path("pid")).expect("the shell has written it");
    (pid.trim().parse().expect("a number"), keys, screen)
}

fn press(keys: &mut ChildStdin, key: &str) {
    keys.write_all(key.as_bytes()).expect("the terminal is open");
}

/// What the overview says of what comes.
fn rates(screen: &str) -> String {
    let line = |name: &str| screen.lines().find(|line| line.trim_start().starts_with(name));
    let word =
        |line: Option<&str>| line.and_then(|line| line.split_whitespace().nth(1)).unwrap_or("?").to_owned();
    let [samples, events] = ["samples/s", "events/s"].map(|name| word(line(name)));
    let lost =
        line("samples/s").and_then(|line| line.split_once(" lost ")).map_or("?", |(_, lost)| lost.trim());
    format!("{samples} samples/s  {events} events/s  lost {lost}")
}
