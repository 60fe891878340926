//! The facade `log`: each record is a log line.

use core::fmt::Write;

use log::{LevelFilter, Log, Metadata, Record, SetLoggerError};

use crate::text::Text;

/// Bytes of a line; the rest is cut off. It lies on the stack of whoever logs.
const LINE_BYTES: usize = 512;

/// Writes log lines into the observation region: `LEVEL target: message`.
#[derive(Clone, Copy, Debug)]
pub struct Logger;

static LOGGER: Logger = Logger;

/// Makes [`Logger`] the logger of this kernel, and lets through what is at least as urgent as `level`.
///
/// # Errors
/// There is another logger. A kernel that has its own, for its console, calls [`Logger`] from there.
pub fn install(level: LevelFilter) -> Result<(), SetLoggerError> {
    log::set_logger(&LOGGER)?;
    log::set_max_level(level);
    Ok(())
}

impl Log for Logger {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        uniprof_probes::recording(uniprof_probes::Class::Log)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let mut line = Text::<LINE_BYTES>::new();
        // Only a value's own formatting can fail, and then what it wrote so far is the line.
        let _ = write!(line, "{} {}: {}", record.level(), record.target(), record.args());
        uniprof_probes::log_line(line.as_str());
    }

    fn flush(&self) {}
}
