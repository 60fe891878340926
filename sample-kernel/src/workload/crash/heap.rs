//! `crash-heap`: a header is copied into a buffer that is too short for it, over the allocator's own notes behind the buffer. The
//! allocator fails later, when the buffer is given back.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::hint::black_box;

use super::frontend::Request;

const BUFFER_BYTES: usize = 216;
/// Bytes of the allocator between two neighbours of this size.
const TAG_BYTES: usize = 8;
const TEXT: &[u8; 64] = b"Cookie: session=abcdef; cache=no; user=admin; path=/ledger; x=1;";

type Buffer = Box<[u8; BUFFER_BYTES]>;

#[inline(never)]
pub(super) fn parse_headers(request: &Request) -> u64 {
    let buffer = buffer_below_free_memory();
    let copied = copy_header(black_box(buffer), TEXT, request.id);
    black_box((request, copied));
    copied
}

/// A buffer whose upper neighbour has been given back: what lies there is the allocator's.
#[inline(never)]
fn buffer_below_free_memory() -> Buffer {
    let mut buffers: Vec<Buffer> = (0..64).map(|_| Box::new([0; BUFFER_BYTES])).collect();
    let address = |buffer: &Buffer| buffer.as_ptr().addr();
    let apart = BUFFER_BYTES + TAG_BYTES;
    let lower = (0..buffers.len() - 1)
        .find(|&i| address(&buffers[i]) + apart == address(&buffers[i + 1]))
        .expect("two of many buffers are neighbours");
    // What is kept stays allocated, so that nothing below the buffer is free.
    let mut kept = buffers.split_off(lower);
    buffers.extend(kept.drain(2..));
    drop(kept.pop());
    core::mem::forget(buffers);
    kept.swap_remove(0)
}

#[inline(never)]
fn copy_header(mut buffer: Buffer, text: &[u8], request: u64) -> u64 {
    let start = BUFFER_BYTES - 24;
    for (i, &byte) in text.iter().enumerate() {
        // SAFETY: none, this is the crash: the last 40 bytes lie beyond the buffer.
        unsafe { black_box(buffer.as_mut_ptr()).add(start + i).write(byte) };
    }
    let used = start + text.len();
    release_buffer(buffer, used);
    black_box((text, request));
    used as u64
}

#[inline(never)]
fn release_buffer(buffer: Buffer, used: usize) {
    black_box(used);
    drop(black_box(buffer));
    black_box(used);
}
