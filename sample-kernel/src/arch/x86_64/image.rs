//! The kernel's own ELF image in memory.

use core::slice;

/// Where it lies, and which build it is.
pub(crate) struct Image {
    pub(crate) build_id: &'static [u8],
    pub(crate) start: usize,
    pub(crate) end: usize,
}

unsafe extern "C" {
    static __kernel_start: u8;
    static __kernel_end: u8;
    static __build_id_start: u8;
    static __build_id_end: u8;
}

/// Lengths of name and descriptor, type, and the name "GNU" with its zero.
const NOTE_HEADER_BYTES: usize = 16;

pub(crate) fn image() -> Image {
    let start = &raw const __build_id_start;
    let bytes = (&raw const __build_id_end).addr() - start.addr();
    // SAFETY: the linker script put the whole note between the two symbols.
    let note = unsafe { slice::from_raw_parts(start, bytes) };
    Image {
        build_id: note.get(NOTE_HEADER_BYTES..).unwrap_or_default(),
        start: (&raw const __kernel_start).addr(),
        end: (&raw const __kernel_end).addr(),
    }
}
