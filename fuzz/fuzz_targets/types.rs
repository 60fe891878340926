//! Any bytes as an image with debug information: its variables, the types of everything that is in scope at a sample of its code,
//! and values read from memory of which every byte is the low byte of its address. Inputs are those of the target `elf`.
#![no_main]

use std::ops::Range;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use uniprof_collector::memory::{GuestMemory, MemoryError, Window};
use uniprof_postmortem::print::{self, FrameContext, Limits};
use uniprof_postmortem::{Evidence, LoadedImage, Program, Subject};
use uniprof_symbolizer::{AddressKind, Image, LoadBias, RegisterFile, Tables};
use uniprof_wire::address::{GuestPhysical, GuestVirtual};

/// Names that many programs have, and those that the seeds have.
const ASKED: [&str; 8] =
    ["STATE", "main", "a::b", "*x", "y[1]", "(T*)16", "16 as *const Node", "z.next.next"];

struct Memory;

impl GuestMemory for Memory {
    fn read(&self, at: GuestPhysical, into: &mut [u8]) -> Result<(), MemoryError> {
        if at.0 > 1 << 40 && at.0 < 1 << 63 {
            return Err(MemoryError::Absent { at, len: into.len() as u64 });
        }
        for (offset, byte) in (0..).zip(into) {
            *byte = at.0.wrapping_add(offset) as u8;
        }
        Ok(())
    }

    fn ranges(&self) -> Result<Vec<Range<GuestPhysical>>, MemoryError> {
        Ok(Vec::new())
    }

    fn window(&self, at: GuestPhysical, len: u64) -> Result<Window, MemoryError> {
        Err(MemoryError::Absent { at, len })
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(image) = Image::parse(bytes) else { return };
    let mut addresses = Vec::new();
    for range in image.executable_ranges().into_iter().take(4) {
        let step = ((range.end - range.start) / 8).max(1);
        addresses.extend((0..9).map(|n| range.start.wrapping_add(n * step)));
    }
    let loaded = LoadedImage { name: String::new(), image: Arc::new(image), bias: LoadBias::NONE };
    let program = Program::new(vec![loaded], &Tables::default());
    let mut subject = Subject::new(Evidence::new(Arc::new(Memory), Vec::new(), None), program);
    let registers = RegisterFile([Some(0x1000); 17]);
    let limits = Limits { nodes: 200, ..Limits::FULL };
    for address in addresses {
        let address = GuestVirtual(address);
        let kind = AddressKind::Instruction;
        let frame = FrameContext { address, kind, registers, cfa: Some(0x2000), inlined: 0, caller: None };
        if let Ok(found) = print::locals_within(&mut subject, &frame, limits) {
            for variable in found {
                assert!(
                    variable.value.is_err()
                        || variable.value.is_ok_and(|value| !value.to_string().is_empty())
                );
            }
        }
    }
    for text in ASKED {
        if let Err(error) = print::evaluate_within(&mut subject, None, text, limits) {
            assert!(!error.to_string().is_empty());
        }
    }
});
