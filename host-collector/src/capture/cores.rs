//! Where cores go: their names, and how many are kept.

use std::{
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use crate::dump::{PARTIAL, is_being_written, partial_path};

/// How cores end.
const EXTENSION: &str = ".core";
/// Stands for the build-id of a kernel that has none.
const NO_BUILD_ID: &str = "nobuildid";
/// Characters of a build-id in a name.
const BUILD_ID: usize = 8;

/// How many cores of a guest are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// So many files, at least one.
    pub count: usize,
    /// So many bytes, but always the newest one.
    pub bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { count: 5, bytes: 4 << 30 }
    }
}

/// A directory with cores of one guest; whatever else lies there is left alone.
///
/// Names are `GUEST-20261123T031500Z-1a2b3c4d.core`: when it was taken, in UTC, and the first eight digits of the build-id. A second
/// one of that second gets `.2` before its end.
#[derive(Clone, Debug)]
pub struct CoreDir {
    dir: PathBuf,
    guest: String,
    limits: Limits,
}

impl CoreDir {
    /// The directory, which is made if need be: for its owner alone, because of what is in cores.
    pub fn open(dir: &Path, guest: &str, limits: Limits) -> io::Result<Self> {
        if !dir.is_dir() {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        }
        Ok(Self { dir: dir.into(), guest: guest.into(), limits })
    }

    /// A name that no file has, and that none will have which is being written.
    #[must_use]
    pub fn free_path(&self, taken_ns: u64, build_id: Option<&str>) -> PathBuf {
        let build = build_id.and_then(|id| id.get(..BUILD_ID)).filter(|id| is_hex(id)).unwrap_or(NO_BUILD_ID);
        let name = format!("{}-{}-{build}", self.guest, utc(taken_ns / 1_000_000_000));
        let plain = self.dir.join(format!("{name}{EXTENSION}"));
        let numbered = (2..).map(|number: u32| self.dir.join(format!("{name}.{number}{EXTENSION}")));
        let is_free = |path: &PathBuf| !path.exists() && !partial_path(path).exists();
        std::iter::once(plain.clone()).chain(numbered).find(is_free).unwrap_or(plain)
    }

    /// Removes the oldest cores of this guest until the rest is within the limits, `newest` not among them; which those were.
    ///
    /// What killed processes left of cores goes too, without a word: nobody could read it.
    pub fn prune(&self, newest: &Path) -> Vec<PathBuf> {
        self.sweep();
        let mut cores: Vec<_> = std::fs::read_dir(&self.dir)
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()))
            .filter_map(|entry| {
                let age = self.age(entry.file_name().to_str()?)?;
                Some((age, entry.metadata().ok()?.len(), entry.path()))
            })
            .filter(|(_, _, path)| path != newest)
            .collect();
        // The newest first.
        cores.sort_by(|a, b| b.0.cmp(&a.0));
        let mut bytes = newest.metadata().map_or(0, |newest| newest.len());
        let mut kept = 1;
        cores.retain(|(_, len, _)| {
            bytes = bytes.saturating_add(*len);
            let keep = kept < self.limits.count.max(1) && bytes <= self.limits.bytes;
            kept += usize::from(keep);
            !keep
        });
        let gone = cores.into_iter().map(|(_, _, path)| path);
        gone.filter(|path| std::fs::remove_file(path).is_ok()).collect()
    }

    /// Removes cores of this guest that were begun and that nobody writes any more.
    fn sweep(&self) {
        for entry in std::fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let core = name.to_str().and_then(|name| name.strip_suffix(PARTIAL));
            if core.is_some_and(|core| self.age(core).is_some()) && !is_being_written(&entry.path()) {
                // What can't be removed is tried again after the next crash.
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }

    /// When the core of that name was taken, and which it was of that second; `None` for any other file.
    fn age(&self, name: &str) -> Option<(String, u32)> {
        let name = name.strip_suffix(EXTENSION)?.strip_prefix(&self.guest)?.strip_prefix('-')?;
        let (name, number) = match name.split_once('.') {
            Some((name, number)) => (name, number.parse().ok()?),
            None => (name, 1),
        };
        let (time, build) = name.split_once('-')?;
        let form = time.bytes().map(|byte| if byte.is_ascii_digit() { b'0' } else { byte });
        let fine = form.eq(*b"00000000T000000Z") && (build == NO_BUILD_ID || is_hex(build));
        fine.then(|| (time.to_owned(), number))
    }
}

fn is_hex(text: &str) -> bool {
    text.len() == BUILD_ID && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// A time in UTC, from seconds since 1970: `20261123T031500Z`.
///
/// The date is by Howard Hinnant's `civil_from_days`, which counts in years that begin in March.
#[must_use]
pub fn utc(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        assert_eq!(utc(0), "19700101T000000Z");
        assert_eq!(utc(951_782_399), "20000228T235959Z");
        assert_eq!(utc(951_782_400), "20000229T000000Z");
        assert_eq!(utc(1_795_469_648), "20261123T213408Z");
        assert_eq!(utc(4_107_542_399), "21000228T235959Z");
        assert_eq!(utc(4_107_542_400), "21000301T000000Z");
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn names_tell_guest_time_and_build_and_are_free() {
        let dir = tempfile::tempdir().unwrap();
        let cores = CoreDir::open(&dir.path().join("a/b"), "web-1", Limits::default()).unwrap();
        let path = cores.free_path(1_795_469_648_999_999_999, Some("1a2b3c4d5e6f"));
        assert_eq!(path, dir.path().join("a/b/web-1-20261123T213408Z-1a2b3c4d.core"));
        std::fs::write(&path, "").unwrap();
        let second = cores.free_path(1_795_469_648_000_000_000, Some("1a2b3c4d5e6f"));
        assert!(second.ends_with("web-1-20261123T213408Z-1a2b3c4d.2.core"));
        for build_id in [None, Some("short"), Some("../../..")] {
            assert!(cores.free_path(0, build_id).ends_with("web-1-19700101T000000Z-nobuildid.core"));
        }
    }

    #[test]
    fn a_core_that_is_being_written_keeps_its_name_and_one_that_was_left_half_goes() {
        let dir = tempfile::tempdir().unwrap();
        let cores = CoreDir::open(dir.path(), "web", Limits::default()).unwrap();
        let path = cores.free_path(0, None);
        let partial = dir.path().join("web-19700101T000000Z-nobuildid.core.partial");
        let held = std::fs::File::create(&partial).unwrap();
        held.lock().unwrap();
        assert!(cores.free_path(0, None).ends_with("web-19700101T000000Z-nobuildid.2.core"));
        for name in ["web-20200101T000000Z-1a2b3c4d.core.partial", "web.core.partial", "db.partial"] {
            std::fs::write(dir.path().join(name), "half").unwrap();
        }
        assert_eq!(cores.prune(&path), Vec::<PathBuf>::new());
        let kept = ["db.partial", "web-19700101T000000Z-nobuildid.core.partial", "web.core.partial"];
        assert_eq!(names(dir.path()), kept);
        drop(held);
        cores.prune(&path);
        assert_eq!(names(dir.path()), ["db.partial", "web.core.partial"]);
    }

    #[test]
    fn the_oldest_of_this_guest_go_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, bytes: usize| std::fs::write(dir.path().join(name), vec![0; bytes]).unwrap();
        let others = [
            "web-1-20200101T000000Z-1a2b3c4d.core",
            "web-20200101T000000Z-1a2b3c4d.core.bak",
            "web-20200101T000000Z-1A2B3C4D.core",
            "web-2020x101T000000Z-1a2b3c4d.core",
            "web-mine.core",
            "web.core",
        ];
        for name in others {
            put(name, 1000);
        }
        for (number, time) in ["20260101T000003Z", "20260101T000001Z", "20260101T000002Z"].iter().enumerate()
        {
            put(&format!("web-{time}-1a2b3c4{number}.core"), 100);
        }
        put("web-20260101T000002Z-nobuildid.2.core", 100);
        let newest = dir.path().join("web-20260101T000009Z-00000000.core");
        std::fs::write(&newest, [0; 100]).unwrap();
        let limits = |count, bytes| CoreDir::open(dir.path(), "web", Limits { count, bytes }).unwrap();
        let gone = |removed: Vec<PathBuf>| removed.len();
        assert_eq!(gone(limits(5, 500).prune(&newest)), 0);
        assert_eq!(gone(limits(4, 500).prune(&newest)), 1);
        assert!(!names(dir.path()).contains(&"web-20260101T000001Z-1a2b3c41.core".to_owned()));
        assert_eq!(gone(limits(9, 399).prune(&newest)), 1);
        assert!(!names(dir.path()).contains(&"web-20260101T000002Z-1a2b3c42.core".to_owned()));
        // The newest stays, however large it is.
        assert_eq!(gone(limits(0, 0).prune(&newest)), 2);
        let left = names(dir.path());
        assert_eq!(left.len(), others.len() + 1, "{left:?}");
        assert!(newest.exists());
    }
}
