//! Real stacks, frame by frame as gdb unwinds them: threads in all kinds of frames, and every instruction of functions
//! with and without frame pointers.

mod common;
#[path = "common/oracle.rs"]
mod oracle;

use oracle::{Plan, Program, Session};
use uniprof_symbolizer::{AddressKind, DetailedFrame, LoadBias, Missing, RegisterFile, UnwindEnd};
use uniprof_wire::address::GuestVirtual;

/// Compares all stops with gdb and returns how many frames there were.
fn compare(session: &Session, what: &str) -> usize {
    let mut unwinder = session.unwinder();
    let (mut compared, mut wrong) = (0, 0);
    for (number, stop) in session.stops.iter().enumerate() {
        let (frames, end) = stop.unwind(&mut unwinder);
        let ours: Vec<_> = frames.iter().map(|frame| (frame.address.0, frame.kind)).collect();
        compared += stop.frames.len();
        if ours != stop.frames {
            wrong += 1;
            if wrong < 6 {
                eprintln!("{what}, stop {number}, {end}:");
                eprintln!("  gdb  {:x?}", stop.frames);
                eprintln!("  ours {ours:x?}");
            }
        }
    }
    assert_eq!(wrong, 0, "{what}: of {} stops", session.stops.len());
    compared
}

#[test]
fn threads() {
    for flags in [&["-O2", "-fomit-frame-pointer", "-static"][..], &["-O2", "-fomit-frame-pointer"]] {
        let program = Program::new("cc", "threads.c", flags);
        let session = program.run(Plan { at: "all_parked", steps: 0, stride: 0 });
        assert_eq!(session.stops.len(), 6);
        let compared = compare(&session, &flags.join(" "));
        assert!(compared > 120, "{compared} frames");
    }
}

/// Registers that callees preserve, and the canonical frame address, of every frame.
#[test]
fn frames_come_with_the_registers_that_gdb_restores() {
    for flags in [&["-O2", "-fomit-frame-pointer", "-static"][..], &["-O0"]] {
        let program = Program::new("cc", "threads.c", flags);
        let session = program.run(Plan { at: "all_parked", steps: 0, stride: 0 });
        let mut unwinder = session.unwinder();
        let (mut known, mut asked) = (0, 0);
        for (number, stop) in session.stops.iter().enumerate() {
            let mut frames = Vec::new();
            unwinder.unwind_with(&RegisterFile::from(&stop.registers), |at| stop.read(at), &mut frames);
            let addresses: Vec<_> = frames.iter().map(|one| (one.frame.address.0, one.frame.kind)).collect();
            assert_eq!(addresses, stop.frames, "stop {number}");
            for (ours, (cfa, registers)) in frames.iter().zip(&stop.details) {
                let at = format!("{flags:?}, stop {number}, {:?}", ours.frame);
                // gdb says 0 of the outermost frame.
                let same = ours.cfa.is_none_or(|ours| ours == *cfa) || *cfa == 0;
                assert!(same, "{at}: {:x?}, not {cfa:x}", ours.cfa);
                for (mine, theirs) in ours.registers.0.iter().zip(RegisterFile::from(registers).0) {
                    asked += usize::from(theirs.is_some());
                    known += usize::from(theirs.is_some() && mine.is_some());
                    assert!(mine.is_none() || theirs.is_none_or(|theirs| *mine == Some(theirs)), "{at}");
                }
                asked += 1;
                known += usize::from(ours.cfa.is_some());
            }
        }
        assert!(asked > 500 && known * 100 > asked * 95, "{flags:?}: {known} of {asked} are known");
    }
}

/// Where an interrupt came into a frame, what it saved is known again: here all registers.
#[test]
fn lost_registers_are_unknown_and_saved_ones_are_found() {
    let program = Program::new("cc", "threads.c", &["-O2", "-fomit-frame-pointer", "-static"]);
    let session = program.run(Plan { at: "all_parked", steps: 0, stride: 0 });
    let mut unwinder = session.unwinder();
    let mut interrupted = 0;
    for stop in &session.stops {
        let mut file = RegisterFile::from(&stop.registers);
        file.0[0] = Some(0x1234);
        let mut frames = Vec::new();
        unwinder.unwind_with(&file, |at| stop.read(at), &mut frames);
        let rax = |frame: &DetailedFrame| frame.registers.0[0];
        assert_eq!(rax(&frames[0]), Some(0x1234));
        for frame in &frames[1..] {
            let saved = frame.frame.kind == AddressKind::Instruction;
            assert!(rax(frame) != Some(0x1234), "a call loses rax");
            assert_eq!(saved && rax(frame).is_some(), saved, "{:?}", frame.frame);
            interrupted += usize::from(saved);
        }
        assert!(!unwinder.unwind_with(&RegisterFile::default(), |_| None, &mut Vec::new()).is_complete());
    }
    assert!(interrupted > 0);
}

#[test]
fn every_instruction() {
    let kinds = [
        ("cc", &["-O2", "-fomit-frame-pointer", "-static"][..]),
        ("cc", &["-O2", "-fomit-frame-pointer", "-fno-asynchronous-unwind-tables", "-g", "-static"]),
        ("cc", &["-O1", "-fno-omit-frame-pointer"]),
        ("cc", &["-O0"]),
        ("clang", &["-O2", "-fomit-frame-pointer", "-static"]),
    ];
    for (compiler, flags) in kinds {
        let program = Program::new(compiler, "steps.c", flags);
        let session = program.run(Plan { at: "work", steps: 2_500, stride: 1 });
        let compared = compare(&session, &format!("{compiler} {}", flags.join(" ")));
        assert!(compared > 10_000, "{compared} frames");
    }
}

#[test]
fn snapshots_that_end_early() {
    let program = Program::new("cc", "threads.c", &["-O2", "-fomit-frame-pointer", "-static"]);
    let session = program.run(Plan { at: "all_parked", steps: 0, stride: 0 });
    let mut unwinder = session.unwinder();
    let (mut cut_short, mut whole) = (0, 0);
    for stop in &session.stops {
        let (all, _) = stop.unwind(&mut unwinder);
        for bytes in (0..8 << 10).step_by(8) {
            let mut frames = Vec::new();
            let end = unwinder.unwind(&stop.registers, stop.cut(bytes), &mut frames);
            assert!(all.starts_with(&frames), "{bytes}");
            match end {
                UnwindEnd::Root => whole += 1,
                UnwindEnd::BeyondStack => cut_short += 1,
                // The one that jumped nowhere: what it left behind is cut off.
                UnwindEnd::NoRule { missing: Missing::Image, .. } => cut_short += 1,
                other => panic!("{bytes}: {other}"),
            }
            assert_eq!(end.is_complete(), frames.len() == all.len(), "{bytes}");
        }
    }
    assert!(cut_short > 100 && whole > 100, "{cut_short}, {whole}");
}

/// What gdb steps through in the test below: this program names its own addresses.
#[inline(never)]
fn busy_with_symbols() {
    let mut symbolizer = uniprof_symbolizer::Symbolizer::new(common::this_image(), LoadBias::NONE);
    for address in (0..1_000).map(|number| GuestVirtual(0x40_000 + number * 4_099)) {
        std::hint::black_box(symbolizer.resolve(address, AddressKind::Return).to_string());
    }
}

#[test]
#[ignore = "the next test runs it under gdb"]
fn busy() {
    busy_with_symbols();
}

#[test]
fn a_large_rust_program() {
    let arguments = ["--exact", "busy", "--ignored", "--test-threads=1"];
    let plan = Plan { at: "unwind_gdb::busy_with_symbols", steps: 150, stride: 401 };
    let session = oracle::run(&common::this_program(), &arguments, plan);
    let compared = compare(&session, "this program");
    assert!(compared > 1_000, "{compared} frames");
}
