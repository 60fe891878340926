//! The files whose code the frames of a profile are.

use std::ops::Range;

/// The index of an image in its [`Profile`](crate::Profile).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageId(pub(crate) u32);

/// One executable that the guest had loaded: a kernel, an application, a library.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Image {
    /// Its file name.
    pub name: String,
    /// Its build-id, in hexadecimal.
    pub build_id: Option<String>,
    /// Where the guest had it: guest-virtual addresses.
    pub range: Range<u64>,
    /// Guest-virtual less link-time address, wrapping.
    pub bias: u64,
}
