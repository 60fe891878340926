//! A world of its own for one test.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::binary::uniprof;
use crate::program::{Ended, Running};

/// Longer than any single command of a test should need on a slow machine.
const LIMIT: Duration = Duration::from_secs(120);
/// How long a QEMU may take to vanish after the program that owned it.
const GRACE: Duration = Duration::from_secs(5);

/// Directories of its own, and no guest left behind.
#[derive(Debug)]
pub struct Scene {
    dir: TempDir,
    /// Held while guests of this scene may run.
    guests: Option<File>,
}

impl Scene {
    /// A scene for commands that start no guest.
    #[must_use]
    pub fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("uniprof-e2e-").tempdir().expect("a temporary directory");
        for name in ["work", "run", "config", "logs"] {
            fs::create_dir(dir.path().join(name)).expect("a directory in a new directory");
        }
        Self { dir, guests: None }
    }

    /// A scene that may start guests. Waits until no other one does, in this process or another.
    #[must_use]
    pub fn with_guest() -> Self {
        // Built before the lock is taken, so that nobody waits for a compiler.
        uniprof();
        let lock = File::create(std::env::temp_dir().join("uniprof-e2e.lock")).expect("the lock file");
        lock.lock().expect("the lock");
        let mut scene = Self::new();
        scene.guests = Some(lock);
        scene
    }

    /// A path in the working directory.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("work").join(name)
    }

    /// The names in the working directory, sorted.
    #[must_use]
    pub fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("")).expect("the working directory reads");
        let mut names: Vec<String> =
            entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// `uniprof ARGS` in this scene, not yet started.
    pub fn command<S: AsRef<OsStr>>(&self, args: &[S]) -> Command {
        self.program(uniprof(), args)
    }

    /// Any program in this scene, not yet started.
    pub fn program<S: AsRef<OsStr>>(&self, program: &Path, args: &[S]) -> Command {
        let mut command = Command::new(program);
        command.args(args).current_dir(self.path(""));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("UNIPROF_") {
                command.env_remove(name);
            }
        }
        command
            .env("HOME", self.dir.path())
            .env("XDG_CONFIG_HOME", self.dir.path().join("config"))
            .env("XDG_CACHE_HOME", self.dir.path().join("cache"))
            .env("XDG_RUNTIME_DIR", self.runtime_dir())
            .env("RUST_BACKTRACE", "0");
        command
    }

    /// Starts `uniprof ARGS`.
    #[must_use]
    pub fn start<S: AsRef<OsStr>>(&self, args: &[S]) -> Running {
        self.start_command(&mut self.command(args))
    }

    /// Starts a command that [`Scene::command`] or [`Scene::program`] made.
    #[must_use]
    pub fn start_command(&self, command: &mut Command) -> Running {
        self.start_with(command, Stdio::null())
    }

    /// Runs `uniprof ARGS` to its end.
    pub fn run<S: AsRef<OsStr>>(&self, args: &[S]) -> Ended {
        self.start(args).wait(LIMIT)
    }

    /// Runs a command to its end.
    pub fn run_command(&self, command: &mut Command) -> Ended {
        self.start_command(command).wait(LIMIT)
    }

    /// Runs `uniprof` with a file as its standard input.
    pub fn run_with_input<S: AsRef<OsStr>>(&self, args: &[S], input: &Path) -> Ended {
        let input = File::open(input).expect("the input opens");
        self.start_with(&mut self.command(args), input.into()).wait(LIMIT)
    }

    fn start_with(&self, command: &mut Command, input: Stdio) -> Running {
        Running::start(command, input, &self.dir.path().join("logs"))
    }

    /// Process ids of this scene's QEMUs: those that inherited its runtime directory.
    #[must_use]
    pub fn qemus(&self) -> Vec<u32> {
        let mark = format!("XDG_RUNTIME_DIR={}", self.runtime_dir().display());
        let processes = fs::read_dir("/proc").expect("/proc reads").flatten();
        processes
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(|pid| is_qemu(*pid) && has_variable(*pid, mark.as_bytes()))
            .collect()
    }

    fn runtime_dir(&self) -> PathBuf {
        self.dir.path().join("run")
    }
}

impl Default for Scene {
    fn default() -> Self {
        Self::new()
    }
}

/// The scene closes: no guest may be left. One that is fails the test, and is killed by its id.
impl Drop for Scene {
    fn drop(&mut self) {
        let until = Instant::now() + GRACE;
        let mut left = self.qemus();
        while !left.is_empty() && Instant::now() < until {
            thread::sleep(Duration::from_millis(20));
            left = self.qemus();
        }
        for pid in &left {
            if let Some(pid) = i32::try_from(*pid).ok().and_then(rustix::process::Pid::from_raw) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
        // A second panic would abort the whole test program and hide the first one.
        assert!(left.is_empty() || thread::panicking(), "QEMU is left running: {left:?}");
        drop(self.guests.take());
    }
}

fn is_qemu(pid: u32) -> bool {
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| {
        let program = line.split(|byte| *byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(program).contains("qemu-system")
    })
}

fn has_variable(pid: u32, mark: &[u8]) -> bool {
    fs::read(format!("/proc/{pid}/environ"))
        .is_ok_and(|environ| environ.split(|byte| *byte == 0).any(|variable| variable == mark))
}
