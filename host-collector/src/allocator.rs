//! How soon this process gives memory that it has freed back to the host.

/// Allocations of so many bytes have pages of their own, which go back as soon as they are freed.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const OWN_PAGES: libc::c_int = 64 << 10;
/// Free bytes at the end of the heap that are kept.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const KEPT: libc::c_int = 128 << 10;

/// Has freed memory given back at once, as far as the allocator can be told so.
///
/// By itself glibc raises both limits up to 32 and 64 MiB as a process frees ever larger pieces, see mallopt(3). One that makes and drops
/// pictures of some megabytes for hours then keeps pages that nothing lies in.
pub fn give_back_early() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: mallopt takes numbers, and its own locks; what it refuses stays as it was.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, OWN_PAGES);
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT);
    }
}
