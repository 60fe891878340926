//! Stack snapshots: registers and stack as they were, for code in which frame pointers lead nowhere.

use std::fs;
use std::io::Cursor;
use std::thread::sleep;
use std::time::Duration;

use rustix::process::Signal;
use uniprof_collector::ledger::Ledger;
use uniprof_collector::recording::{Item, Reader};
use uniprof_collector::tables::Tables;
use uniprof_tests::{Scene, assert_matches_its_schema};
use uniprof_wire::record::{Record, Registers, SnapshotRecord, WalkEnd};

use crate::guests::start_workload;

/// What the functions of `sample-kernel/src/workload/nofp.c` that take the time hold in rbx, rbp, and r12 to r15.
const MARKERS: [u64; 6] = [
    0xb0b0_0000_0000_0001,
    0xb0b0_0000_0000_0002,
    0xb0b0_0000_0000_0003,
    0xb0b0_0000_0000_0004,
    0xb0b0_0000_0000_0005,
    0xb0b0_0000_0000_0006,
];

/// Hands every record of a recording to `each`, and gives the guest's tables and the count of lost records.
fn read(scene: &Scene, name: &str, mut each: impl FnMut(Record<'_>)) -> (Tables, u64) {
    let bytes = fs::read(scene.path(name)).unwrap();
    let mut reader = Reader::new(Cursor::new(bytes)).unwrap();
    let mut ledger = Ledger::new();
    while let Some(item) = reader.next().unwrap() {
        if let Item::Message(message) = item {
            ledger.feed(&message, |_, record| each(record));
        }
    }
    (ledger.tables().unwrap().clone(), ledger.total().lost())
}

/// One snapshot of a function that takes the time.
struct Leaf {
    thread: u32,
    /// Where its caller goes on: above the six registers that it has saved.
    caller: u64,
    stack_end: u64,
}

fn is_marked(registers: &Registers) -> bool {
    let Registers { rbx, rbp, r12, r13, r14, r15, .. } = *registers;
    [rbx, rbp, r12, r13, r14, r15] == MARKERS
}

/// What holds of every snapshot, however it was asked for.
fn check(snapshot: &SnapshotRecord<'_>, most_words: usize) {
    let Registers { rsp, .. } = snapshot.registers;
    let there_is = (snapshot.stack_end - rsp) as usize / 8;
    assert_eq!(snapshot.stack.len(), there_is.min(most_words), "{snapshot:x?}");
    if snapshot.reaches_stack_end() {
        assert_eq!(snapshot.stack.last(), Some(&0), "the root of the stack: {snapshot:x?}");
    }
}

#[test]
fn a_new_guest_ships_registers_and_stack_from_its_first_tick() {
    let scene = Scene::with_guest();
    let line = ["record", "-F", "499", "-d", "4", "--vcpus", "2", "--call-graph", "dwarf", "-o", "n.uniprof"];
    scene.run(&[&line[..], &["--", "bundled", "workload=nofp"]].concat()).ok();
    let (mut all, mut leaves) = (0, Vec::new());
    let (tables, lost) = read(&scene, "n.uniprof", |record| match record {
        Record::Snapshot(snapshot) => {
            all += 1;
            check(&snapshot, 1024);
            if is_marked(&snapshot.registers) {
                assert!(snapshot.reaches_stack_end());
                let (thread, stack_end) = (snapshot.thread, snapshot.stack_end);
                leaves.push(Leaf { thread, caller: snapshot.stack[6], stack_end });
            }
        }
        Record::Sample(sample) => panic!("by frame pointers: {sample:?}"),
        _ => {}
    });
    assert_eq!(lost, 0);
    assert!(all > 500 && leaves.len() * 10 > all * 8, "{} of {all}", leaves.len());
    assert!(tables.vcpus.iter().take(2).all(|vcpu| vcpu.snapshot_bytes == 8192), "{:?}", tables.vcpus);
    let image = tables.images.iter().find_map(|slot| slot.entry()).unwrap().range;
    for leaf in leaves {
        assert!((image.0.0..image.1.0).contains(&leaf.caller), "{:#x}", leaf.caller);
        let thread = tables.threads.iter().filter_map(|slot| slot.entry()).find(|t| t.id == leaf.thread);
        assert_eq!(thread.unwrap().stack.1.0, leaf.stack_end);
    }
}

#[test]
fn a_running_guest_ships_them_while_somebody_asks() {
    let scene = Scene::with_guest();
    let guest = start_workload(&scene, "nofp", &[], "workload=nofp");
    let line = ["record", "nofp", "-F", "499", "-d", "2", "-o"];
    scene.run(&[&line[..], &["dwarf.uniprof", "--call-graph", "dwarf,256"]].concat()).ok();
    let mut snapshots = 0;
    read(&scene, "dwarf.uniprof", |record| {
        if let Record::Snapshot(snapshot) = record {
            check(&snapshot, 32);
            assert!(!snapshot.reaches_stack_end() || !is_marked(&snapshot.registers), "{snapshot:x?}");
            snapshots += 1;
        }
    });
    assert!(snapshots > 100, "{snapshots}");
    // The guest looks at its requests 20 times a second.
    sleep(Duration::from_millis(500));
    scene.run(&[&line[..], &["fp.uniprof"]].concat()).ok();
    let (mut all, mut lost) = (0, 0);
    read(&scene, "fp.uniprof", |record| match record {
        Record::Sample(sample) => {
            all += 1;
            lost += u32::from(sample.frames.is_empty() && sample.end == WalkEnd::OutsideStack);
        }
        Record::Snapshot(snapshot) => panic!("nobody asks any more: {snapshot:?}"),
        _ => {}
    });
    assert!(all > 100 && lost * 10 > all * 8, "frame pointers lead nowhere: {lost} of {all}");
    guest.signal(Signal::INT);
    guest.wait(Duration::from_secs(60)).ok();
}

#[test]
fn a_snapshot_that_does_not_fit_is_cut_and_that_is_said() {
    let scene = Scene::with_guest();
    let line =
        ["record", "-F", "99", "-d", "1", "--ring", "64K", "--call-graph", "dwarf,16K", "-o", "s.uniprof"];
    let told = scene.run(&[&line[..], &["--", "bundled", "workload=nofp"]].concat()).ok();
    assert!(told.stderr.contains("8080 bytes of stack, not 16384"), "{}", told.stderr);
    let report = scene.run(&["report", "s.uniprof", "--json"]).ok().json();
    assert_matches_its_schema(&report);
    assert_eq!(report["snapshot_bytes"], 8080);
}
