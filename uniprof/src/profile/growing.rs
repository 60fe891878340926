//! A recording that somebody still writes: its bytes as they come.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use uniprof_collector::cancel::Cancel;

/// Between two looks whether there is more.
const STEP: Duration = Duration::from_millis(50);
/// A recorder writes at least once a second.
const QUIET: Duration = Duration::from_secs(15);

/// Reads to the end of the file, and waits there for more: until it is finished and so called otherwise, until nobody seems to write it, or until the
/// token is set.
pub(crate) struct Growing {
    file: File,
    path: PathBuf,
    cancel: Cancel,
}

impl Growing {
    /// The file at `path`, a partial recording.
    pub(crate) fn open(path: PathBuf, cancel: Cancel) -> io::Result<Self> {
        Ok(Self { file: File::open(&path)?, path, cancel })
    }
}

impl Read for Growing {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let since = Instant::now();
        loop {
            // Asked before the read: what was written before the end is seen by it.
            let is_over = !self.path.exists() || self.cancel.is_cancelled() || since.elapsed() > QUIET;
            let count = self.file.read(into)?;
            if count > 0 || is_over || into.is_empty() {
                return Ok(count);
            }
            self.cancel.sleep(STEP);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn it_is_read_to_the_end_that_it_has_once_it_is_finished() {
        let dir = tempfile::tempdir().unwrap();
        let (partial, finished) = (dir.path().join("r.partial"), dir.path().join("r"));
        std::fs::write(&partial, b"one").unwrap();
        let mut growing = Growing::open(partial.clone(), Cancel::new()).unwrap();
        let writer = std::thread::spawn(move || {
            let mut file = std::fs::OpenOptions::new().append(true).open(&partial).unwrap();
            std::thread::sleep(STEP * 2);
            file.write_all(b" two").unwrap();
            std::fs::rename(&partial, finished).unwrap();
        });
        let mut all = String::new();
        growing.read_to_string(&mut all).unwrap();
        writer.join().unwrap();
        assert_eq!(all, "one two");
    }

    #[test]
    fn whoever_has_seen_enough_gets_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r.partial");
        std::fs::write(&path, b"one").unwrap();
        let cancel = Cancel::new();
        cancel.cancel();
        let mut all = Vec::new();
        Growing::open(path, cancel).unwrap().read_to_end(&mut all).unwrap();
        assert_eq!(all, b"one");
    }
}
