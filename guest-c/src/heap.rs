//! The heap.

use core::ffi::c_void;

use uniprof_probes as probe;

/// Tells that a block has been allocated, after it was. Not from NMIs.
#[unsafe(no_mangle)]
pub extern "C" fn uniprof_allocated(block: *const c_void, bytes: usize) {
    probe::allocated(block.addr(), bytes);
}

/// Tells that a block is given back, before it is, with the bytes that it was allocated with. Not from NMIs.
#[unsafe(no_mangle)]
pub extern "C" fn uniprof_freed(block: *const c_void, bytes: usize) {
    probe::freed(block.addr(), bytes);
}
