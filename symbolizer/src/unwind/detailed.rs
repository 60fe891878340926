//! Frames with the registers that each of them had.

use crate::cfi::Rule;

use super::frame::UnwoundFrame;
use super::registers::{RBP, RIP, RSP, RegisterFile};
use super::restore;
use super::walk::{Context, Frames, Walk};

/// A frame, and what is known of the processor's state in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DetailedFrame {
    /// Where it is, and how it was found.
    pub frame: UnwoundFrame,
    /// Its registers. In a frame that made a call those that callees need not preserve are lost; at the leaf and where an
    /// interrupt came into the frame all are known that were saved.
    pub registers: RegisterFile,
    /// Its canonical frame address: the caller's stack pointer after the call returns. Locals are relative to it.
    pub cfa: Option<u64>,
}

impl<R: FnMut(u64) -> Option<u64>> Frames<R> for Vec<DetailedFrame> {
    fn push(&mut self, walk: &mut Walk<'_, R>, at: &Context) {
        let mut known = walk.known.unwrap_or([None; _]);
        // A walk that could not begin for want of a stack pointer has 0 in its place.
        let rsp = (at.rsp != 0).then_some(at.rsp);
        (known[RIP], known[RSP], known[RBP]) = (Some(at.rip), rsp, at.rbp);
        let registers = RegisterFile(known);
        self.push(DetailedFrame { frame: at.frame(), registers, cfa: walk.cfa(at, &registers) });
    }
}

impl<R: FnMut(u64) -> Option<u64>> Walk<'_, R> {
    fn cfa(&mut self, at: &Context, registers: &RegisterFile) -> Option<u64> {
        match self.unwinder.rule(at.rip, at.kind)? {
            Rule::FromStackPointer { cfa, .. } => {
                registers.rsp().map(|rsp| rsp.wrapping_add_signed(i64::from(cfa)))
            }
            Rule::FromFramePointer { cfa, .. } => {
                registers.rbp().map(|rbp| rbp.wrapping_add_signed(i64::from(cfa)))
            }
            rule @ (Rule::Complex { .. } | Rule::Outermost) => {
                let (cfi, row) = self.unwinder.row(at.lookup(), rule)?;
                restore::cfa(cfi, &row, &registers.0, &mut self.read).ok()
            }
            Rule::Interrupted { .. } | Rule::Damaged | Rule::Unknown => None,
        }
    }
}
