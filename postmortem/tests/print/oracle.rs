//! A program under gdb, which says what it thinks of expressions, and its memory as a subject of ours.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use tempfile::TempDir;
use uniprof_collector::memory::{GuestMemory, MemoryError, Window};
use uniprof_collector::paging::AddressSpace;
use uniprof_postmortem::print::{self, FrameContext};
use uniprof_postmortem::{Evidence, LoadedImage, Program, Subject};
use uniprof_symbolizer::{DetailedFrame, LoadBias, RegisterFile, Tables, load};
use uniprof_wire::address::GuestPhysical;

/// What is asked of both.
pub(crate) struct Question {
    pub(crate) level: usize,
    pub(crate) ours: &'static str,
    pub(crate) gdb: &'static str,
}

/// Memory of a process, by its own addresses.
pub(crate) struct Process(Mutex<Vec<(u64, Vec<u8>)>>);

impl Process {
    pub(crate) fn of(memory: Vec<(u64, Vec<u8>)>) -> Self {
        Self(Mutex::new(memory))
    }
}

impl GuestMemory for Process {
    fn read(&self, at: GuestPhysical, into: &mut [u8]) -> Result<(), MemoryError> {
        let len = into.len() as u64;
        let memory = self.0.lock().unwrap();
        let found = memory.iter().find_map(|(start, bytes)| {
            let offset = usize::try_from(at.0.checked_sub(*start)?).ok()?;
            bytes.get(offset..offset.checked_add(into.len())?)
        });
        into.copy_from_slice(found.ok_or(MemoryError::Absent { at, len })?);
        Ok(())
    }

    fn ranges(&self) -> Result<Vec<Range<GuestPhysical>>, MemoryError> {
        // No region lies in it: nothing is searched.
        Ok(Vec::new())
    }

    fn window(&self, at: GuestPhysical, len: u64) -> Result<Window, MemoryError> {
        Err(MemoryError::Absent { at, len })
    }
}

pub(crate) struct Session {
    pub(crate) subject: Subject,
    pub(crate) answers: Vec<String>,
    frames: Vec<DetailedFrame>,
    process: Arc<Process>,
    /// The program's file, which is there as long as this is.
    pub(crate) program: PathBuf,
    _folder: TempDir,
}

/// Where in an ELF file the content of a section is.
pub(crate) fn section(file: &[u8], name: &str) -> Option<Range<usize>> {
    let number = |at: usize, len: usize| {
        file[at..at + len].iter().rev().fold(0, |value, byte| value << 8 | usize::from(*byte))
    };
    let header = |index: usize| number(40, 8) + index * 64;
    let names = number(header(number(62, 2)) + 24, 8);
    (0..number(60, 2)).map(header).find_map(|at| {
        let own = &file[names + number(at, 4)..];
        let place = number(at + 24, 8)..number(at + 24, 8) + number(at + 32, 8);
        own.strip_prefix(name.as_bytes()).is_some_and(|rest| rest[0] == 0).then_some(place)
    })
}

impl Session {
    /// Overwrites the memory that an expression's value lies in.
    pub(crate) fn damage(&mut self, level: usize, expression: &str, bytes: &[u8]) {
        let frame = self.frame(level);
        let value = print::evaluate(&mut self.subject, Some(&frame), expression).unwrap();
        let at = value.address.expect("it has an address");
        for (start, memory) in self.process.0.lock().unwrap().iter_mut() {
            if let Some(place) = at.checked_sub(*start).and_then(|at| memory.get_mut(at as usize..)) {
                place[..bytes.len()].copy_from_slice(bytes);
                break;
            }
        }
        self.subject.space = AddressSpace::new(Arc::clone(&self.subject.memory), None);
    }

    /// A frame by gdb's number, which counts inlined ones.
    pub(crate) fn frame(&mut self, level: usize) -> FrameContext {
        let mut left = level;
        for (number, frame) in self.frames.iter().enumerate() {
            let found = self.subject.program.resolve(frame.frame.address, frame.frame.kind);
            let count = found.map_or(1, |found| found.frames().len().max(1));
            if left < count {
                return FrameContext::of(&self.frames, number, left).unwrap();
            }
            left -= count;
        }
        panic!("there is no frame {level}");
    }
}

fn build(compiler: &str, source: &str, flags: &[&str], program: &Path) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/print").join(source);
    let output = Command::new(compiler).args(flags).arg(source).arg("-o").arg(program).output();
    let output = output.unwrap_or_else(|error| panic!("{compiler}: {error}"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

pub(crate) fn rust_program(flags: &[&str], asked: &[Question]) -> Session {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("fixture");
    let fixed = [
        "--edition=2024",
        "-C",
        "relocation-model=static",
        "-C",
        "target-feature=+crt-static",
        "-A",
        "warnings",
    ];
    build("rustc", "fixture.rs", &[flags, &fixed].concat(), &program);
    run(folder, program, "fixture::pause", asked)
}

pub(crate) fn c_program(flags: &[&str], asked: &[Question]) -> Session {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("fixture");
    build("cc", "fixture.c", &[flags, &["-static", "-no-pie"]].concat(), &program);
    run(folder, program, "pause_here", asked)
}

fn run(folder: TempDir, path: PathBuf, at: &str, asked: &[Question]) -> Session {
    let lines: String =
        asked.iter().map(|question| format!("{}\t{}\n", question.level, question.gdb)).collect();
    std::fs::write(folder.path().join("ask"), lines).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/print/oracle.py");
    let output = crate::gdb::with_printers(&script)
        .arg("--args")
        .arg(&path)
        .env("ORACLE_OUT", folder.path())
        .env("ORACLE_BREAK", at)
        .env("ORACLE_ASK", folder.path().join("ask"))
        .output()
        .expect("gdb runs; `cargo xtask test --yes` installs it");
    let said = std::fs::read_to_string(folder.path().join("said")).unwrap_or_default();
    assert!(!said.is_empty(), "gdb wrote nothing: {}", String::from_utf8_lossy(&output.stderr));
    let raw = std::fs::read(folder.path().join("memory")).unwrap();
    let hex = |text: &str| u64::from_str_radix(text, 16).unwrap();
    let (mut memory, mut registers, mut answers) = (Vec::new(), RegisterFile::default(), Vec::new());
    for line in said.lines() {
        let (word, rest) = line.split_once(' ').unwrap();
        match word {
            "memory" => {
                let parts: Vec<u64> = rest.split(' ').map(hex).collect();
                let bytes = &raw[parts[1] as usize..(parts[1] + parts[2]) as usize];
                memory.push((parts[0], bytes.to_vec()));
            }
            "registers" => {
                for (register, value) in registers.0.iter_mut().zip(rest.split(' ').map(hex)) {
                    *register = Some(value);
                }
            }
            _ => answers.push(rest.to_owned()),
        }
    }
    let image =
        LoadedImage { name: "fixture".into(), image: Arc::new(load(&path).unwrap()), bias: LoadBias::NONE };
    let process = Arc::new(Process::of(memory));
    let memory: Arc<dyn GuestMemory> = Arc::clone(&process) as _;
    let evidence = Evidence::new(memory, Vec::new(), None);
    let mut subject = Subject::new(evidence, Program::new(vec![image], &Tables::default()));
    let mut frames = Vec::new();
    let Subject { space, program, .. } = &mut subject;
    program.unwinder().unwind_with(&registers, |at| space.word(at), &mut frames);
    Session { subject, answers, frames, process, program: path, _folder: folder }
}
