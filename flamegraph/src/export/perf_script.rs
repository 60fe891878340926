//! What `perf script` prints: a line for each sample, below it the frames from the leaf to the root, then an empty line.
//!
//! The layout is that of perf's `builtin-script.c` and `evsel_fprintf.c`, with nanoseconds as after `--ns`:
//!
//! ```text
//! worker     7 [001]     1.234567890:    1000000 cpu-clock:
//!                   ffffffff80101234 parse (inlined)
//!                   ffffffff80101234 serve (kernel.elf)
//! ```

use std::io::Write;

use crate::error::RenderError;
use crate::frame::{Frame, Kind};
use crate::profile::{Profile, TimedSample};
use crate::title::Title;

/// Writes `profile` as `perf script` prints samples of the event `cpu-clock`, whose period is the vCPU time in
/// nanoseconds. perf tells where a field ends by what follows it: white space in names of images and before digits in
/// names of threads becomes `_`.
///
/// # Errors
///
/// [`RenderError::NoSamples`] or [`RenderError::NoTimes`] before anything is written, or what `out` reports.
pub fn perf_script(profile: &Profile, _title: &Title, out: &mut impl Write) -> Result<(), RenderError> {
    for sample in super::row::timed(profile, "perf-script")? {
        header(profile, sample, out)?;
        for id in profile.stack(sample.stack) {
            let frame = profile.frame(id);
            if frame.kind != Kind::Thread {
                line(profile, &frame, out)?;
            }
        }
        out.write_all(b"\n")?;
    }
    Ok(())
}

fn header(profile: &Profile, sample: &TimedSample, out: &mut impl Write) -> Result<(), RenderError> {
    let name = command(&super::thread_name(profile, sample.owner.thread));
    let (seconds, nanoseconds) = (sample.at / 1_000_000_000, sample.at % 1_000_000_000);
    let (thread, vcpu, weight) = (sample.owner.thread, sample.owner.vcpu, sample.weight);
    // A blank after the event's last colon, as perf has it.
    writeln!(out, "{name} {thread:>5} [{vcpu:03}] {seconds:>5}.{nanoseconds:09}: {weight:>10} cpu-clock: ")?;
    Ok(())
}

fn line(profile: &Profile, frame: &Frame<'_>, out: &mut impl Write) -> Result<(), RenderError> {
    write!(out, "\t{:16x} {}", frame.address.unwrap_or(0), frame.name)?;
    // perf names the file of an inlined function only with the one that it is part of.
    if frame.inlined {
        writeln!(out, " (inlined)")?;
    } else {
        let image = frame.image.map_or("", |id| profile.image(id).name.as_str());
        let image = if image.is_empty() { "[unknown]" } else { image };
        writeln!(out, " ({})", image.replace(char::is_whitespace, "_"))?;
    }
    Ok(())
}

/// Readers take the first word of digits for the thread's id, and a line that starts with `#` for a comment.
fn command(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    let mut rest = name.trim().chars().peekable();
    while let Some(letter) = rest.next() {
        let ends_word = letter.is_whitespace();
        let before_digit =
            rest.peek().is_some_and(|next| next.is_ascii_digit() || *next == '/' || *next == '[');
        text.push(match letter {
            _ if ends_word && before_digit => '_',
            '#' if text.is_empty() => '_',
            other => other,
        });
    }
    // A name that is digits only would be the id.
    if text.starts_with(|first: char| first.is_ascii_digit()) {
        text.insert(0, '_');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::command;

    #[test]
    fn no_word_of_a_threads_name_is_a_number() {
        assert_eq!(command("kv worker 7"), "kv worker_7");
        assert_eq!(command("12"), "_12");
        assert_eq!(command("# 1"), "__1");
        assert_eq!(command("main"), "main");
    }
}
