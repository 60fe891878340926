//! Samples one by one where their times were kept, else summed by stack.

use crate::error::RenderError;
use crate::profile::{Amount, Owner, Profile, StackId, TimedSample};

/// A sample, or the sum of those that share stack and owner.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    /// Nanoseconds since the guest's boot; `None` of a sum.
    pub(super) at: Option<u64>,
    pub(super) stack: StackId,
    pub(super) owner: Owner,
    pub(super) amount: Amount,
}

/// The samples in the order of time, or the sums.
///
/// # Errors
///
/// [`RenderError::NoSamples`] where there are none.
pub(super) fn rows(profile: &Profile) -> Result<Vec<Row>, RenderError> {
    if profile.total().samples == 0 {
        return Err(RenderError::NoSamples);
    }
    let timed = profile.timeline().iter().map(|sample| Row {
        at: Some(sample.at),
        stack: sample.stack,
        owner: sample.owner,
        amount: Amount::sample(sample.weight),
    });
    if profile.timeline().is_empty() {
        let summed = profile.leaves().iter();
        return Ok(summed
            .map(|leaf| Row { at: None, stack: leaf.stack, owner: leaf.owner, amount: leaf.amount })
            .collect());
    }
    Ok(timed.collect())
}

/// The samples in the order of time, for a format that cannot do without.
///
/// # Errors
///
/// [`RenderError::NoSamples`], or [`RenderError::NoTimes`] where times were not kept.
pub(super) fn timed<'a>(
    profile: &'a Profile,
    format: &'static str,
) -> Result<&'a [TimedSample], RenderError> {
    if profile.total().samples == 0 {
        return Err(RenderError::NoSamples);
    }
    if profile.timeline().is_empty() {
        return Err(RenderError::NoTimes { format });
    }
    Ok(profile.timeline())
}
