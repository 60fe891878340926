//! One line on a terminal that says how a recording goes; nothing anywhere else.

use std::io::{self, Write as _};

use uniprof_collector::session;

use crate::output;

/// The line.
pub(crate) struct Progress {
    on: bool,
}

impl Progress {
    /// A line where stderr is a terminal.
    pub(crate) fn new() -> Self {
        Self { on: output::stderr_is_terminal() }
    }

    /// Draws over what was drawn last.
    pub(crate) fn draw(&mut self, now: &session::Progress) {
        if self.on {
            // A terminal that went away is no reason to stop recording.
            let _ = write!(io::stderr(), "\r\x1b[K{}  (Ctrl-C ends it)", line(now));
        }
    }

    /// Leaves an empty line for what comes next.
    pub(crate) fn clear(&mut self) {
        if self.on {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

/// One line on a terminal that says how much of something is done.
pub(crate) struct Bytes {
    on: bool,
    what: &'static str,
    drawn: Option<u64>,
}

impl Bytes {
    /// A line where stderr is a terminal.
    pub(crate) fn new(what: &'static str) -> Self {
        Self { on: output::stderr_is_terminal(), what, drawn: None }
    }

    /// Draws a new share over what was drawn last.
    pub(crate) fn draw(&mut self, done: u64, all: u64) {
        let percent = done.saturating_mul(100) / all.max(1);
        if self.on && self.drawn != Some(percent) {
            self.drawn = Some(percent);
            let (done, all) = (done >> 20, all >> 20);
            let _ = write!(io::stderr(), "\r\x1b[K{done} of {all} MiB {} ({percent} %)", self.what);
        }
    }

    /// Leaves an empty line for what comes next.
    pub(crate) fn clear(&mut self) {
        if self.drawn.take().is_some() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

fn line(now: &session::Progress) -> String {
    let all = now.received + now.lost;
    let lost = if all == 0 { 0.0 } else { now.lost as f64 * 100.0 / all as f64 };
    format!(
        "{:.1} s  {} samples  {:.0}/s  lost {:.1} % of {} records  {:.1} MB",
        now.elapsed.as_secs_f64(),
        now.samples,
        now.samples_per_second,
        lost,
        all,
        now.bytes as f64 / 1e6
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_line_has_samples_rate_loss_and_size() {
        let now = session::Progress {
            elapsed: Duration::from_millis(2040),
            samples: 199,
            samples_per_second: 98.7,
            received: 750,
            lost: 250,
            bytes: 1_234_567,
        };
        assert_eq!(line(&now), "2.0 s  199 samples  99/s  lost 25.0 % of 1000 records  1.2 MB");
        assert!(line(&session::Progress::default()).contains("lost 0.0 % of 0 records"));
    }
}
