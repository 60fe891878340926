//! Debug information that no compiler writes: references in circles, lists that everything refers to, bottomless inlining.

mod common;

use std::num::NonZeroUsize;

use common::Built;
use uniprof_symbolizer::{AddressKind, LoadBias, Symbolizer, Table};
use uniprof_wire::address::{GuestVirtual, LinkAddress};

/// DWARF 4 with one unit that holds `_start`, whose entries are `entries`. Abbreviation 1 is the unit, 2 a function with
/// an origin, 3 an inlined one with children and a name, 4 a function with children and a name, 5 a function with ranges.
fn image(entries: &str, more: &str) -> Built {
    let source = format!(
        r#"
.globl _start
.type _start, @function
_start: .fill 600, 1, 0x90
end: .size _start, . - _start
.section .debug_abbrev
abbreviations:
.uleb128 1, 0x11; .byte 1; .uleb128 0x11, 0x01, 0x12, 0x06, 0, 0
.uleb128 2, 0x2e; .byte 0; .uleb128 0x31, 0x13, 0x11, 0x01, 0x12, 0x06, 0, 0
.uleb128 3, 0x1d; .byte 1; .uleb128 0x03, 0x08, 0x11, 0x01, 0x12, 0x06, 0, 0
.uleb128 4, 0x2e; .byte 1; .uleb128 0x03, 0x08, 0x11, 0x01, 0x12, 0x06, 0, 0
.uleb128 5, 0x2e; .byte 0; .uleb128 0x55, 0x17, 0, 0
.byte 0
.section .debug_info
unit: .long unit_end - 1f
1: .value 4; .long abbreviations; .byte 8
.uleb128 1; .quad _start; .long 600
{entries}
.byte 0
unit_end:
{more}
"#
    );
    Built::new("a.s", &source, &[])
}

/// The functions of the second byte of `_start` and the damage, of a table and of lookups without one.
fn both(built: &Built) -> (Vec<String>, Option<String>) {
    let image = built.image();
    let address = image.symbol("_start").expect("a symbol").address.0 + 1;
    let table = Table::build(&image, NonZeroUsize::new(2).expect("two")).expect("a table");
    let names: Vec<String> =
        table.frames(LinkAddress(address)).map(|frame| frame.function.to_owned()).collect();
    let damage = table.damage().map(|(_, text)| text.to_owned());
    let mut symbolizer = Symbolizer::new(image, LoadBias::NONE);
    let found = symbolizer.resolve(GuestVirtual(address), AddressKind::Instruction);
    let lazy: Vec<String> = found.frames().iter().map(|frame| frame.function.to_string()).collect();
    assert_eq!(names, lazy);
    assert_eq!(symbolizer.tally().first_dwarf_error.is_some(), damage.is_some());
    (names, damage)
}

#[test]
fn origins_in_circles_have_no_name() {
    let function = |label: &str, other: &str| {
        format!("{label}: .uleb128 2; .long {other} - unit; .quad _start; .long 600\n")
    };
    let itself = image(&function("a", "a"), "");
    assert_eq!(both(&itself), (vec!["_start".into()], None), "the symbol table names it");
    let circle = image(&[function("a", "b"), function("b", "a")].concat(), "");
    assert_eq!(both(&circle), (vec!["_start".into()], None));
    let outside = image(&function("a", "unit_end + 0x10000000"), "");
    assert_eq!(both(&outside).0, ["_start"]);
}

#[test]
fn a_list_that_everybody_refers_to_is_given_up() {
    let list = ".section .debug_ranges\nlist: .rept 20000; .quad _start, end; .endr; .quad 0, 0";
    let (names, damage) = both(&image(".rept 20000; .uleb128 5; .long list; .endr", list));
    assert_eq!(names, ["_start"]);
    assert!(damage.expect("it is said").contains("far more work"));
}

#[test]
fn bottomless_inlining_ends() {
    let inner = ".uleb128 3; .asciz \"inner\"; .quad _start; .long 600\n";
    let entries = |levels: usize| {
        let function = ".uleb128 4; .asciz \"outer\"; .quad _start; .long 600\n";
        [function, &inner.repeat(levels), &".byte 0\n".repeat(levels + 1)].concat()
    };
    let (names, _) = both(&image(&entries(100), ""));
    assert_eq!((names.len(), names[0].as_str(), names[100].as_str()), (101, "inner", "outer"));
    let (names, damage) = both(&image(&entries(100_000), ""));
    assert_eq!((names.len(), damage), (256, None));
    assert_eq!(names.last().map(String::as_str), Some("outer"));
}

#[test]
fn what_is_cut_off_is_damage() {
    for entries in [".uleb128 99", ".uleb128 4; .asciz \"x\"; .quad _start", ".uleb128 5; .long 0x1000"] {
        let (names, damage) = both(&image(entries, ""));
        assert_eq!(names, ["_start"], "{entries}");
        assert!(damage.is_some() || entries.contains("0x1000"), "{entries}");
    }
}
