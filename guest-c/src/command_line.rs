//! What `uniprof record` and `uniprof run` write at the end of a kernel's command line.

use core::ffi::c_char;

use uniprof_probes::Class;

use crate::config::Config;
use crate::text::bytes_of;

/// Takes what `uniprof` asks for from the kernel's command line: words like `uniprof.hz=99`, wherever they stand. Words that it does
/// not know, and values that make no sense, are passed over. Where the region lies is the kernel's to decide: `uniprof.placement=` is
/// one of the words that are passed over.
///
/// # Safety
/// `line` is null or a NUL-terminated text.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uniprof_read_command_line(config: *mut Config, line: *const c_char) {
    // SAFETY: the caller vouches for both.
    let (config, line) = unsafe { (config.as_mut(), bytes_of(line)) };
    let Some(config) = config else { return };
    for word in line.split(u8::is_ascii_whitespace) {
        let Some(word) = word.strip_prefix(b"uniprof.") else { continue };
        let Some(equals) = word.iter().position(|&byte| byte == b'=') else { continue };
        set(config, &word[..equals], &word[equals + 1..]);
    }
}

fn set(config: &mut Config, key: &[u8], value: &[u8]) {
    match key {
        b"hz" => set_u32(&mut config.sample_hz, value),
        b"ring" => set_u32(&mut config.ring_bytes, value),
        b"stack" => set_u32(&mut config.snapshot_bytes, value),
        b"heap" => {
            if let Some(bytes) = number(value) {
                config.heap_interval = bytes;
            }
        }
        b"wall" => {
            if let Some(nanoseconds) = number(value) {
                config.wall_ns = nanoseconds;
            }
        }
        b"classes" => {
            if let Some(classes) = classes(value) {
                config.classes = classes;
            }
        }
        b"events" if value.len() < config.patterns.len() => {
            config.patterns.fill(0);
            config.patterns.iter_mut().zip(value).for_each(|(to, &from)| *to = from as c_char);
        }
        _ => {}
    }
}

fn set_u32(field: &mut u32, value: &[u8]) {
    if let Some(number) = number(value).and_then(|number| u32::try_from(number).ok()) {
        *field = number;
    }
}

/// A decimal number, perhaps of kibibytes or mebibytes.
fn number(text: &[u8]) -> Option<u64> {
    let (digits, unit) = match text.split_last()? {
        (b'K' | b'k', digits) => (digits, 1 << 10),
        (b'M' | b'm', digits) => (digits, 1 << 20),
        _ => (text, 1),
    };
    core::str::from_utf8(digits).ok()?.parse::<u64>().ok()?.checked_mul(unit)
}

/// Class names with commas between them, as a mask.
fn classes(text: &[u8]) -> Option<u64> {
    text.split(|&byte| byte == b',').try_fold(0, |mask, name| {
        Some(
            mask | match name {
                b"all" => Class::RECORDED,
                b"light" => Class::LIGHT,
                b"none" => 0,
                _ => Class::ALL.iter().find(|class| class.name().as_bytes() == name)?.bit() & Class::RECORDED,
            },
        )
    })
}
