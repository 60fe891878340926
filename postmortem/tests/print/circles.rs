//! Types that no compiler writes: those that contain themselves end in a sentence, and soon.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use uniprof_postmortem::print;
use uniprof_postmortem::{Evidence, LoadedImage, Program, Subject};
use uniprof_symbolizer::{LoadBias, Tables, load};
use uniprof_wire::address::GuestPhysical;

use crate::oracle::Process;

/// A program of 64 bytes at `_start` whose DWARF 4 has these entries. Abbreviations: 2 a structure (name, size) with members (3:
/// type, place), 4 an enumeration (name, size, type), 5 a variant part, 6 a variant, 7 a variable (name, type, place), 8 a
/// namespace (name).
fn subject(entries: &str) -> Subject {
    let source = format!(
        r#"
.globl _start
.type _start, @function
_start: .fill 64, 1, 0x90
.size _start, . - _start
.section .debug_abbrev
abbreviations:
.uleb128 1, 0x11; .byte 1; .uleb128 0x11, 0x01, 0x12, 0x06, 0, 0
.uleb128 2, 0x13; .byte 1; .uleb128 0x03, 0x08, 0x0b, 0x0f, 0, 0
.uleb128 3, 0x0d; .byte 0; .uleb128 0x49, 0x13, 0x38, 0x0f, 0, 0
.uleb128 4, 0x04; .byte 0; .uleb128 0x03, 0x08, 0x0b, 0x0f, 0x49, 0x13, 0, 0
.uleb128 5, 0x33; .byte 1; .uleb128 0, 0
.uleb128 6, 0x19; .byte 1; .uleb128 0, 0
.uleb128 7, 0x34; .byte 0; .uleb128 0x03, 0x08, 0x49, 0x13, 0x02, 0x18, 0, 0
.uleb128 8, 0x39; .byte 1; .uleb128 0x03, 0x08, 0, 0
.byte 0
.section .debug_info
unit: .long unit_end - 1f
1: .value 4; .long abbreviations; .byte 8
.uleb128 1; .quad _start; .long 64
{entries}
.uleb128 7; .asciz "v"; .long t - unit; .uleb128 9; .byte 3; .quad _start
.byte 0
unit_end:
"#
    );
    let folder = tempfile::tempdir().unwrap();
    let (file, path) = (folder.path().join("a.s"), folder.path().join("image"));
    std::fs::write(&file, source).unwrap();
    build(&file, &path);
    let image = load(&path).unwrap();
    let start = image.symbol("_start").unwrap().address.0;
    let image = LoadedImage { name: "a".into(), image: Arc::new(image), bias: LoadBias::NONE };
    let evidence = Evidence::new(Arc::new(Process::of(vec![(start, vec![0; 64])])), Vec::new(), None);
    assert!(evidence.memory.read(GuestPhysical(start), &mut [0; 64]).is_ok());
    Subject::new(evidence, Program::new(vec![image], &Tables::default()))
}

fn build(source: &Path, to: &Path) {
    let flags = ["-static", "-nostdlib", "-nostartfiles", "-no-pie", "-o"];
    let output = Command::new("cc").args(flags).arg(to).arg(source).output().expect("cc runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn said(entries: &str, expression: &str) -> String {
    let mut subject = subject(entries);
    let begun = Instant::now();
    let found = print::evaluate(&mut subject, None, expression);
    assert!(begun.elapsed() < Duration::from_secs(10), "{expression}");
    found.map_or_else(|error| error.to_string(), |value| value.data.flat())
}

#[test]
fn an_alternative_that_is_the_whole_ends() {
    let entries = ".uleb128 5, 6, 3; .long t - unit; .uleb128 0; .byte 0, 0\n";
    let entries = format!("t: .uleb128 2; .asciz \"t\"; .uleb128 8\n{entries}.byte 0\n");
    assert!(said(&entries, "v").contains("its type contains itself"));
}

#[test]
fn an_enumeration_of_its_own_enumerators_is_no_number() {
    let entries = "t: .uleb128 4; .asciz \"t\"; .uleb128 4; .long t - unit\n";
    assert!(said(entries, "v as u64").contains("is no number"));
    assert!(said(entries, "-v").contains("is no number"));
}

#[test]
fn a_field_is_not_looked_for_in_the_same_structure_for_ever() {
    let member = ".uleb128 3; .long t - unit; .uleb128 0\n".repeat(40);
    let entries = format!("t: .uleb128 2; .asciz \"t\"; .uleb128 8\n{member}.byte 0\n");
    let said = said(&entries, "v.nothing");
    assert!(said.contains("nothing"), "{said}");
}

#[test]
fn a_wrapper_around_itself_is_seen_through_only_so_often() {
    let cell =
        "t: .uleb128 2; .asciz \"Cell\"; .uleb128 8\n.uleb128 3; .long t - unit; .uleb128 0\n.byte 0\n";
    let entries = format!(".uleb128 8; .asciz \"core\"\n.uleb128 8; .asciz \"cell\"\n{cell}.byte 0, 0\n");
    assert!(said(&entries, "v").contains("its type contains itself"));
    assert!(said(&entries, "*v").contains("its type contains itself"));
}
