//! Types that no compiler writes: that are other names of themselves, contain themselves, come from nowhere.

mod common;

use common::Built;
use uniprof_symbolizer::types::{Kind, Types, TypesError};
use uniprof_wire::address::LinkAddress;

/// DWARF 4 with one unit of these entries. Abbreviation 2 is a typedef with a name and a type, 3 a structure with a name, a size and
/// members (4: name, type, place), 5 an array of a type with bounds (6: a count), 7 a variable with a name, a type and a place, 8
/// one with an origin only, 9 a function with a name.
fn types(entries: &str) -> Types {
    with_code(entries).0
}

/// The same, and where its code lies.
fn with_code(entries: &str) -> (Types, LinkAddress) {
    let source = format!(
        r#"
.globl _start
.type _start, @function
_start: .fill 64, 1, 0x90
.size _start, . - _start
.section .debug_abbrev
abbreviations:
.uleb128 1, 0x11; .byte 1; .uleb128 0x11, 0x01, 0x12, 0x06, 0, 0
.uleb128 2, 0x16; .byte 0; .uleb128 0x03, 0x08, 0x49, 0x13, 0, 0
.uleb128 3, 0x13; .byte 1; .uleb128 0x03, 0x08, 0x0b, 0x0f, 0, 0
.uleb128 4, 0x0d; .byte 0; .uleb128 0x03, 0x08, 0x49, 0x13, 0x38, 0x0f, 0, 0
.uleb128 5, 0x01; .byte 1; .uleb128 0x49, 0x13, 0, 0
.uleb128 6, 0x21; .byte 0; .uleb128 0x37, 0x0f, 0, 0
.uleb128 7, 0x34; .byte 0; .uleb128 0x03, 0x08, 0x49, 0x13, 0x02, 0x18, 0, 0
.uleb128 8, 0x34; .byte 0; .uleb128 0x31, 0x13, 0, 0
.uleb128 9, 0x2e; .byte 1; .uleb128 0x03, 0x08, 0x11, 0x01, 0x12, 0x06, 0, 0
.byte 0
.section .debug_info
unit: .long unit_end - 1f
1: .value 4; .long abbreviations; .byte 8
.uleb128 1; .quad _start; .long 64
{entries}
.byte 0
unit_end:
"#
    );
    let image = Built::new("a.s", &source, &[]).image();
    let start = image.symbol("_start").expect("a symbol").address;
    (Types::open(&image).expect("debug information"), start)
}

fn variable(label: &str, ty: &str) -> String {
    format!(".uleb128 7; .asciz \"{label}\"; .long {ty} - unit; .uleb128 9; .byte 3; .quad _start\n")
}

#[test]
fn names_of_themselves_end() {
    let alias =
        |label: &str, of: &str| format!("{label}: .uleb128 2; .asciz \"{label}\"; .long {of} - unit\n");
    let mut types = types(&[alias("a", "b"), alias("b", "a"), variable("v", "a")].concat());
    let found = types.globals("v").expect("a variable");
    let ty = found[0].ty.expect("a type");
    assert!(matches!(types.bare(ty), Err(TypesError::Damaged(_))));
    assert_eq!(types.size(ty), None);
    assert!(types.name(ty).is_some());
}

#[test]
fn arrays_of_themselves_have_no_size_and_their_name_ends() {
    let array = "a: .uleb128 5; .long a - unit; .uleb128 6; .uleb128 3; .byte 0\n";
    let mut types = types(&[array, &variable("v", "a")].concat());
    let ty = types.globals("v").expect("a variable")[0].ty.expect("a type");
    assert!(matches!(types.get(ty).expect("a type").kind, Kind::Array(_, Some(3))));
    assert_eq!(types.size(ty), None);
    assert!(types.name(ty).expect("a name").len() < 10_000);
}

#[test]
fn structures_may_contain_themselves() {
    let structure = "s: .uleb128 3; .asciz \"s\"; .uleb128 8\n.uleb128 4; .asciz \"m\"; .long s - unit; .uleb128 0\n.byte 0\n";
    let mut types = types(&[structure, &variable("v", "s")].concat());
    let ty = types.globals("v").expect("a variable")[0].ty.expect("a type");
    let Kind::Struct(found) = &types.get(ty).expect("a type").kind else { panic!("no structure") };
    assert_eq!((found.members[0].ty, types.size(ty)), (ty, Some(8)));
    assert_eq!(types.named("s").expect("types").len(), 1);
}

#[test]
fn references_to_nowhere_and_in_circles_are_no_types() {
    let nowhere = variable("v", "unit_end + 0x1000000");
    let mut found = types(&nowhere);
    let global = found.globals("v").expect("a variable").remove(0);
    assert!(global.ty.is_none_or(|ty| found.get(ty).is_err()));
    // Variables that are instances of each other, in a function.
    let circle = "o: .uleb128 8; .long p - unit\np: .uleb128 8; .long o - unit\n";
    let function = format!(".uleb128 9; .asciz \"f\"; .quad _start; .long 64\n{circle}.byte 0\n");
    let (mut found, start) = with_code(&function);
    let scopes = found.scopes(start).expect("scopes");
    assert_eq!(scopes[0].function.as_deref(), Some("f"));
    assert!(scopes[0].variables.is_empty(), "{scopes:?}");
}
