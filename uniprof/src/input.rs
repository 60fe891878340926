//! What a command reads: the recording, dump or guest that was named, or the newest recording here.

use std::fs;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use uniprof_collector::dump;
use uniprof_collector::recording::partial_path;

use crate::exit::{Exit, Failure};
use crate::target;

/// The word that stands for text on standard input.
const STDIN: &str = "-";
/// The word that stands for the embedded recording.
const SAMPLE: &str = "sample";
/// How recordings end.
pub(crate) const EXTENSION: &str = "uniprof";

/// What there is to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Input {
    /// A recording, or folded stacks.
    File(PathBuf),
    /// Folded stacks on standard input.
    Stdin,
    /// The recording inside this binary.
    Sample,
    /// A dump of a guest's memory.
    Core(PathBuf),
    /// What could be a guest's name: no file is called so.
    Guest(String),
    /// What the rings of a dump or of a running guest held.
    Recovered(Recovered),
}

/// A recording in memory that was made of a dump or of a running guest.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Recovered {
    /// What outputs are called after.
    pub(crate) stem: String,
    /// The recording.
    pub(crate) bytes: Arc<[u8]>,
}

impl std::fmt::Debug for Recovered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({} bytes)", self.stem, self.bytes.len())
    }
}

impl Input {
    /// Decides what `word` means; without a word, the newest recording in the current directory.
    pub(crate) fn choose(word: Option<&str>) -> anyhow::Result<Self> {
        match word {
            Some(SAMPLE) => Ok(Self::Sample),
            Some(STDIN) => Ok(Self::Stdin),
            Some(word) if target::is_explicit(word) || is_socket(Path::new(word)) => Ok(Self::Guest(word.into())),
            Some(word) if dump::sniff(Path::new(word)).is_some() => Ok(Self::Core(word.into())),
            // A recording that was cut off is still called FILE.partial.
            Some(word) if Path::new(word).exists() || partial_path(Path::new(word)).exists() => Ok(Self::File(word.into())),
            Some(word) if looks_like_a_file(word) => Err(Failure::error(
                Exit::Failed,
                format!("there is no file {word}; {} makes one", maker(word)),
            )),
            Some(word) => Ok(Self::Guest(word.into())),
            None => newest(Path::new(".")).map(Self::File).ok_or_else(|| {
                Failure::error(
                    Exit::Failed,
                    "there is no recording in this directory; `uniprof record -- bundled` makes one, and `sample` \
                     names one that is built in",
                )
            }),
        }
    }

    /// The name that outputs are called after.
    pub(crate) fn stem(&self) -> String {
        match self {
            Self::File(path) | Self::Core(path) => {
                path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
            }
            Self::Stdin => "stdin".into(),
            Self::Sample => SAMPLE.into(),
            // `pid:N` would be a drive to some, and a path is none of ours.
            Self::Guest(name) => name.replace([':', '/'], "-"),
            Self::Recovered(recovered) => recovered.stem.clone(),
        }
    }
}

/// Whether something listens there: QEMU, if it is a guest that is meant.
fn is_socket(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.file_type().is_socket())
}

/// The command that makes a file of that name.
fn maker(word: &str) -> String {
    match Path::new(word).extension().and_then(|extension| extension.to_str()) {
        Some(EXTENSION) => format!("`uniprof record -o {word} -- bundled`"),
        Some("core") => format!("`uniprof dump GUEST -o {word}`"),
        _ => "`uniprof record` (a recording) or `uniprof dump` (a core)".to_owned(),
    }
}

fn looks_like_a_file(word: &str) -> bool {
    word.contains('/') || Path::new(word).extension().is_some()
}

/// The name that a recording has when it is finished: whoever opens that gets the partial one where there is no other.
fn finished(path: &Path) -> PathBuf {
    if path.extension().is_some_and(|extension| extension == "partial") {
        path.with_extension("")
    } else {
        path.into()
    }
}

fn newest(dir: &Path) -> Option<PathBuf> {
    let dated = |path: PathBuf| -> Option<(SystemTime, PathBuf)> {
        let meta = fs::metadata(&path).ok().filter(fs::Metadata::is_file)?;
        Some((meta.modified().ok()?, path))
    };
    fs::read_dir(dir)
        .ok()?
        .flatten()
        .map(|entry| PathBuf::from(entry.file_name()))
        .filter(|name| finished(name).extension().is_some_and(|extension| extension == EXTENSION))
        .filter_map(|name| dated(if dir == Path::new(".") { name } else { dir.join(name) }))
        .max()
        .map(|(_, path)| finished(&path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_recording_is_found_and_other_files_are_not() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(newest(dir.path()), None);
        let make = |name, age| {
            let file = fs::File::create(dir.path().join(name)).unwrap();
            file.set_modified(SystemTime::now() - std::time::Duration::from_secs(age)).unwrap();
        };
        [("b.uniprof", 60), ("a.uniprof", 10), ("c.txt", 0), ("c.partial", 0)]
            .into_iter()
            .for_each(|(name, age)| make(name, age));
        assert_eq!(newest(dir.path()), Some(dir.path().join("a.uniprof")));
        // One that was cut off goes by the name that it would have got.
        make("d.uniprof.partial", 0);
        assert_eq!(newest(dir.path()), Some(dir.path().join("d.uniprof")));
    }

    #[test]
    fn words_without_a_file_are_names_unless_they_look_like_one() {
        assert_eq!(Input::choose(Some("sample")).unwrap(), Input::Sample);
        assert_eq!(Input::choose(Some("kv")).unwrap(), Input::Guest("kv".into()));
        let error = Input::choose(Some("none.uniprof")).unwrap_err();
        assert!(error.to_string().contains("there is no file none.uniprof"));
    }
}
