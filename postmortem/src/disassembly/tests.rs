use super::*;
use crate::lab::Guest;

/// `mov rax, [rbx+rcx*4+0x10]`, `hlt`, `jmp` to the first.
const CODE: [u8; 8] = [0x48, 0x8b, 0x44, 0x8b, 0x10, 0xf4, 0xeb, 0xf8];

fn subject() -> Subject {
    let mut guest = Guest::bare();
    guest.memory.write(0x1000, &CODE);
    guest.memory.write_words(0x2020, &[0xabcd]);
    let cpu = guest.cpu(0x1000, 0x8000);
    cpu.general[1] = Some(0x2000);
    cpu.general[2] = Some(4);
    guest.subject()
}

#[test]
fn an_instructions_operands_have_their_values_and_the_memory_that_they_name() {
    let mut subject = subject();
    let cpu = subject.cpus[0].clone();
    let listing = around(&mut subject, GuestVirtual(0x1000), Some(&cpu), (2, 2)).unwrap();
    let texts: Vec<_> = listing.lines.iter().map(|line| line.text.as_str()).collect();
    assert_eq!(texts, ["mov rax, [rbx+rcx*4+0x10]", "hlt", "jmp short 0x1000"]);
    assert!(listing.lines[0].current && !listing.lines[1].current);
    let operands: Vec<_> =
        listing.lines[0].operands.iter().map(|operand| (operand.name.as_str(), operand.value)).collect();
    assert_eq!(operands, [("rax", 0), ("rbx", 0x2000), ("rcx", 4), ("memory", 0x2020)]);
    assert_eq!(listing.lines[0].operands[3].note, "holds 0xabcd");
}

#[test]
fn code_that_is_nowhere_is_an_error_with_its_address() {
    let mut subject = subject();
    let nowhere = GuestVirtual(0x7000_0000_0000);
    assert_eq!(around(&mut subject, nowhere, None, (2, 2)), Err(ListingError::NoMemory(nowhere)));
    let error = function(&mut subject, "nothing").unwrap_err().to_string();
    assert!(error.starts_with("no image has a function \"nothing\""), "{error}");
}

#[test]
fn an_address_whose_register_is_unknown_is_not_made_up() {
    let mut subject = subject();
    subject.cpus[0].general[1] = None;
    assert_eq!(reference(&subject, GuestVirtual(0x1000), &subject.cpus[0]), None);
}

#[test]
fn the_last_address_is_no_reason_to_stumble() {
    let last = GuestVirtual(u64::MAX);
    assert_eq!(around(&mut subject(), last, None, (2, 2)), Err(ListingError::NoMemory(last)));
}

#[test]
fn a_loop_waits_where_it_pauses_and_only_for_those_in_it() {
    let mut guest = Guest::bare();
    // A load, `pause`, a test and a branch back to the load; a return; another `pause` and a return.
    let code = [0x8b, 0x07, 0xf3, 0x90, 0x85, 0xc0, 0x74, 0xf8, 0xc3, 0xf3, 0x90, 0xc3];
    guest.memory.write(0x1000, &code);
    guest.memory.write(0x2000, &CODE);
    guest.cpu(0x1000, 0x8000);
    let subject = guest.subject();
    let waits = |at: u64| is_in_waiting_loop(&subject, GuestVirtual(at));
    assert_eq!([0x1000, 0x1002, 0x1004, 0x1006].map(waits), [true; 4]);
    assert_eq!([0x0ffe, 0x1008, 0x1009, 0x2000, 0x2006, u64::MAX].map(waits), [false; 6]);
}
