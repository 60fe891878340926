use super::*;
use crate::lab::{Guest, exception, thread};

#[test]
fn a_thread_that_runs_has_its_vcpus_stack_and_the_group_is_the_threads() {
    let mut guest = Guest::with_region();
    guest.cpu(0x1234, 0x10_0000);
    guest.thread(&thread(7, "worker", ThreadState::Running, 0x10_1000));
    guest.vcpu_word(0, 7, 7);
    let stacks = of(&mut guest.subject());
    assert_eq!(stacks.len(), 2);
    assert_eq!((stacks[0].owner, stacks[0].thread), (Owner::Vcpu(0), Some(7)));
    assert_eq!(stacks[1].title(), "worker (thread 7)");
    assert_eq!(stacks[1].frames, stacks[0].frames);
    assert_eq!(stacks[1].frames[0].address.0, 0x1234);
    assert_eq!(stacks[1].frames[0].name(), "[unknown: no image]");
    let groups = group(&stacks);
    assert_eq!(groups.len(), 1);
    assert_eq!(groups[0].owners, [Owner::Thread(7)]);
}

#[test]
fn a_crash_record_begins_the_stack_of_a_vcpu_that_went_on() {
    let mut guest = Guest::with_region();
    guest.cpu(0x9999, 0x10_0000);
    guest.crash(0, &exception(14, 0x10, 0x1111, 0x10_0800));
    guest.thread(&thread(1, "faulty", ThreadState::Running, 0x10_1000));
    let stacks = of(&mut guest.subject());
    for stack in &stacks {
        assert_eq!((stack.start, stack.frames[0].address.0), (Start::Crash, 0x1111), "{}", stack.title());
    }
    assert_eq!(stacks[0].name, "faulty");
}

#[test]
fn without_registers_it_is_said_why_there_is_no_stack() {
    let mut guest = Guest::with_region();
    guest.thread(&thread(1, "a", ThreadState::Blocked, 0x10_1000));
    guest.thread(&thread(2, "b", ThreadState::Running, 0x10_1000));
    guest.thread(&thread(3, "c", ThreadState::Exited, 0x10_1000));
    let mut saved = thread(4, "d", ThreadState::Sleeping, 0x10_1000);
    saved.saved = [0x4242, 0x10_0000, 0];
    guest.thread(&saved);
    let stacks = of(&mut guest.subject());
    let ends: Vec<_> = stacks.iter().map(|stack| stack.end.as_str()).collect();
    assert_eq!(ends[0], "the thread table has no registers of it");
    assert_eq!(ends[1], "it ran on vCPU 0, whose registers are not known");
    assert_eq!(ends[2], "it has ended");
    assert_eq!((stacks[3].start, stacks[3].frames[0].address.0), (Start::Saved, 0x4242));
    assert!(stacks[3].end.contains("no image"), "{}", stacks[3].end);
}

#[test]
fn stacks_that_are_alike_are_one_group_and_the_largest_comes_first() {
    let mut guest = Guest::with_region();
    for id in 1..=3 {
        let mut entry = thread(id, "t", ThreadState::Blocked, 0x10_1000);
        entry.saved = [if id == 1 { 0x1 } else { 0x2 }, 0x10_0000, 0];
        guest.thread(&entry);
    }
    let groups = group(&of(&mut guest.subject()));
    let owners: Vec<_> = groups.iter().map(|group| group.owners.clone()).collect();
    assert_eq!(owners, [vec![Owner::Thread(2), Owner::Thread(3)], vec![Owner::Thread(1)]]);
}

#[test]
fn a_guest_without_a_region_has_the_stacks_of_its_vcpus() {
    let mut guest = Guest::bare();
    guest.cpu(0x77, 0x10_0000);
    guest.cpu(0x88, 0x10_0000);
    let stacks = of(&mut guest.subject());
    let starts: Vec<_> = stacks.iter().map(|stack| stack.frames[0].address.0).collect();
    assert_eq!(starts, [0x77, 0x88]);
}
