//! gdb as the oracle: runs a program under it and reads what it said of every stop.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use uniprof_symbolizer::{AddressKind, Image, LoadBias, Registers, UnwindEnd, Unwinder, UnwoundFrame, load};

/// One stop of a thread.
pub(crate) struct Stop {
    pub(crate) registers: Registers,
    memory: Vec<(u64, Vec<u8>)>,
    /// gdb's own backtrace.
    pub(crate) frames: Vec<(u64, AddressKind)>,
    /// Each frame's canonical frame address and registers, where gdb told of all threads.
    pub(crate) details: Vec<(u64, Registers)>,
}

impl Stop {
    /// Eight bytes of the stack.
    pub(crate) fn read(&self, at: u64) -> Option<u64> {
        self.memory.iter().find_map(|(start, bytes)| {
            let offset = usize::try_from(at.checked_sub(*start)?).ok()?;
            let word = bytes.get(offset..)?.first_chunk::<8>()?;
            Some(u64::from_le_bytes(*word))
        })
    }

    /// The same stop with no more than this much of the stack.
    pub(crate) fn cut(&self, bytes: u64) -> impl FnMut(u64) -> Option<u64> + '_ {
        let end = self.registers.rsp + bytes;
        move |at| if at < end { self.read(at) } else { None }
    }

    pub(crate) fn unwind(&self, unwinder: &mut Unwinder) -> (Vec<UnwoundFrame>, UnwindEnd) {
        let mut frames = Vec::new();
        let end = unwinder.unwind(&self.registers, |at| self.read(at), &mut frames);
        (frames, end)
    }
}

/// What gdb said.
pub(crate) struct Session {
    pub(crate) images: Vec<(Arc<Image>, LoadBias)>,
    pub(crate) stops: Vec<Stop>,
}

impl Session {
    pub(crate) fn unwinder(&self) -> Unwinder {
        let mut unwinder = Unwinder::new();
        for (image, bias) in &self.images {
            unwinder.add(image, *bias);
        }
        unwinder
    }
}

/// Where gdb is to stop.
#[derive(Clone, Copy)]
pub(crate) struct Plan<'a> {
    /// The function at which it begins.
    pub(crate) at: &'a str,
    /// At how many instructions it stops; at 0 it tells of all threads once.
    pub(crate) steps: usize,
    /// How many instructions there are from stop to stop.
    pub(crate) stride: usize,
}

/// A C program of `tests/unwind_gdb/`, built in a folder that is gone afterwards.
pub(crate) struct Program {
    folder: tempfile::TempDir,
}

impl Program {
    pub(crate) fn new(compiler: &str, source: &str, flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/unwind_gdb").join(source);
        let mut command = Command::new(compiler);
        command.args(flags).arg(source).arg("-pthread").arg("-o").arg(folder.path().join("program"));
        let output = command.output().unwrap_or_else(|error| panic!("{compiler}: {error}"));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Self { folder }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("program")
    }

    pub(crate) fn run(&self, plan: Plan<'_>) -> Session {
        run(&self.path(), &[], plan)
    }
}

/// Runs a program under gdb.
pub(crate) fn run(program: &Path, arguments: &[&str], plan: Plan<'_>) -> Session {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().join("stops");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/unwind_gdb/oracle.py");
    let output = Command::new("timeout")
        .args(["-k", "5", "120", "gdb", "-nx", "-batch", "-x"])
        .arg(script)
        .arg("--args")
        .arg(program)
        .args(arguments)
        .env("ORACLE_OUT", &out)
        .env("ORACLE_BREAK", plan.at)
        .env("ORACLE_STEPS", plan.steps.to_string())
        .env("ORACLE_STRIDE", plan.stride.to_string())
        .output()
        .expect("gdb runs; `cargo xtask test --yes` installs it");
    let said = std::fs::read_to_string(&out).unwrap_or_default();
    assert!(!said.is_empty(), "gdb wrote nothing: {}", String::from_utf8_lossy(&output.stderr));
    parse(&said)
}

fn parse(said: &str) -> Session {
    let mut session = Session { images: Vec::new(), stops: Vec::new() };
    let hex = |text: &str| u64::from_str_radix(text, 16).expect("the oracle writes hexadecimal numbers");
    for line in said.lines() {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "image" => {
                let (start, path) = rest.split_once(' ').expect("the oracle writes a path");
                let image = load(path).expect("what is mapped is an image");
                let bias = if image.is_position_independent() { hex(start) } else { 0 };
                session.images.push((Arc::new(image), LoadBias::new(bias)));
            }
            "stop" => session.stops.push(Stop {
                registers: Registers::default(),
                memory: Vec::new(),
                frames: Vec::new(),
                details: Vec::new(),
            }),
            _ => stop_line(session.stops.last_mut().expect("a stop begins"), word, rest, hex),
        }
    }
    session
}

fn stop_line(stop: &mut Stop, word: &str, rest: &str, hex: impl Fn(&str) -> u64) {
    let fields: Vec<&str> = rest.split(' ').collect();
    match (word, &fields[..]) {
        ("registers", values) => stop.registers = registers(values, hex),
        ("detail", [cfa, values @ ..]) => stop.details.push((hex(cfa), registers(values, hex))),
        ("memory", [start, bytes]) => {
            let bytes = bytes.as_bytes().chunks(2).map(|pair| {
                u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16).expect("hexadecimal")
            });
            stop.memory.push((hex(start), bytes.collect()));
        }
        ("frame", [address, kind]) => {
            let kind = if *kind == "called" { AddressKind::Return } else { AddressKind::Instruction };
            stop.frames.push((hex(address), kind));
        }
        _ => panic!("the oracle wrote {word}"),
    }
}

fn registers(values: &[&str], hex: impl Fn(&str) -> u64) -> Registers {
    let [rip, rsp, rbp, rbx, r12, r13, r14, r15] = <[&str; 8]>::try_from(values).expect("eight").map(hex);
    Registers { rip, rsp, rbp, rbx, r12, r13, r14, r15 }
}
