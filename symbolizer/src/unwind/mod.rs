//! Stacks without frame pointers: registers and a way to read the stack go in, frames and the reason for their end come
//! out. No I/O.
//!
//! A frame's caller is found by call-frame information (`.eh_frame`, `.debug_frame`, expressions and signal frames
//! included); where that does not cover the code, by its instructions, by the frame pointer, or by what lies on the
//! stack, and each frame says by which ([`FrameSource`]). The stack must rise with every frame but those of interrupts,
//! of which a few may switch stacks, and at most [`MAX_FRAMES`] frames are made of it: no content makes it loop.
//!
//! ```
//! use uniprof_symbolizer::{LoadBias, Registers, UnwindEnd, Unwinder, load};
//!
//! let image = load(std::env::current_exe()?)?;
//! let mut unwinder = Unwinder::new();
//! unwinder.add(&image, LoadBias::new(0x10000));
//! let registers = Registers { rip: 0x42, rsp: 0x8000, ..Registers::default() };
//! let snapshot = [0u64; 16];
//! let read = |at: u64| snapshot.get(usize::try_from(at.checked_sub(0x8000)?).ok()? / 8).copied();
//! let mut frames = Vec::new();
//! let end = unwinder.unwind(&registers, read, &mut frames);
//! assert_eq!((frames.len(), end.to_string().as_str()), (1, "no image has the code at 0x42"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod cache;
mod decode;
mod detailed;
mod frame;
mod guess;
mod instructions;
mod registers;
mod restore;
mod text;
mod walk;

use uniprof_wire::address::{GuestVirtual, LinkAddress};

use crate::address::{AddressKind, LoadBias};
use crate::cfi::{Cfi, Row, Rule};
use crate::code::Code;
use crate::image::Image;

pub(crate) use cache::RuleCache;
pub use detailed::DetailedFrame;
pub use frame::{FrameSource, Missing, UnwindEnd, UnwoundFrame};
pub(crate) use instructions::rule as rule_of_instructions;
pub use registers::RegisterFile;
pub(crate) use text::Text;
pub use uniprof_wire::record::Registers;

/// How many frames are made of one stack at most.
pub const MAX_FRAMES: usize = 512;

/// How often interrupts and signals may switch stacks: an NMI in a double fault in an interrupt on a signal's stack is
/// four.
const MAX_SWITCHES: u32 = 8;

/// Unwinds stacks of code of any number of images.
#[derive(Default)]
pub struct Unwinder {
    images: Vec<Loaded>,
    cache: RuleCache,
    /// The image that was used last.
    last: usize,
}

struct Loaded {
    bias: LoadBias,
    code: Code,
    cfi: Cfi,
    text: Text,
}

impl Unwinder {
    /// One that knows no image.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an image that the guest has loaded with `bias`.
    pub fn add(&mut self, image: &Image, bias: LoadBias) {
        self.images.push(Loaded { bias, code: image.code(), cfi: Cfi::new(image), text: Text::new(image) });
        self.cache = RuleCache::new();
    }

    /// The first damage that was found in any image's call-frame information; what lies before it is used.
    #[must_use]
    pub fn damage(&self) -> Option<&str> {
        self.images.iter().find_map(|image| image.cfi.damage())
    }

    /// Appends the frames of a stack, leaf first, and says why they end.
    ///
    /// `read` returns the eight bytes at a guest-virtual address as a little-endian number, `None` where they are not
    /// known. Stack pointers may be unaligned.
    pub fn unwind(
        &mut self,
        registers: &Registers,
        read: impl FnMut(u64) -> Option<u64>,
        frames: &mut Vec<UnwoundFrame>,
    ) -> UnwindEnd {
        walk::walk(self, registers, read, frames)
    }

    /// As [`Unwinder::unwind`], but from all registers as far as they are known, and each frame comes with its own: what the
    /// variables of a frame are found by. Slower by a factor of a few.
    pub fn unwind_with(
        &mut self,
        registers: &RegisterFile,
        read: impl FnMut(u64) -> Option<u64>,
        frames: &mut Vec<DetailedFrame>,
    ) -> UnwindEnd {
        walk::with_known(self, registers, read, frames)
    }

    /// The rule of a frame's instruction; `None` where no image has code.
    #[inline]
    fn rule(&mut self, address: u64, kind: AddressKind) -> Option<Rule> {
        let lookup = kind.lookup(GuestVirtual(address)).0;
        // That the kind is not part of the key does no harm: no instruction starts at a call's last byte.
        let cached = self.cache.get(lookup);
        if cached.is_some() { cached } else { self.find_rule(address, kind) }
    }

    #[cold]
    fn find_rule(&mut self, address: u64, kind: AddressKind) -> Option<Rule> {
        let lookup = kind.lookup(GuestVirtual(address)).0;
        let (image, link) = self.home(lookup)?;
        let rule = image.cfi.rule(link).unwrap_or_else(|| {
            let at = image.bias.to_link(GuestVirtual(address));
            // A call that is its function's last instruction does not return.
            let gone = kind == AddressKind::Return && image.text.function(at) == Some(at.0);
            let told = if gone { None } else { instructions::rule(&image.text, at) };
            told.unwrap_or(Rule::Unknown)
        });
        self.cache.put(lookup, rule);
        Some(rule)
    }

    /// The image whose code an address is.
    fn home(&mut self, address: u64) -> Option<(&mut Loaded, LinkAddress)> {
        let has = |image: &Loaded| image.code.contains(image.bias.to_link(GuestVirtual(address)));
        if !self.images.get(self.last).is_some_and(has) {
            self.last = self.images.iter().position(has)?;
        }
        let image = &mut self.images[self.last];
        let link = image.bias.to_link(GuestVirtual(address));
        Some((image, link))
    }

    /// The row that tells all about an address, if call-frame information is what its rule is from.
    fn row(&mut self, address: u64, rule: Rule) -> Option<(&Cfi, Row)> {
        let (image, link) = self.home(address)?;
        let row = match rule {
            Rule::Complex { index } => image.cfi.complex(index, link)?,
            _ => image.cfi.row(link)?.ok()?,
        };
        Some((&image.cfi, row))
    }
}
