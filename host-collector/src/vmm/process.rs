//! What the system says of any process.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use crate::clock::HostTime;

/// A command line is not read any further.
const LONGEST: u64 = 4 << 20;

/// The words that a process was started with. None, where it has ended and nobody has taken note.
pub(crate) fn command_line(pid: u32) -> io::Result<Vec<String>> {
    let mut bytes = Vec::new();
    File::open(format!("/proc/{pid}/cmdline"))?.take(LONGEST).read_to_end(&mut bytes)?;
    let words = bytes.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned());
    let mut words: Vec<String> = words.collect();
    // Each word ends with a zero byte, the last one too.
    words.pop();
    Ok(words)
}

/// A path of its command line: it may have another root and another working directory.
pub(crate) fn as_process_sees(pid: u32, path: &Path) -> PathBuf {
    match path.strip_prefix("/") {
        Ok(within) => PathBuf::from(format!("/proc/{pid}/root")).join(within),
        Err(_) => PathBuf::from(format!("/proc/{pid}/cwd")).join(path),
    }
}

/// When it started, in nanoseconds since 1970; `start` is in clock ticks since the host's boot.
pub(crate) fn started_ns(start: u64) -> u64 {
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    let since_boot = start.saturating_mul(1_000_000_000 / per_second);
    let up = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
    let up: f64 = up.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0.0);
    HostTime::now().realtime_ns.saturating_sub((up * 1e9) as u64).saturating_add(since_boot)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guests::process_start;

    #[test]
    fn this_process_started_a_while_ago() {
        let started = started_ns(process_start(std::process::id()).unwrap());
        let now = HostTime::now().realtime_ns;
        // A clock tick is 10 ms, and uptime has two digits.
        assert!(
            started < now + 100_000_000 && now.saturating_sub(started) < 3_600_000_000_000,
            "{started} {now}"
        );
        assert!(!command_line(std::process::id()).unwrap().is_empty());
        assert!(command_line(u32::MAX).is_err());
    }
}
