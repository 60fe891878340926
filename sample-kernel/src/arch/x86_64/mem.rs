//! The memory functions that the compiler calls, which a C library has elsewhere. String instructions: a loop would be
//! turned into a call of the very function that it implements.

use core::arch::asm;

/// # Safety
/// As C's `memcpy`.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(destination: *mut u8, source: *const u8, bytes: usize) -> *mut u8 {
    // SAFETY: the caller hands over both ranges; the direction flag is clear by the calling convention.
    unsafe {
        asm!(
            "rep movsq", "mov rcx, {tail}", "rep movsb",
            tail = in(reg) bytes & 7, inout("rcx") bytes >> 3 => _,
            inout("rdi") destination => _, inout("rsi") source => _, options(nostack, preserves_flags)
        );
    }
    destination
}

/// # Safety
/// As C's `memmove`.
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(destination: *mut u8, source: *const u8, bytes: usize) -> *mut u8 {
    if destination.addr().wrapping_sub(source.addr()) >= bytes {
        // SAFETY: copying upward never overwrites what it has yet to read; otherwise as the caller promises.
        return unsafe { memcpy(destination, source, bytes) };
    }
    // SAFETY: downward from the last byte, and the direction flag is cleared again.
    unsafe {
        asm!(
            "std", "rep movsb", "cld",
            inout("rcx") bytes => _, inout("rdi") destination.wrapping_add(bytes).wrapping_sub(1) => _,
            inout("rsi") source.wrapping_add(bytes).wrapping_sub(1) => _, options(nostack)
        );
    }
    destination
}

/// # Safety
/// As C's `memset`.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(destination: *mut u8, value: i32, bytes: usize) -> *mut u8 {
    let pattern = u64::from(value as u8) * 0x0101_0101_0101_0101;
    // SAFETY: the caller hands over the range; the direction flag is clear by the calling convention.
    unsafe {
        asm!(
            "rep stosq", "mov rcx, {tail}", "rep stosb",
            tail = in(reg) bytes & 7, inout("rcx") bytes >> 3 => _,
            inout("rdi") destination => _, in("rax") pattern, options(nostack, preserves_flags)
        );
    }
    destination
}

/// # Safety
/// As C's `memcmp`.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(left: *const u8, right: *const u8, bytes: usize) -> i32 {
    for index in 0..bytes {
        // SAFETY: the caller hands over both ranges.
        let (a, b) = unsafe { (*left.add(index), *right.add(index)) };
        if a != b {
            return i32::from(a) - i32::from(b);
        }
    }
    0
}

/// # Safety
/// As C's `bcmp`.
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(left: *const u8, right: *const u8, bytes: usize) -> i32 {
    // SAFETY: as the caller promises.
    unsafe { memcmp(left, right, bytes) }
}
