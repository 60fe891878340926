//! `calls`: exactly 10,000 calls of a file interface, whose names, arguments and results are known, and a count of them for each name that the
//! probes have no part in. For each of 1,000 files: open, two writes, a seek to the start, three reads, of which the last finds the end, a seek to
//! before the start and a read of no file, which both fail, close.

mod files;

use core::sync::atomic::{AtomicU32, Ordering};

use self::files::Files;
use super::{join_all, observer, one_per_vcpu};
use crate::console::print_line;
use crate::probes::Class;
use crate::sched;
use crate::text::FixedText;

const FILES: u32 = 1_000;
/// After so many a thread rests, so that this lasts a moment.
const FILES_AT_ONCE: u32 = 20;
const REST_NS: u64 = 2_000_000;

const NAMES: [&str; 5] = ["fs.open", "fs.write", "fs.seek", "fs.read", "fs.close"];
/// How often each was called.
static CALLS: [AtomicU32; 5] = [const { AtomicU32::new(0) }; 5];

pub(super) fn run(vcpus: u32) {
    observer::wait_for(Class::Call);
    join_all(one_per_vcpu(vcpus, "calls", |vcpu| move || use_files(vcpu, vcpus)));
    for (name, calls) in NAMES.iter().zip(&CALLS) {
        print_line!("calls: name={name} calls={}", calls.load(Ordering::Relaxed));
    }
}

/// Every so manieth file.
#[inline(never)]
fn use_files(first: u32, step: u32) {
    let mut files = Files::new();
    for (used, number) in (first..FILES).step_by(step as usize).enumerate() {
        use_file(&mut files, number);
        if (used as u32 + 1).is_multiple_of(FILES_AT_ONCE) {
            sched::sleep(REST_NS);
        }
    }
}

#[inline(never)]
fn use_file(files: &mut Files, number: u32) {
    let path = FixedText::<32>::of(format_args!("/data/file-{number:04}"));
    let line = FixedText::<64>::of(format_args!("contents of file {number:04}"));
    let mut buffer = [0; 64];
    let fd = files.open(path.as_str());
    assert!(fd >= 0, "a file can be made");
    let fd = fd as u32;
    files.write(fd, line.as_str().as_bytes());
    files.write(fd, &number.to_le_bytes());
    files.seek(fd, 0);
    files.read(fd, &mut buffer[..8]);
    files.read(fd, &mut buffer);
    files.read(fd, &mut buffer);
    files.seek(fd, -1);
    files.read(files::NO_FILE, &mut buffer);
    files.close(fd);
    for (count, by) in CALLS.iter().zip([1, 2, 2, 4, 1]) {
        count.fetch_add(by, Ordering::Relaxed);
    }
}
