//! Values that somebody has written over: said to be damaged, and not followed.

use uniprof_postmortem::print;

use crate::oracle::{Session, rust_program};

fn shown(session: &mut Session, expression: &str) -> String {
    let frame = session.frame(1);
    let found = print::evaluate(&mut session.subject, Some(&frame), expression);
    found.map_or_else(|error| error.to_string(), |value| value.data.flat())
}

#[test]
fn lengths_that_cannot_be_are_said_and_not_followed() {
    let mut session = rust_program(&["-g"], &[]);
    let huge = (1u64 << 60).to_le_bytes();
    session.damage(1, "numbers.len", &huge);
    assert_eq!(
        shown(&mut session, "*numbers"),
        "damaged Vec: its length 1152921504606846976 exceeds its capacity 3"
    );
    assert_eq!(
        shown(&mut session, "numbers[1]"),
        "damaged Vec: its length 1152921504606846976 exceeds its capacity 3"
    );
    session.damage(1, "numbers.buf.inner.cap", &huge);
    let said = shown(&mut session, "*numbers");
    assert!(said.ends_with("are more than there can be"), "{said}");
    session.damage(1, "numbers.len", &(1u64 << 30).to_le_bytes());
    let said = shown(&mut session, "*numbers");
    assert!(said.ends_with("are not all in memory"), "{said}");
    session.damage(1, "ring.head", &huge);
    assert!(shown(&mut session, "ring").starts_with("damaged VecDeque: its length 4 or head"));
    session.damage(1, "slice.length", &huge);
    assert!(shown(&mut session, "slice").starts_with("damaged slice: "));
    session.damage(1, "message.vec.len", &huge);
    assert!(shown(&mut session, "message").starts_with("damaged Vec: "));
}

#[test]
fn damaged_maps_are_said_to_be() {
    let mut session = rust_program(&["-g"], &[]);
    session.damage(1, "tree.length", &1000u64.to_le_bytes());
    assert_eq!(shown(&mut session, "tree"), "damaged BTreeMap: it is said to have 1000 entries, and has 40");
    session.damage(1, "tree.root.0.height", &200u64.to_le_bytes());
    assert_eq!(shown(&mut session, "tree"), "damaged BTreeMap: it is said to be 200 levels high");
    session.damage(1, "table.base.table.table.bucket_mask", &6u64.to_le_bytes());
    assert_eq!(shown(&mut session, "table"), "damaged HashMap: 1 entries, bucket mask 0x6");
    session.damage(1, "set.map.root.0.node.pointer", &0x10u64.to_le_bytes());
    assert!(
        shown(&mut session, "set").starts_with("damaged BTreeMap: the node at 0x10"),
        "{}",
        shown(&mut session, "set")
    );
}

#[test]
fn what_no_value_of_its_type_can_be_is_shown_as_what_it_is() {
    let mut session = rust_program(&["-g"], &[]);
    session.damage(1, "tuple.1", &0x11_0000u32.to_le_bytes());
    session.damage(1, "tuple.2", &[7]);
    let said = shown(&mut session, "tuple");
    assert!(said.contains("<damaged char: 0x110000>") && said.contains("<damaged bool: 7>"), "{said}");
    session.damage(1, "colour", &[9]);
    assert_eq!(shown(&mut session, "colour"), "9 is no Colour");
    // A list that leads to itself.
    session.damage(1, "message[0]", &[0xff]);
    assert_eq!(shown(&mut session, "message"), "\"\\xfféllo\\n\"");
    let frame = session.frame(1);
    let node = print::evaluate(&mut session.subject, Some(&frame), "list.next.0.value").unwrap();
    let at = node.address.unwrap() & !7;
    session.damage(1, "list.next.0.next", &at.to_le_bytes());
    let said = shown(&mut session, "list");
    assert!(said.len() < 400 && said.contains("0x"), "{said}");
}

#[test]
fn pointers_to_the_last_byte_are_read_no_further() {
    let mut session = rust_program(&["-g"], &[]);
    let last = u64::MAX;
    for expression in [
        "*(u64*)0xffffffffffffffff",
        "(0xffffffffffffffff as *const u8)[3]",
        "*(0xfffffffffffffff8 as *const state::Node)",
    ] {
        assert!(!shown(&mut session, expression).is_empty());
    }
    session.damage(1, "text.data_ptr", &last.to_le_bytes());
    assert!(shown(&mut session, "text").starts_with("damaged slice"), "{}", shown(&mut session, "text"));
    session.damage(1, "tree.root.0.node.pointer", &last.to_le_bytes());
    assert!(shown(&mut session, "tree").starts_with("damaged BTreeMap"));
    session.damage(1, "table.base.table.table.ctrl.pointer", &last.to_le_bytes());
    assert!(!shown(&mut session, "table").is_empty());
}
