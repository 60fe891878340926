//! Of a guest that is played by another thread; its process, as far as anybody asks, is this one.

use std::{path::Path, sync::atomic::AtomicBool};

use super::*;
use crate::{
    attach::{WaitOptions, wait_for_region},
    guests::{GuestEntry, process_start},
    lab::PlayedGuest,
    qemu::{Accelerator, Machine, Placement},
    recording::{Item, open, partial_path},
};

fn entry(guest: &PlayedGuest) -> GuestEntry {
    let pid = std::process::id();
    GuestEntry {
        name: "played".into(),
        pid,
        pid_start: process_start(pid).unwrap(),
        owner_pid: pid,
        qmp: "/none".into(),
        kernel: "/boot/kernel.elf".into(),
        machine: Machine::Q35,
        memory_bytes: 1 << 20,
        vcpus: 1,
        placement: Placement::Ivshmem,
        memory_file: guest.file.path().into(),
        ram_file: None,
        ram_in_process: None,
        ram_map: None,
        port: None,
        control_port: None,
        accelerator: Accelerator { name: "tcg".into(), reason: "asked for".into() },
        qemu_version: String::new(),
        command_line: vec![],
        started_ns: 0,
    }
}

fn record(
    guest: &PlayedGuest,
    entry: &GuestEntry,
    path: &Path,
    options: RecordOptions,
) -> Result<Summary, SessionError> {
    let mut observed = Observed::Other(entry);
    let wait = WaitOptions { limit: Duration::from_secs(10), hint: None, cancel: Cancel::new() };
    let attached = wait_for_region(&observed, &wait).unwrap();
    let file = RecordingFile::create(path, &attached.session_info(entry))?;
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                guest.write(0, 300);
            }
        });
        let summary = record_session(&mut observed, &attached, file, options, |_| ());
        over.store(true, Ordering::Relaxed);
        summary
    })
}

#[test]
fn the_file_says_what_the_summary_says() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("r.uniprof");
    let guest = PlayedGuest::boot(1);
    let (lines, console) = bounded(4);
    let line = Line { at: crate::clock::HostTime::now(), bytes: b"hello".to_vec(), continued: false };
    lines.send(line).unwrap();
    let options = RecordOptions {
        from_boot: true,
        duration: Some(Duration::from_millis(400)),
        console: Some(console),
        ..RecordOptions::default()
    };
    let summary = record(&guest, &entry(&guest), &path, options).unwrap();
    assert_eq!(summary.reason, EndReason::Duration);

    let mut reader = open(&path).unwrap().reader;
    let mut ledger = Ledger::new();
    let mut seen = String::new();
    while let Some(item) = reader.next().unwrap() {
        match item {
            Item::Session(session) => {
                assert_eq!((session.kernel.as_str(), session.boot_id), ("kernel.elf", guest.header.boot_id))
            }
            Item::Attachment(_) | Item::Gap => {}
            Item::Message(message) => {
                match &message.body {
                    Body::Console { bytes, .. } => seen.push_str(&String::from_utf8_lossy(bytes)),
                    Body::End(json) => seen.push_str(&String::from_utf8_lossy(json)),
                    _ => {}
                }
                ledger.feed(&message, |_, _| {});
            }
        }
    }
    assert_eq!(reader.damage(), []);
    assert_eq!(ledger.rings(), summary.ledger.rings());
    assert!(ledger.total().received > 300 && ledger.total().inconsistent == 0, "{:?}", ledger.total());
    assert!(seen.contains("hello") && seen.contains("\"reason\":\"duration\""), "{seen}");
}

#[test]
fn the_token_ends_it_with_a_finished_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("r.uniprof");
    let guest = PlayedGuest::boot(1);
    let cancel = Cancel::new();
    cancel.cancel();
    let summary =
        record(&guest, &entry(&guest), &path, RecordOptions { cancel, ..RecordOptions::default() }).unwrap();
    assert_eq!(summary.reason, EndReason::Cancelled);
    assert!(open(&path).unwrap().reader.verify().unwrap().is_empty());
    assert!(!partial_path(&path).exists());
}

#[test]
fn a_guest_that_is_gone_is_read_to_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("r.uniprof");
    let guest = PlayedGuest::boot(1);
    guest.write(0, 500);
    let mut entry = entry(&guest);
    entry.pid_start += 1;
    let wait = WaitOptions { limit: Duration::from_secs(10), hint: None, cancel: Cancel::new() };
    let mut observed = Observed::Other(&entry);
    let attached = wait_for_region(&observed, &wait).unwrap();
    let file = RecordingFile::create(&path, &attached.session_info(&entry)).unwrap();
    let options = RecordOptions { from_boot: true, ..RecordOptions::default() };
    let summary = record_session(&mut observed, &attached, file, options, |_| ()).unwrap();
    assert_eq!(summary.reason, EndReason::GuestEnded);
    assert_eq!(summary.ledger.total().received, 500);
    assert!(summary.remarks.is_empty(), "{:?}", summary.remarks);
}

#[test]
fn an_output_that_fails_ends_it_with_the_cause() {
    let guest = PlayedGuest::boot(1);
    let error = record(&guest, &entry(&guest), Path::new("/dev/full"), RecordOptions::default()).unwrap_err();
    assert!(error.to_string().contains("/dev/full"), "{error}");
}
