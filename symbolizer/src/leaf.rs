//! The leaf's caller, which a walk along frame pointers can miss.
//!
//! A walk from `rbp` finds the caller of the function that last set `rbp`. Where the sampled instruction lies in a leaf
//! function without a frame (GCC leaves it out even with `-fno-omit-frame-pointer`), before `mov rbp, rsp`, or after
//! `pop rbp`, that is not the sampled function but its caller, and the caller itself is silently missing. Call-frame
//! information tells where the return address is at each instruction, and the sample holds the top of the stack.

use std::fmt;

use uniprof_wire::address::GuestVirtual;

use crate::address::LoadBias;
use crate::cfi::{Cfi, Rule};
use crate::code::Code;
use crate::image::Image;
use crate::unwind::{RuleCache, Text, rule_of_instructions};

/// Where the return address of the sampled function is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeafRule {
    /// At `rbp + 8`: the walk along frame pointers has it.
    FrameEstablished,
    /// On the stack, while `rbp` belongs to a caller.
    ReturnAddressAt {
        /// Distance from the stack pointer in bytes.
        offset_from_sp: u32,
    },
    /// Not known.
    Unknown(LeafReason),
}

/// Why a missing caller could not be found or excluded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum LeafReason {
    /// The image has no call-frame information.
    NoCallFrameInfo,
    /// The image's call-frame information leaves this address out, as is usual for assembly code.
    NotCovered,
    /// The function says that nobody called it.
    Outermost,
    /// The rule is neither relative to `rsp` nor to `rbp`: a realigned stack, a PLT entry, a signal frame.
    Other,
    /// The call-frame information of the function is damaged.
    Damaged,
    /// The return address lies deeper than the part of the stack that was sampled.
    BeyondSample,
    /// What lies where the return address should be points to no code.
    NotCode,
}

impl fmt::Display for LeafReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoCallFrameInfo => "the image has no call-frame information",
            Self::NotCovered => "call-frame information leaves the address out",
            Self::Outermost => "nobody called the function",
            Self::Other => "the rule is relative to another register",
            Self::Damaged => "the function's call-frame information is damaged",
            Self::BeyondSample => "the return address lies below the sampled part of the stack",
            Self::NotCode => "the return address points to no code",
        })
    }
}

/// What the guest sampled, as far as the leaf is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leaf<'a> {
    /// The sampled instruction.
    pub rip: GuestVirtual,
    /// The stack pointer.
    pub rsp: u64,
    /// The frame pointer.
    pub rbp: u64,
    /// The words from `rsp` upward.
    pub stack: &'a [u64],
    /// The return addresses of the walk along frame pointers.
    pub frames: &'a [u64],
}

/// What is to be done with a sample's frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repair {
    /// The walk has the leaf's caller.
    NotNeeded,
    /// This return address belongs before the first frame of the walk.
    Insert(GuestVirtual),
    /// Whether a caller is missing is not known.
    Impossible(LeafReason),
}

impl Repair {
    /// The caller to insert.
    #[must_use]
    pub fn caller(self) -> Option<GuestVirtual> {
        match self {
            Self::Insert(caller) => Some(caller),
            Self::NotNeeded | Self::Impossible(_) => None,
        }
    }
}

/// The rules of an image, with a cache of the addresses that were asked last: one slot an address can be in.
pub struct LeafRules {
    cfi: Cfi,
    bias: LoadBias,
    code: Code,
    text: Text,
    cache: RuleCache,
}

impl LeafRules {
    /// The rules of an image that the guest has loaded with `bias`.
    #[must_use]
    pub fn new(image: &Image, bias: LoadBias) -> Self {
        let (cfi, text) = (Cfi::new(image), Text::new(image));
        Self { cfi, bias, code: image.code(), text, cache: RuleCache::new() }
    }

    /// The first damage that was found in the call-frame information; what lies before it is used.
    #[must_use]
    pub fn damage(&self) -> Option<&str> {
        self.cfi.damage()
    }

    /// Where the return address is when the guest is at `rip`.
    #[inline]
    pub fn caller_of_leaf(&mut self, rip: GuestVirtual) -> LeafRule {
        let address = self.bias.to_link(rip);
        let rule = match self.cache.get(address.0) {
            Some(rule) => rule,
            None => {
                let told = self.cfi.rule(address).or_else(|| rule_of_instructions(&self.text, address));
                let rule = told.unwrap_or(Rule::Unknown);
                self.cache.put(address.0, rule);
                rule
            }
        };
        match rule {
            Rule::FromFramePointer { cfa: 16, .. } => LeafRule::FrameEstablished,
            Rule::FromStackPointer { cfa, .. } => match u32::try_from(i64::from(cfa) - 8) {
                Ok(offset_from_sp) => LeafRule::ReturnAddressAt { offset_from_sp },
                Err(_) => LeafRule::Unknown(LeafReason::Other),
            },
            Rule::Outermost => LeafRule::Unknown(LeafReason::Outermost),
            Rule::FromFramePointer { .. } | Rule::Complex { .. } | Rule::Interrupted { .. } => {
                LeafRule::Unknown(LeafReason::Other)
            }
            Rule::Damaged => LeafRule::Unknown(LeafReason::Damaged),
            Rule::Unknown if self.cfi.is_empty() => LeafRule::Unknown(LeafReason::NoCallFrameInfo),
            Rule::Unknown => LeafRule::Unknown(LeafReason::NotCovered),
        }
    }

    /// Whether the leaf's caller is missing from the frames of a sample, and which it is.
    #[inline]
    pub fn repair(&mut self, leaf: &Leaf<'_>) -> Repair {
        let offset = match self.caller_of_leaf(leaf.rip) {
            LeafRule::FrameEstablished => return Repair::NotNeeded,
            LeafRule::Unknown(reason) => return Repair::Impossible(reason),
            LeafRule::ReturnAddressAt { offset_from_sp } => offset_from_sp,
        };
        let word = if offset.is_multiple_of(8) { leaf.stack.get(offset as usize / 8) } else { None };
        let Some(&caller) = word else { return Repair::Impossible(LeafReason::BeyondSample) };
        // Code that sets up `rbp` without telling: the walk has read this very word. Comparing values alone would take
        // away a level of a recursion whose callers are all the same call.
        let slot = leaf.rsp.wrapping_add(u64::from(offset));
        if slot == leaf.rbp.wrapping_add(8) && leaf.frames.first() == Some(&caller) {
            return Repair::NotNeeded;
        }
        // A call may be the last instruction of its section, so the byte before is what must be code.
        let call = self.bias.to_link(GuestVirtual(caller.wrapping_sub(1)));
        if self.code.contains(call) {
            Repair::Insert(GuestVirtual(caller))
        } else {
            Repair::Impossible(LeafReason::NotCode)
        }
    }
}
