//! A function's own instructions tell where its return address is: what they do to the stack pointer up to `ret` is
//! followed, in a prologue, an epilogue or between, with or without a frame pointer.
//!
//! Only `rsp` and `rbp` are followed. Of conditional jumps both ways may be tried, calls are taken to return. Loops
//! cannot hold it: no jump's target is followed twice, and the number of instructions is limited.

use rustc_hash::FxHashSet;
use uniprof_wire::address::LinkAddress;

use crate::cfi::{Rule, RuleSource};

use super::decode::{Instruction, Map};
use super::text::Text;

const MAX_INSTRUCTIONS: usize = 2_000;

/// How many branches not taken are kept for later.
const MAX_BRANCHES: usize = 32;

const RSP: u8 = 4;
const RBP: u8 = 5;

/// A value in terms of what the registers held at the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Value {
    /// `rsp` and a distance.
    Stack(i64),
    /// `rbp` and a distance.
    Frame(i64),
    /// The word at `rsp` and a distance.
    AtStack(i64),
    /// The word at `rbp` and a distance.
    AtFrame(i64),
    Lost,
}

impl Value {
    fn plus(self, distance: i64) -> Self {
        match self {
            Self::Stack(offset) => Self::Stack(offset.wrapping_add(distance)),
            Self::Frame(offset) => Self::Frame(offset.wrapping_add(distance)),
            _ => Self::Lost,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct State {
    rsp: Value,
    rbp: Value,
    /// Where `rbp` was pushed last, and what it was.
    pushed: Option<(Value, Value)>,
}

/// What an instruction does to the flow.
enum Flow {
    Next,
    Jump(u64),
    Branch(u64),
    Return,
    ReturnFromInterrupt,
    /// Execution does not go on here, or where is not known.
    Stuck,
}

/// The rule at an instruction that has no call-frame information; `None` where its code does not tell.
pub(crate) fn rule(text: &Text, address: LinkAddress) -> Option<Rule> {
    let start = State { rsp: Value::Stack(0), rbp: Value::Frame(0), pushed: None };
    let mut paths = Paths { later: vec![(address.0, start)], ..Paths::default() };
    while let Some((at, state)) = paths.later.pop() {
        if let Some(rule) = paths.follow(text, at, state) {
            return Some(rule);
        }
    }
    paths.tail_call
}

/// What is still to be followed.
#[derive(Default)]
struct Paths {
    later: Vec<(u64, State)>,
    targets: FxHashSet<u64>,
    followed: usize,
    /// The rule if the first jump to another function was a tail call, and not to a part of the same that lies apart.
    tail_call: Option<Rule>,
}

impl Paths {
    /// Follows the code up to a return.
    fn follow(&mut self, text: &Text, mut at: u64, mut state: State) -> Option<Rule> {
        let mut home = text.function(LinkAddress(at));
        while self.followed < MAX_INSTRUCTIONS {
            self.followed += 1;
            let instruction = text.instruction(at)?;
            at = at.wrapping_add(instruction.length);
            match state.step(&instruction, at) {
                Flow::Next => {}
                Flow::Branch(target) => {
                    if self.later.len() < MAX_BRANCHES && self.targets.insert(target) {
                        self.later.push((target, state));
                    }
                }
                Flow::Jump(target) => {
                    let there = text.function(LinkAddress(target));
                    if there != home && self.tail_call.is_none() {
                        self.tail_call = state.returned();
                    }
                    if !self.targets.insert(target) {
                        return None;
                    }
                    (at, home) = (target, there);
                }
                Flow::Return => return state.returned(),
                Flow::ReturnFromInterrupt => return state.returned_from_interrupt(),
                Flow::Stuck => return None,
            }
            // Falling into the next function: what was called did not return.
            if text.function(LinkAddress(at)) != home {
                return None;
            }
        }
        None
    }
}

impl State {
    fn step(&mut self, found: &Instruction, next: u64) -> Flow {
        let target = next.wrapping_add_signed(found.immediate);
        match (found.map, found.opcode) {
            (Map::OneByte, 0x70..=0x7f | 0xe0..=0xe3) | (Map::TwoByte, 0x80..=0x8f) => Flow::Branch(target),
            (Map::OneByte, 0xe9 | 0xeb) => Flow::Jump(target),
            (Map::OneByte, 0xc3 | 0xc2) => Flow::Return,
            (Map::OneByte, 0xcf) if found.is_64_bit() => Flow::ReturnFromInterrupt,
            // Far and short-mode returns, `int3`, `sysret`, `ud2`, `sysexit`.
            (Map::OneByte, 0xca..=0xcc | 0xcf) | (Map::TwoByte, 0x07 | 0x0b | 0x35) => Flow::Stuck,
            (Map::OneByte, 0xff) if found.group() == 4 => {
                // A jump through a pointer at a fixed place leaves the function; others may be a switch.
                if found.is_relative_to_rip() && self.may_return() { Flow::Return } else { Flow::Stuck }
            }
            (Map::OneByte, 0xff) if found.group() == 5 => Flow::Stuck,
            (Map::OneByte, _) => {
                self.move_stack(found);
                Flow::Next
            }
            (Map::TwoByte, 0xa0 | 0xa8) => self.push(None),
            (Map::TwoByte, 0xa1 | 0xa9) => self.pop(None),
            _ => Flow::Next,
        }
    }

    /// What instructions of the one-byte map do to `rsp` and `rbp`.
    fn move_stack(&mut self, found: &Instruction) {
        let (register, other) = (found.register(), found.other_register());
        let immediate = found.immediate;
        match found.opcode {
            0x50..=0x57 => drop(self.push(Some(found.opcode_register()))),
            0x58..=0x5f => drop(self.pop(Some(found.opcode_register()))),
            0x68 | 0x6a | 0x9c => drop(self.push(None)),
            0x9d => drop(self.pop(None)),
            0xff if found.group() == 6 => drop(self.push(None)),
            0x8f => drop(self.pop(other)),
            0xc9 => {
                self.rsp = self.rbp;
                self.pop(Some(RBP));
            }
            0xc8 => self.rsp = Value::Lost,
            0x81 | 0x83 if other == Some(RSP) => match found.group() {
                0 => self.rsp = self.rsp.plus(immediate),
                5 => self.rsp = self.rsp.plus(immediate.wrapping_neg()),
                7 => {}
                _ => self.rsp = Value::Lost,
            },
            0x8d if register == Some(RSP) => self.rsp = self.address(found),
            0x8d if register == Some(RBP) => self.rbp = self.address(found),
            0x89 if other == Some(RSP) => self.rsp = self.copied(register, found),
            0x8b if register == Some(RSP) => self.rsp = self.copied(other, found),
            0x89 if other == Some(RBP) && register == Some(RSP) => self.rbp = self.copied(register, found),
            0x8b if register == Some(RBP) && other == Some(RSP) => self.rbp = self.copied(other, found),
            // Arithmetic with the stack pointer as its result: aligned, or of variable size.
            0x00..=0x37 if found.opcode & 4 == 0 => {
                let result = if found.opcode & 2 == 0 { other } else { register };
                if result == Some(RSP) {
                    self.rsp = Value::Lost;
                }
            }
            0x87 if register == Some(RSP) || other == Some(RSP) => self.rsp = Value::Lost,
            _ => {}
        }
    }

    /// The value that `lea` computes.
    fn address(&self, found: &Instruction) -> Value {
        match found.memory() {
            Some((RSP, distance)) if found.is_64_bit() => self.rsp.plus(i64::from(distance)),
            Some((RBP, distance)) if found.is_64_bit() => self.rbp.plus(i64::from(distance)),
            _ => Value::Lost,
        }
    }

    fn copied(&self, from: Option<u8>, found: &Instruction) -> Value {
        match from {
            Some(RSP) if found.is_64_bit() => self.rsp,
            Some(RBP) if found.is_64_bit() => self.rbp,
            _ => Value::Lost,
        }
    }

    fn push(&mut self, register: Option<u8>) -> Flow {
        self.rsp = self.rsp.plus(-8);
        if register == Some(RBP) {
            self.pushed = Some((self.rsp, self.rbp));
        }
        Flow::Next
    }

    fn pop(&mut self, register: Option<u8>) -> Flow {
        match register {
            Some(RBP) => {
                self.rbp = match (self.pushed, self.rsp) {
                    (Some((place, value)), rsp) if place == rsp => value,
                    (_, Value::Stack(offset)) if offset >= 0 => Value::AtStack(offset),
                    (_, Value::Frame(offset)) => Value::AtFrame(offset),
                    _ => Value::Lost,
                };
                self.rsp = self.rsp.plus(8);
            }
            Some(RSP) => self.rsp = Value::Lost,
            _ => self.rsp = self.rsp.plus(8),
        }
        Flow::Next
    }

    /// Whether the stack pointer is where a return address can be.
    fn may_return(&self) -> bool {
        match self.rsp {
            Value::Stack(offset) => offset >= 0,
            Value::Frame(offset) => offset >= 0,
            _ => false,
        }
    }

    /// The rule if `ret` is executed now.
    fn returned(&self) -> Option<Rule> {
        if !self.may_return() {
            return None;
        }
        let frame_rule = |cfa: i64| -> Option<(i32, i16)> {
            let rbp = match (self.rbp, self.rsp) {
                (Value::Frame(0), _) => 0,
                (Value::AtStack(at), Value::Stack(_)) | (Value::AtFrame(at), Value::Frame(_)) => {
                    i16::try_from(at.checked_sub(cfa)?).ok().filter(|at| *at != 0)?
                }
                _ => return None,
            };
            Some((i32::try_from(cfa).ok()?, rbp))
        };
        match self.rsp {
            Value::Stack(offset) => {
                let (cfa, rbp) = frame_rule(offset.checked_add(8)?)?;
                Some(Rule::FromStackPointer { cfa, rbp, source: RuleSource::Instructions })
            }
            Value::Frame(offset) => {
                let (cfa, rbp) = frame_rule(offset.checked_add(8)?)?;
                Some(Rule::FromFramePointer { cfa, rbp, source: RuleSource::FramePointer })
            }
            _ => None,
        }
    }

    /// The rule if `iretq` is executed now.
    fn returned_from_interrupt(&self) -> Option<Rule> {
        let Value::Stack(frame @ 0..) = self.rsp else { return None };
        let rbp = match self.rbp {
            Value::Frame(0) => 0,
            Value::AtStack(at) => i16::try_from(at.checked_sub(frame)?).ok().filter(|at| *at != 0)?,
            _ => return None,
        };
        Some(Rule::Interrupted { frame: i32::try_from(frame).ok()?, rbp })
    }
}
