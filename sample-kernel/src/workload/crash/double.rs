//! `crash-double`: somebody made page faults use the stack of whoever faults. When `visit_directory` runs over the end of its stack, the
//! page fault has nowhere to go either: a double fault, which has a stack of its own.

use core::hint::black_box;

use super::frontend::Request;
use crate::arch;

/// A directory that contains itself.
struct Directory {
    inode: u64,
    child: *const Directory,
}

#[inline(never)]
pub(super) fn count_files(request: &Request) -> u64 {
    // SAFETY: none, this is the crash.
    unsafe { arch::take_stack_from_page_faults() };
    let mut root = Directory { inode: request.id, child: core::ptr::null() };
    root.child = &raw const root;
    let files = visit_directory(black_box(&root), 0);
    black_box((&root, request, files));
    files
}

#[inline(never)]
fn visit_directory(directory: &Directory, depth: u32) -> u64 {
    let entries = [directory.inode, u64::from(depth), 0, 0];
    black_box(&entries);
    // SAFETY: null, or the directory itself.
    let files = match unsafe { directory.child.as_ref() } {
        Some(child) => black_box(visit_directory(black_box(child), depth + 1)),
        None => 0,
    };
    black_box((&entries, directory));
    files + 1
}
