//! The records of a recording, as the collector's library reads them, and whose functions their stacks go through.

use std::path::Path;
use std::process::Command;

use uniprof_collector::ledger::Ledger;
use uniprof_collector::recording::{Item, open};
use uniprof_wire::record::Record;

use crate::Scene;

/// Hands every record of a recording to `each`, with its vCPU; the account of what was lost.
pub fn read_records(file: &Path, mut each: impl FnMut(u32, Record<'_>)) -> Ledger {
    let mut reader = open(file).expect("a recording").reader;
    let mut ledger = Ledger::new();
    while let Some(item) = reader.next().expect("a file that can be read") {
        match item {
            Item::Message(message) => {
                ledger.feed(&message, |ring, record| each(u32::from(ring.vcpu), record));
            }
            Item::Gap => ledger.gap(),
            Item::Session(_) | Item::Attachment(_) => {}
        }
    }
    ledger
}

/// The functions of the bundled kernel, by name and address.
#[derive(Debug)]
pub struct Functions(Vec<(u64, u64, String)>);

impl Functions {
    /// Of the kernel in the `uniprof` under test; its ELF file is left as `kernel.elf`.
    #[must_use]
    pub fn of_the_kernel(scene: &Scene) -> Self {
        scene.run(&["kernel", "-o", "kernel.elf"]).ok();
        let listed = scene.run_command(&mut scene.program(Path::new("nm"), &["-S", "kernel.elf"])).ok();
        let function = |line: &str| {
            let mut words = line.split_ascii_whitespace();
            let [start, size] = [words.next()?, words.next()?].map(|word| u64::from_str_radix(word, 16).ok());
            let (start, kind, name) = (start?, words.next()?, words.next()?);
            "tT".contains(kind).then(|| (start, start + size.unwrap_or(0), name.to_owned()))
        };
        Self(listed.stdout.lines().filter_map(function).collect())
    }

    /// Whether one of these return addresses lies in that function.
    #[must_use]
    pub fn through(&self, frames: &[u64], name: &str) -> bool {
        let (start, end, _) = self
            .0
            .iter()
            .find(|(.., found)| found == name)
            .unwrap_or_else(|| panic!("the kernel has no function {name}"));
        // The address after the call may be the next function's.
        frames.iter().any(|frame| (*start..*end).contains(&(frame - 1)))
    }
}

/// The section of event sites of the bundled kernel.
#[must_use]
pub fn site_section(scene: &Scene) -> Vec<u8> {
    scene.run(&["kernel", "-o", "kernel.elf"]).ok();
    let mut objcopy: Command = scene.program(
        Path::new("objcopy"),
        &["-O", "binary", "--only-section=uniprof_sites", "kernel.elf", "sites.bin"],
    );
    scene.run_command(&mut objcopy).ok();
    std::fs::read(scene.path("sites.bin")).expect("the section")
}
