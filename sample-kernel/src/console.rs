//! Console lines: whole, one at a time, and into the observation region as well.

use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};

use crate::sync::NoPreempt;
use crate::text::FixedText;
use crate::{arch, probes};

type Line = FixedText<512>;

static BUSY: AtomicBool = AtomicBool::new(false);

/// Prints one line, and records it.
macro_rules! print_line {
    ($($part:tt)*) => { $crate::console::line(format_args!($($part)*)) };
}
pub(crate) use print_line;

/// See [`print_line!`].
pub(crate) fn line(text: fmt::Arguments<'_>) {
    let line = Line::of(text);
    probes::log_line(line.as_str());
    let _vcpu = NoPreempt::new();
    while BUSY.swap(true, Ordering::Acquire) {
        core::hint::spin_loop();
    }
    write(&line);
    BUSY.store(false, Ordering::Release);
}

/// Prints a line of a dying kernel, and records it: it waits for nobody who may have died while he printed.
pub(crate) fn last_words(text: fmt::Arguments<'_>) {
    let line = Line::of(text);
    probes::log_line(line.as_str());
    write_at_last(&line);
}

/// Prints such a line only: what the crash record has anyway shall not push out what happened before.
pub(crate) fn last_details(text: fmt::Arguments<'_>) {
    write_at_last(&Line::of(text));
}

fn write_at_last(line: &Line) {
    const PATIENCE: u32 = 10_000_000;
    for _ in 0..PATIENCE {
        if !BUSY.swap(true, Ordering::Acquire) {
            break;
        }
        core::hint::spin_loop();
    }
    write(line);
    BUSY.store(false, Ordering::Release);
}

fn write(line: &Line) {
    arch::write_console(line.as_str().as_bytes());
    arch::write_console(b"\n");
}
