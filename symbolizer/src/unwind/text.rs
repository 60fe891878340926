//! The instructions of an image, and where its functions start.

use std::ops::Range;
use std::sync::OnceLock;

use uniprof_wire::address::LinkAddress;

use crate::image::Image;
use crate::store::{Content, Store};

use super::decode::Instruction;

/// The code of an image as far as the file holds it: an image whose code was left out has none. It is read when it is
/// first asked for.
pub(crate) struct Text {
    file: Store,
    parts: Vec<Part>,
    /// Where symbols of code are, in order.
    starts: Vec<u64>,
    entry: u64,
}

/// Code and where in the file it lies.
struct Part {
    addresses: Range<u64>,
    file: Range<usize>,
    content: OnceLock<Option<Content>>,
}

/// A call that returns to some address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    To(u64),
    /// Where to is not in the instruction.
    Indirect,
}

impl Text {
    pub(crate) fn new(image: &Image) -> Self {
        let part = |address: u64, file: &Range<usize>| Part {
            addresses: address..address.saturating_add(file.len() as u64),
            file: file.clone(),
            content: OnceLock::new(),
        };
        let code = image.sections.iter().filter(|section| section.allocated && section.executable);
        let mut parts: Vec<_> = code.map(|section| part(section.address.0, &section.file)).collect();
        if image.sections.is_empty() {
            let code = image.segments().iter().filter(|segment| segment.executable);
            parts = code.map(|segment| part(segment.address.0, &segment.file)).collect();
        }
        parts.retain(|part| !part.file.is_empty());
        parts.sort_by_key(|part| part.addresses.start);
        let sources = image.symbol_sources();
        let symbols = sources.flat_map(|source| source.symbols().code_addresses()).collect();
        let starts = function_starts(symbols);
        Self { file: image.file.clone(), parts, starts, entry: image.entry().0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// The code before an address and that from it on, both to the ends of the section.
    fn around(&self, address: u64) -> Option<(&[u8], &[u8])> {
        let after = self.parts.partition_point(|part| part.addresses.start <= address);
        let part = &self.parts[after.checked_sub(1)?];
        let offset = usize::try_from(address - part.addresses.start).ok()?;
        let content = part.content.get_or_init(|| self.file.content(part.file.clone()).ok());
        content.as_ref()?.split_at_checked(offset)
    }

    pub(super) fn instruction(&self, address: u64) -> Option<Instruction> {
        Instruction::decode(self.around(address)?.1)
    }

    /// Where the function starts that an address is in, as far as symbols tell.
    pub(super) fn function(&self, address: LinkAddress) -> Option<u64> {
        let after = self.starts.partition_point(|start| *start <= address.0);
        self.starts[..after].last().copied()
    }

    /// Whether it is where the guest was entered.
    pub(super) fn is_entry(&self, address: LinkAddress) -> bool {
        self.function(address).map_or(address.0 == self.entry, |start| start == self.entry)
    }

    /// The call that returns to an address.
    pub(super) fn call_before(&self, address: LinkAddress) -> Option<Call> {
        let (before, _) = self.around(address.0)?;
        if let [.., 0xe8, a, b, c, d] = before {
            let distance = i64::from(i32::from_le_bytes([*a, *b, *c, *d]));
            return Some(Call::To(address.0.wrapping_add_signed(distance)));
        }
        // FF /2 with any operand: two to seven bytes.
        let indirect = (2..=7).any(|length| {
            let Some(code) = before.len().checked_sub(length).map(|start| &before[start..]) else {
                return false;
            };
            let decoded = code.first().filter(|byte| **byte == 0xff).and_then(|_| Instruction::decode(code));
            decoded.is_some_and(|found| found.length == length as u64 && found.group() == 2)
        });
        indirect.then_some(Call::Indirect)
    }
}

/// Where functions start: labels within one are none.
fn function_starts(mut symbols: Vec<(u64, u64)>) -> Vec<u64> {
    symbols.sort_unstable();
    let mut starts = Vec::with_capacity(symbols.len());
    let mut end = 0;
    for (address, size) in symbols {
        if size > 0 || address >= end {
            starts.push(address);
        }
        end = end.max(address.saturating_add(size));
    }
    starts.dedup();
    starts
}
