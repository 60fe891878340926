//! Boots a kernel that links the probes, records it, and prints what became of its records.
//!
//! ```text
//! cargo run -p uniprof-collector --example record -- KERNEL OUT.uniprof [q35|microvm] [SECONDS] [WORDS...]
//! ```

use std::{error::Error, path::Path, time::Duration};

use uniprof_collector::{
    attach::{Observed, WaitOptions, wait_for_region},
    cancel::Cancel,
    console::Sinks,
    guests::Registry,
    qemu::{LaunchOptions, LaunchSpec, Machine, launch},
    recording::RecordingFile,
    session::{RecordOptions, record_session},
};
use uniprof_wire::record::Class;

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [kernel, out, rest @ ..] = &words[..] else {
        return Err("usage: record KERNEL OUT [MACHINE] [SECONDS] [WORDS]".into());
    };
    let mut spec = LaunchSpec::new("example", kernel);
    spec.vcpus = 2;
    if rest.first().is_some_and(|machine| machine == "microvm") {
        spec.machine = Machine::Microvm;
    }
    let seconds = rest.get(1).and_then(|seconds| seconds.parse().ok()).unwrap_or(2);
    spec.cmdline = rest.iter().skip(2).cloned().collect();

    let (to_recording, lines) = crossbeam_channel::bounded(1024);
    let console = Sinks { lines: Some(to_recording), copy: Some(Box::new(std::io::stderr())) };
    let mut guest = launch(&Registry::open()?, &spec, LaunchOptions { console, cancel: Cancel::new() })?;
    let mut observed = Observed::Own(&mut guest);
    let wait = WaitOptions { limit: Duration::from_secs(10), hint: None, cancel: Cancel::new() };
    let attached = wait_for_region(&observed, &wait)?;
    let file = RecordingFile::create(Path::new(out), &attached.session_info(observed.entry()))?;
    let options = RecordOptions {
        from_boot: true,
        duration: Some(Duration::from_secs(seconds)),
        console: Some(lines),
        pause_at_end: true,
        ..RecordOptions::default()
    };
    let summary =
        record_session(&mut observed, &attached, file, options, |progress| eprintln!("{progress:?}"))?;
    println!("{:?}, {}, {} bytes", summary.reason, guest.shutdown(), summary.bytes);
    for class in Class::ALL {
        println!("{:9} {:?}", class.name(), summary.ledger.class(class));
    }
    summary.remarks.iter().for_each(|remark| println!("{remark}"));
    Ok(())
}
