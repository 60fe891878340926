//! From guest-virtual to link-time addresses, and what an address in a stack points to.

use std::fmt;

use uniprof_wire::address::{GuestVirtual, LinkAddress};

/// By how much the guest's addresses lie above those that the linker wrote. Zero in images that are not relocated;
/// arithmetic wraps, since an image may also be loaded below its link address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct LoadBias(u64);

impl LoadBias {
    /// The bias of an image that runs where it was linked.
    pub const NONE: Self = Self(0);

    /// A bias of `bytes`.
    #[must_use]
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The bias under which the image's `link` address is found at `guest`.
    #[must_use]
    pub const fn between(link: LinkAddress, guest: GuestVirtual) -> Self {
        Self(guest.0.wrapping_sub(link.0))
    }

    /// Its value in bytes.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Where the image has what the guest has at `guest`.
    #[must_use]
    pub const fn to_link(self, guest: GuestVirtual) -> LinkAddress {
        LinkAddress(guest.0.wrapping_sub(self.0))
    }

    /// Where the guest has what the image has at `link`.
    #[must_use]
    pub const fn to_guest(self, link: LinkAddress) -> GuestVirtual {
        GuestVirtual(link.0.wrapping_add(self.0))
    }
}

impl fmt::Display for LoadBias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// What a code address of a stack is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AddressKind {
    /// The address of the instruction itself: the leaf's instruction pointer.
    Instruction,
    /// The address after a call. The call may have been the last instruction of a function or of an inlined body, so
    /// what is looked up is the byte before.
    Return,
}

impl AddressKind {
    /// The address whose function and line are meant.
    #[must_use]
    pub const fn lookup(self, address: GuestVirtual) -> GuestVirtual {
        match self {
            Self::Instruction => address,
            Self::Return => GuestVirtual(address.0.saturating_sub(1)),
        }
    }
}
