//! Stacks that are alike.

use std::collections::HashMap;

use super::{Owner, Stack};

/// One stack that several threads, or vCPUs, had.
#[derive(Clone, Debug, PartialEq)]
pub struct StackGroup {
    /// Who, in the order of the stacks. A thread that ran, and the vCPU that it ran on, are one: the thread.
    pub owners: Vec<Owner>,
    /// Their titles.
    pub titles: Vec<String>,
    /// The first of the stacks; the others have the same frames.
    pub stack: Stack,
}

impl StackGroup {
    /// The threads among the owners.
    pub fn threads(&self) -> impl Iterator<Item = u32> {
        self.owners.iter().filter_map(|owner| match owner {
            Owner::Thread(id) => Some(*id),
            Owner::Vcpu(_) => None,
        })
    }
}

/// Groups stacks of the same frames: the largest group first, those of the same size in the order of the stacks.
#[must_use]
pub fn group(stacks: &[Stack]) -> Vec<StackGroup> {
    let mut groups: Vec<StackGroup> = Vec::new();
    let mut known: HashMap<(Vec<u64>, String), usize> = HashMap::new();
    for stack in stacks.iter().filter(|stack| !is_told_by_thread(stack, stacks)) {
        let addresses = stack.frames.iter().map(|frame| frame.address.0).collect();
        // Stacks without frames are alike where they lack them for the same reason.
        let why = if stack.frames.is_empty() { stack.end.clone() } else { String::new() };
        let index = *known.entry((addresses, why)).or_insert(groups.len());
        match groups.get_mut(index) {
            Some(group) => {
                group.owners.push(stack.owner);
                group.titles.push(stack.title());
            }
            None => groups.push(StackGroup {
                owners: vec![stack.owner],
                titles: vec![stack.title()],
                stack: stack.clone(),
            }),
        }
    }
    groups.sort_by_key(|group| std::cmp::Reverse(group.owners.len()));
    groups
}

/// Whether a vCPU's stack is told as that of the thread that it ran.
fn is_told_by_thread(stack: &Stack, stacks: &[Stack]) -> bool {
    let Owner::Vcpu(_) = stack.owner else { return false };
    let Some(thread) = stack.thread else { return false };
    stacks.iter().any(|other| other.owner == Owner::Thread(thread) && other.vcpu == stack.vcpu)
}
