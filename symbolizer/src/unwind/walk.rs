//! From frame to frame.

use uniprof_wire::address::GuestVirtual;

use crate::address::AddressKind;
use crate::cfi::{Rule, RuleSource};

use super::Registers;
use super::frame::{FrameSource, Missing, UnwindEnd, UnwoundFrame};
use super::registers::{Known, RBP, RIP, RSP, RegisterFile};
use super::restore::{self, Trouble};
use super::{MAX_FRAMES, MAX_SWITCHES, Unwinder};

/// Why a walk stopped before its end.
enum Stop {
    End(UnwindEnd),
    /// A rule needs a register that was not kept track of.
    NeedsRegisters,
}

impl From<UnwindEnd> for Stop {
    fn from(end: UnwindEnd) -> Self {
        Self::End(end)
    }
}

/// What is known of a frame.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context {
    pub(super) rip: u64,
    pub(super) rsp: u64,
    pub(super) rbp: Option<u64>,
    pub(super) kind: AddressKind,
    /// How it was found.
    pub(super) found: FrameSource,
}

impl Context {
    pub(super) fn lookup(&self) -> u64 {
        self.kind.lookup(GuestVirtual(self.rip)).0
    }
}

/// A walk up one stack. Nearly all rules need `rsp` and `rbp` only, so nothing else is restored at first; if one needs
/// another register, the walk is made again with all of them.
pub(super) struct Walk<'a, R> {
    pub(super) unwinder: &'a mut Unwinder,
    pub(super) read: R,
    /// All registers, where they are kept track of.
    pub(super) known: Option<Known>,
    /// How often the stack was left for another one.
    switches: u32,
}

pub(super) fn walk(
    unwinder: &mut Unwinder,
    registers: &Registers,
    mut read: impl FnMut(u64) -> Option<u64>,
    frames: &mut Vec<UnwoundFrame>,
) -> UnwindEnd {
    let first = frames.len();
    let leaf = Context::leaf(registers.rip, registers.rsp, Some(registers.rbp));
    let mut light = Walk { unwinder, read: &mut read, known: None, switches: 0 };
    match light.run(leaf, frames) {
        Ok(end) | Err(Stop::End(end)) => return end,
        Err(Stop::NeedsRegisters) => frames.truncate(first),
    }
    with_known(unwinder, &RegisterFile::from(registers), read, frames)
}

/// The walk that keeps track of all registers.
pub(super) fn with_known<R: FnMut(u64) -> Option<u64>>(
    unwinder: &mut Unwinder,
    registers: &RegisterFile,
    read: R,
    frames: &mut impl Frames<R>,
) -> UnwindEnd {
    let missing = |register: usize| {
        let address = GuestVirtual(registers.rip().unwrap_or(0));
        UnwindEnd::NoRule { address, missing: Missing::Register(register as u16) }
    };
    let Some(rip) = registers.rip() else { return missing(RIP) };
    let mut walk = Walk { unwinder, read, known: Some(registers.0), switches: 0 };
    let Some(rsp) = registers.rsp() else {
        frames.push(&mut walk, &Context::leaf(rip, 0, registers.rbp()));
        return missing(RSP);
    };
    match walk.run(Context::leaf(rip, rsp, registers.rbp()), frames) {
        Ok(end) | Err(Stop::End(end)) => end,
        // Not with all of them known.
        Err(Stop::NeedsRegisters) => UnwindEnd::Damaged,
    }
}

/// Where the frames of a walk go.
pub(super) trait Frames<R> {
    /// Takes one, which the walk has just reached.
    fn push(&mut self, walk: &mut Walk<'_, R>, at: &Context);
}

impl<R> Frames<R> for Vec<UnwoundFrame> {
    #[inline(always)]
    fn push(&mut self, _: &mut Walk<'_, R>, at: &Context) {
        self.push(at.frame());
    }
}

impl<R: FnMut(u64) -> Option<u64>> Walk<'_, R> {
    fn run(&mut self, leaf: Context, frames: &mut impl Frames<R>) -> Result<UnwindEnd, Stop> {
        let (mut at, mut count) = (leaf, 1);
        frames.push(self, &at);
        let mut rule = self.unwinder.rule(at.rip, at.kind);
        let light = self.known.is_none();
        loop {
            let mut caller = match rule {
                Some(Rule::FromStackPointer { cfa, rbp, source }) if light => {
                    self.called(&at, at.rsp, cfa, rbp, source)?
                }
                Some(Rule::FromFramePointer { cfa, rbp, source }) if light => {
                    let base = at.rbp.ok_or(Stop::NeedsRegisters)?;
                    self.called(&at, base, cfa, rbp, source)?
                }
                other => self.seldom(&at, other)?,
            };
            rule = self.unwinder.rule(caller.rip, caller.kind);
            if rule.is_none() && caller.kind == AddressKind::Return {
                caller = self.second_thought(&at, caller)?;
                rule = self.unwinder.rule(caller.rip, caller.kind);
            }
            if caller.rsp <= at.rsp {
                self.switch_stack(&caller)?;
            }
            if count >= MAX_FRAMES {
                return Ok(UnwindEnd::Depth);
            }
            count += 1;
            frames.push(self, &caller);
            at = caller;
        }
    }

    /// The caller of a frame that was called.
    #[inline(always)]
    fn called(
        &mut self,
        at: &Context,
        base: u64,
        cfa: i32,
        rbp: i16,
        source: RuleSource,
    ) -> Result<Context, UnwindEnd> {
        let rsp = base.wrapping_add_signed(i64::from(cfa));
        let rip = (self.read)(rsp.wrapping_sub(8)).ok_or(UnwindEnd::BeyondStack)?;
        let saved = rsp.wrapping_add_signed(i64::from(rbp));
        // What lies below the stack pointer has been popped already; compilers do not always say so.
        let rbp = if rbp == 0 || saved < at.rsp { at.rbp } else { (self.read)(saved) };
        Ok(Context { rip, rsp, rbp, kind: AddressKind::Return, found: source.into() })
    }

    /// Only what interrupts code may go on elsewhere than further up the same stack.
    #[cold]
    fn switch_stack(&mut self, caller: &Context) -> Result<(), UnwindEnd> {
        self.switches += 1;
        let interrupted = caller.kind == AddressKind::Instruction;
        if interrupted && self.switches <= MAX_SWITCHES { Ok(()) } else { Err(UnwindEnd::NotRising) }
    }

    /// What to do with a return address that is no code's.
    #[cold]
    #[inline(never)]
    fn second_thought(&mut self, at: &Context, caller: Context) -> Result<Context, UnwindEnd> {
        match caller.found {
            _ if caller.rsp <= at.rsp => Err(UnwindEnd::NotRising),
            _ if caller.rip == 0 => Err(UnwindEnd::Root),
            // What instructions tell is less sure.
            FrameSource::Prologue | FrameSource::FramePointer => {
                self.guess(at, true).map_err(|_| UnwindEnd::NotCode { address: caller.rip })
            }
            _ => Err(UnwindEnd::NotCode { address: caller.rip }),
        }
    }

    #[cold]
    #[inline(never)]
    fn seldom(&mut self, at: &Context, rule: Option<Rule>) -> Result<Context, Stop> {
        match rule {
            Some(Rule::Outermost) => Err(UnwindEnd::Root.into()),
            Some(Rule::Damaged) => Err(UnwindEnd::Damaged.into()),
            Some(Rule::Unknown) | None => self.guess(at, rule.is_some()).map_err(Stop::End),
            Some(Rule::Interrupted { frame, rbp }) => Ok(self.interrupted(at, frame, rbp)?),
            Some(rule) => self.by_row(at, rule),
        }
    }

    /// The code that an interrupt came into, by what the processor pushed.
    fn interrupted(&mut self, at: &Context, frame: i32, rbp: i16) -> Result<Context, UnwindEnd> {
        let frame = at.rsp.wrapping_add_signed(i64::from(frame));
        let mut word = |at: u64| (self.read)(at).ok_or(UnwindEnd::BeyondStack);
        let (rip, rsp) = (word(frame)?, word(frame.wrapping_add(24))?);
        let saved = frame.wrapping_add_signed(i64::from(rbp));
        let rbp = if rbp == 0 || saved < at.rsp { at.rbp } else { (self.read)(saved) };
        self.forget_registers();
        Ok(Context { rip, rsp, rbp, kind: AddressKind::Instruction, found: FrameSource::Prologue })
    }

    /// By the full row of call-frame information.
    fn by_row(&mut self, at: &Context, rule: Rule) -> Result<Context, Stop> {
        let mut known = self.known.unwrap_or([None; _]);
        (known[RIP], known[RSP], known[RBP]) = (Some(at.rip), Some(at.rsp), at.rbp);
        let (cfi, row) = match self.unwinder.row(at.lookup(), rule) {
            Some(found) => found,
            None => return self.by_instructions(at, rule),
        };
        let caller = match restore::caller(cfi, &row, &known, &mut self.read) {
            Ok(caller) => caller,
            Err(Trouble::Register(_)) if self.known.is_none() => return Err(Stop::NeedsRegisters),
            Err(trouble) => return Err(end(trouble, at).into()),
        };
        if self.known.is_none() && caller[RBP].is_none() && at.rbp.is_some() {
            return Err(Stop::NeedsRegisters);
        }
        let (rip, rsp) = (caller[RIP].unwrap_or(0), caller[RSP].unwrap_or(0));
        let kind = if row.signal { AddressKind::Instruction } else { AddressKind::Return };
        if self.known.is_some() {
            self.known = Some(caller);
        }
        Ok(Context { rip, rsp, rbp: caller[RBP], kind, found: FrameSource::Cfi })
    }

    /// The same by a rule that is not from call-frame information, while all registers are kept track of.
    fn by_instructions(&mut self, at: &Context, rule: Rule) -> Result<Context, Stop> {
        let no_frame_pointer = no_rule(at, Missing::Register(RBP as u16));
        let caller = match rule {
            Rule::FromStackPointer { cfa, rbp, source } => self.called(at, at.rsp, cfa, rbp, source)?,
            Rule::FromFramePointer { cfa, rbp, source } => {
                self.called(at, at.rbp.ok_or(no_frame_pointer)?, cfa, rbp, source)?
            }
            _ => return Err(UnwindEnd::Damaged.into()),
        };
        self.forget_registers();
        Ok(caller)
    }

    /// Code without call-frame information saves registers where nobody tells.
    pub(super) fn forget_registers(&mut self) {
        if let Some(known) = &mut self.known {
            *known = [None; _];
        }
    }
}

impl Context {
    fn leaf(rip: u64, rsp: u64, rbp: Option<u64>) -> Self {
        Self { rip, rsp, rbp, kind: AddressKind::Instruction, found: FrameSource::Leaf }
    }

    pub(super) fn frame(&self) -> UnwoundFrame {
        UnwoundFrame { address: GuestVirtual(self.rip), kind: self.kind, found: self.found }
    }
}

impl From<RuleSource> for FrameSource {
    #[inline]
    fn from(source: RuleSource) -> Self {
        match source {
            RuleSource::Cfi => Self::Cfi,
            RuleSource::Instructions => Self::Prologue,
            RuleSource::FramePointer => Self::FramePointer,
        }
    }
}

pub(super) fn no_rule(at: &Context, missing: Missing) -> UnwindEnd {
    UnwindEnd::NoRule { address: GuestVirtual(at.rip), missing }
}

fn end(trouble: Trouble, at: &Context) -> UnwindEnd {
    match trouble {
        Trouble::Outermost => UnwindEnd::Root,
        Trouble::Register(number) => no_rule(at, Missing::Register(number)),
        Trouble::Memory => UnwindEnd::BeyondStack,
        Trouble::Damaged => UnwindEnd::Damaged,
    }
}
