//! Output: whole files or none, and text that survives a closed pipe.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Serialize;

/// Whether progress may be drawn.
pub(crate) fn stderr_is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// Columns and rows of the terminal that standard output is, if it is one and says how large.
pub(crate) fn terminal() -> Option<(usize, usize)> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col.into(), size.ws_row.into()))
}

/// Tells a person something that is not the output: on stderr, so that pipes stay clean.
pub(crate) fn say(line: std::fmt::Arguments<'_>) {
    // A closed stderr is no reason to fail.
    let _ = writeln!(io::stderr(), "{line}");
}

/// Standard output, buffered. Whoever writes to it flushes it, and hands errors on.
pub(crate) fn stdout() -> BufWriter<Stdout> {
    BufWriter::new(Stdout)
}

/// Standard output, whose errors say that it was that.
#[derive(Debug)]
pub(crate) struct Stdout;

impl Stdout {
    fn named<T>(result: io::Result<T>) -> io::Result<T> {
        result.map_err(|error| {
            io::Error::new(error.kind(), format!("cannot write to standard output: {error}"))
        })
    }
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Self::named(io::stdout().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Self::named(io::stdout().flush())
    }
}

/// Emphasis for people: only on a terminal, and not where `NO_COLOR` is set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paint {
    is_on: bool,
}

impl Paint {
    /// For standard output.
    pub(crate) fn of_stdout() -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { is_on: !refused && io::stdout().is_terminal() }
    }

    /// None.
    #[cfg(test)]
    pub(crate) fn none() -> Self {
        Self { is_on: false }
    }

    /// What starts something.
    pub(crate) fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    /// What is read after the rest.
    pub(crate) fn faint(self, text: &str) -> String {
        self.with("2", text)
    }

    /// What is wrong.
    pub(crate) fn alarm(self, text: &str) -> String {
        self.with("1;31", text)
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.is_on { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// Prints a JSON document for programs.
pub(crate) fn json(document: &impl Serialize) -> anyhow::Result<()> {
    let mut out = stdout();
    // Through io::Error, so that a closed pipe is seen as one.
    serde_json::to_writer_pretty(&mut out, document).map_err(io::Error::from)?;
    writeln!(out)?;
    out.flush()?;
    Ok(())
}

/// Prints one JSON document on one line, for streams.
pub(crate) fn json_line(out: &mut impl Write, document: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, document).map_err(io::Error::from)?;
    out.write_all(b"\n")
}

/// Text with control characters made visible: an escape sequence could rewrite the reader's terminal.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.trim_end_matches(['\r', '\n']).chars() {
        if c.is_control() && c != '\t' { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}

/// Nanoseconds in a unit that leaves three digits.
pub(crate) fn duration(ns: u64) -> String {
    let float = ns as f64;
    let (value, unit) = match ns {
        0..1_000 => return format!("{ns} ns"),
        1_000..999_500 => (float / 1e3, "us"),
        999_500..999_500_000 => (float / 1e6, "ms"),
        _ => (float / 1e9, "s"),
    };
    let digits = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
    format!("{value:.digits$} {unit}")
}

/// Writes rows with their cells under one another, the last column as long as it is.
pub(crate) fn table<const N: usize>(out: &mut impl Write, rows: &[[String; N]]) -> io::Result<()> {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for row in rows {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(row) {
            line.push_str(&format!("{cell:<width$}  "));
        }
        // Names of threads and guests are the guest's to choose; a terminal would obey what they hold.
        writeln!(out, "{}", line.trim_end().replace(char::is_control, " "))?;
    }
    Ok(())
}

/// Writes `path` as a whole: what `write` produces goes to a temporary file beside it, which takes the name only
/// when everything is on disk. `-` is standard output.
pub(crate) fn file(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    if path == Path::new("-") {
        let mut out = stdout();
        write(&mut out)?;
        return Ok(out.flush()?);
    }
    // A device or a pipe has no name to take over: `-o /dev/null`.
    let is_special = fs::metadata(path).is_ok_and(|meta| !meta.is_file() && !meta.is_dir());
    let temporary = if is_special { path.to_owned() } else { beside(path) };
    let result = write_through(&temporary, write).and_then(|()| {
        if is_special { Ok(()) } else { fs::rename(&temporary, path).map_err(anyhow::Error::from) }
    });
    if result.is_err() && !is_special {
        // There may be none, when it could not even be created.
        let _ = fs::remove_file(&temporary);
    }
    result.with_context(|| format!("cannot write {}", path.display()))
}

/// As [`file`], but what is written may leave holes, and be anything but a pipe; and only its owner may read it, because it has what
/// a guest had in its memory.
pub(crate) fn sparse_file<T>(
    path: &Path,
    write: impl FnOnce(&mut File) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let is_special = path == Path::new("-") || fs::metadata(path).is_ok_and(|meta| !meta.is_file());
    anyhow::ensure!(!is_special, "{} is no file: this is not written in order", path.display());
    let temporary = beside(path);
    let created = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&temporary);
    let result = created.map_err(anyhow::Error::from).and_then(|mut file| {
        let told = write(&mut file)?;
        fs::rename(&temporary, path)?;
        Ok(told)
    });
    if result.is_err() {
        // There may be none, when it could not even be created.
        let _ = fs::remove_file(&temporary);
    }
    result.with_context(|| format!("cannot write {}", path.display()))
}

fn write_through(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    write(&mut out)?;
    // Dropping a BufWriter would swallow the error of a full disk.
    out.flush()?;
    Ok(())
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.partial", std::process::id()));
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn escape_sequences_are_shown_not_obeyed() {
        assert_eq!(printable("a\x1b[2J\tb\u{fffd}\r\n"), "a\\u{1b}[2J\tb\u{fffd}");
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("flame.svg");
        file(&path, |out| Ok(out.write_all(b"old")?)).unwrap();
        let failed = file(&path, |out| {
            out.write_all(b"half")?;
            anyhow::bail!("no more")
        });
        assert!(format!("{:#}", failed.unwrap_err()).ends_with("flame.svg: no more"));
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn memory_of_a_guest_is_for_its_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.elf");
        sparse_file(&path, |file| Ok(file.write_all(b"secret")?)).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_missing_directory_is_named() {
        let path = Path::new("/nonexistent/x/flame.svg");
        let error = file(path, |_| Ok(())).unwrap_err();
        assert!(format!("{error:#}").contains("/nonexistent/x/flame.svg"), "{error:#}");
    }

    #[test]
    fn devices_are_written_in_place() {
        file(Path::new("/dev/null"), |out| Ok(out.write_all(b"x")?)).unwrap();
    }
}
