//! Guests that stand still, for dumps: driven over QMP.

use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::program::Running;
use crate::scene::Scene;

/// How long a workload may take to come to its end.
const LIMIT: Duration = Duration::from_secs(60);
/// How long a workload works that does not end by itself.
const SETTLED: Duration = Duration::from_secs(1);
/// What a workload prints that never ends, once nothing changes any more.
const READY: &str = ": ready";

/// QMP, the wire that QEMU is controlled by.
#[derive(Debug)]
pub struct Qmp {
    socket: UnixStream,
    lines: Lines<BufReader<UnixStream>>,
}

impl Qmp {
    /// Connects to a QEMU.
    #[must_use]
    pub fn connect(path: &Path) -> Self {
        let socket = UnixStream::connect(path).expect("QMP answers");
        let mut qmp = Self { lines: BufReader::new(socket.try_clone().expect("a socket")).lines(), socket };
        qmp.ask("qmp_capabilities", json!({}));
        qmp
    }

    /// Gives the command that ends QEMU, and waits until it hangs up.
    pub fn end_with(mut self, command: &str, arguments: Value) {
        self.tell(command, arguments);
        while self.lines.next().is_some_and(|line| line.is_ok()) {}
    }

    fn tell(&mut self, command: &str, arguments: Value) {
        writeln!(self.socket, "{}", json!({"execute": command, "arguments": arguments}))
            .expect("QMP listens");
    }

    /// What a command returns.
    pub fn ask(&mut self, command: &str, arguments: Value) -> Value {
        self.tell(command, arguments);
        loop {
            let line = self.lines.next().expect("QMP answers").expect("QMP answers");
            let mut answer: Value = serde_json::from_str(&line).expect("QMP speaks JSON");
            assert!(answer.get("error").is_none(), "{command}: {answer}");
            if let Some(answer) = answer.get_mut("return") {
                return answer.take();
            }
        }
    }
}

/// A guest of the bundled kernel that has been stopped: by its own panic, or because nothing changes any more.
#[derive(Debug)]
pub struct Stopped<'a> {
    scene: &'a Scene,
    guest: Option<Running>,
    /// Its QEMU.
    pub qmp: Qmp,
}

impl<'a> Stopped<'a> {
    /// Runs a workload of the bundled kernel, which is left as `kernel.elf`, until it is there. A workload that neither panics nor
    /// says that it is ready is stopped after a second. `words` are options of QEMU.
    #[must_use]
    pub fn run(scene: &'a Scene, workload: &str, words: &[&str]) -> Self {
        scene.run(&["kernel", "-o", "kernel.elf"]).ok();
        let awaited = if workload.starts_with("crash-") { READY } else { "region" };
        let line = format!("workload={workload} uniprof.placement=ram");
        Self::start(scene, "kernel.elf", &[&["-append", &line], words].concat(), awaited)
    }

    /// Runs a kernel that has no probes, until it has said `awaited`.
    #[must_use]
    pub fn kernel(scene: &'a Scene, file: &str, awaited: &str) -> Self {
        Self::start(scene, file, &[], awaited)
    }

    /// QEMU without `uniprof`, so that nobody but the test does anything about a crash.
    fn start(scene: &'a Scene, kernel: &str, words: &[&str], awaited: &str) -> Self {
        let line = "-machine q35 -accel tcg,thread=multi -cpu max -m 128M -nodefaults -no-user-config -no-reboot -display none \
                    -serial stdio -device isa-debug-exit,iobase=0x501,iosize=4 -device pvpanic -action panic=pause,shutdown=pause \
                    -qmp unix:qmp,server=on,wait=off -kernel";
        let line: Vec<&str> = line.split_whitespace().chain([kernel]).chain(words.iter().copied()).collect();
        let guest = scene.start_command(&mut scene.program(Path::new("qemu-system-x86_64"), &line));
        let path = scene.path("qmp");
        let begun = Instant::now();
        while UnixStream::connect(&path).is_err() {
            assert!(begun.elapsed() < LIMIT, "{words:?}: QEMU does not start: {}", guest.so_far());
            sleep(Duration::from_millis(50));
        }
        let mut stopped = Self { scene, guest: Some(guest), qmp: Qmp::connect(&path) };
        stopped.wait(awaited);
        stopped.qmp.ask("stop", json!({}));
        stopped
    }

    fn wait(&mut self, awaited: &str) {
        let begun = Instant::now();
        loop {
            let state = self.qmp.ask("query-status", json!({}));
            let said = self.guest.as_ref().map(Running::so_far).unwrap_or_default();
            // What a workload came to is printed by it; others shall have worked for a while.
            let is_there = said.contains(awaited) && (awaited == READY || begun.elapsed() > SETTLED);
            if is_there || ["guest-panicked", "shutdown"].iter().any(|end| state["status"] == *end) {
                return;
            }
            assert!(begun.elapsed() < LIMIT, "{state}, and it said {said}");
            sleep(Duration::from_millis(50));
        }
    }

    /// Has QEMU write a dump: `elf`, `kdump-zlib`, `kdump-lzo` or `kdump-snappy`.
    pub fn dump(&mut self, file: &str, format: &str, paging: bool) {
        let path = format!("file:{}", self.scene.path(file).display());
        let mut arguments = json!({"paging": paging, "protocol": path});
        if format != "elf" {
            arguments["format"] = format.into();
        }
        self.qmp.ask("dump-guest-memory", arguments);
    }

    /// Ends it.
    pub fn end(mut self) {
        // Its answer may come, or the end of the connection.
        let _ = writeln!(self.qmp.socket, "{}", json!({"execute": "quit"}));
        if let Some(guest) = self.guest.take() {
            guest.wait(Duration::from_secs(20));
        }
    }
}
