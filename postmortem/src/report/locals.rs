//! Arguments and locals of the frames that a verdict is about.

use serde::Serialize;

use crate::print::{self, FrameContext, Variable};
use crate::stacks::{Stack, StackFrame};
use crate::subject::Subject;
use crate::verdict::Verdict;

/// Functions whose variables are shown: the one to blame, and those that led there.
const FUNCTIONS: usize = 4;

/// The variables of one function.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FunctionLocals {
    /// The function.
    pub function: String,
    /// Its place among the frames of the stack, from 0.
    pub frame: usize,
    /// Arguments first.
    pub variables: Vec<Variable>,
}

/// The variables of the function to blame, and of those that led there. What is not known is a remark.
pub(super) fn of(
    subject: &mut Subject,
    stack: &Stack,
    verdict: &Verdict,
    remarks: &mut Vec<String>,
) -> Vec<FunctionLocals> {
    let blamed = |frame: &StackFrame| frame.function.as_deref() == verdict.function.as_deref();
    let Some(first) = stack.frames.iter().position(|frame| frame.function.is_some() && blamed(frame)) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for (index, frame) in stack.frames.iter().enumerate().skip(first) {
        if found.len() == FUNCTIONS {
            break;
        }
        let inlined = stack.frames[..index].iter().filter(|other| other.depth == frame.depth).count();
        let Some(function) = frame.function.as_deref() else { continue };
        let Some(context) = FrameContext::of(&stack.unwound, frame.depth, inlined) else { continue };
        match print::locals(subject, &context) {
            Ok(variables) if variables.is_empty() => {}
            Ok(variables) => {
                found.push(FunctionLocals { function: function.to_owned(), frame: index, variables });
            }
            Err(why) => {
                remarks.push(format!("the variables of {function} are not known: {why}"));
                break;
            }
        }
    }
    found
}
