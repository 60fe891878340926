//! One run of the binary, under a time limit.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// A program under way, with its output going to files: a pipe that nobody empties would stop it.
#[derive(Debug)]
pub struct Running {
    child: Child,
    what: String,
    stdout: File,
    stderr: File,
}

/// What it left behind.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code; 128 and more: the signal that ended it.
    pub code: i32,
    /// What it printed.
    pub stdout: String,
    /// What it said besides.
    pub stderr: String,
}

impl Running {
    pub(crate) fn start(command: &mut Command, input: Stdio, dir: &Path) -> Self {
        let what = format!("{command:?}");
        let log = |kind: &str| {
            let file = tempfile::Builder::new().prefix(kind).tempfile_in(dir).expect("a log file");
            let (writer, path) = file.into_parts();
            let reader = File::open(&path).expect("the log file opens again");
            (writer, reader)
        };
        let (out, stdout) = log("stdout");
        let (err, stderr) = log("stderr");
        let child = command
            .stdin(input)
            .stdout(out)
            .stderr(err)
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        Self { child, what, stdout, stderr }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(pid(&self.child), signal).unwrap_or_else(|error| panic!("{}: {error}", self.what));
    }

    /// What it has printed and said so far.
    #[must_use]
    pub fn so_far(&self) -> String {
        let whole = |file: &File| {
            let mut bytes = vec![0; file.metadata().map_or(0, |meta| meta.len()) as usize];
            let read = file.read_at(&mut bytes, 0).unwrap_or(0);
            String::from_utf8_lossy(&bytes[..read]).into_owned()
        };
        whole(&self.stdout) + &whole(&self.stderr)
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a child can be waited for").is_some()
    }

    /// Waits for its end. After `limit` it is killed, with all it started, and the test fails.
    pub fn wait(mut self, limit: Duration) -> Ended {
        let until = Instant::now() + limit;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                break status;
            }
            if Instant::now() > until {
                // Its own process group: whatever it started dies with it.
                let _ = kill_process_group(pid(&self.child), Signal::KILL);
                let _ = self.child.wait();
                let [out, err] = [text(&mut self.stdout), text(&mut self.stderr)];
                panic!("{} runs longer than {limit:?}\nstdout: {out}\nstderr: {err}", self.what);
            }
            thread::sleep(Duration::from_millis(10));
        };
        let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
        let ended = Ended { code, stdout: text(&mut self.stdout), stderr: text(&mut self.stderr) };
        assert!(
            !ended.stderr.contains("panicked at") && code != 101,
            "{} panicked\nstderr: {}",
            self.what,
            ended.stderr
        );
        ended
    }
}

/// A test that fails half-way leaves nothing running.
impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = kill_process_group(pid(&self.child), Signal::KILL);
            let _ = self.child.wait();
        }
    }
}

impl Ended {
    /// Requires success, and shows what was said where there was none.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.failed_with(0)
    }

    /// Requires this exit code.
    #[track_caller]
    pub fn failed_with(self, code: i32) -> Self {
        assert_eq!(self.code, code, "exit code\nstdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }

    /// Requires that `uniprof` ends with a sentence on stderr that contains all of `words`. Lines below it are the guest's.
    #[track_caller]
    pub fn says(self, words: &[&str]) -> Self {
        let mut lines = self.stderr.lines().rev();
        let sentence = lines.find(|line| line.starts_with("uniprof: "));
        let sentence = sentence.unwrap_or_else(|| panic!("no sentence of uniprof: {}", self.stderr));
        for word in words {
            assert!(sentence.contains(word), "`{word}` is missing in: {sentence}");
        }
        self
    }

    /// Its output as JSON.
    #[track_caller]
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}\n{}", self.stdout))
    }
}

fn pid(child: &Child) -> Pid {
    Pid::from_child(child)
}

fn text(file: &mut File) -> String {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).expect("a log file reads");
    String::from_utf8_lossy(&bytes).into_owned()
}
