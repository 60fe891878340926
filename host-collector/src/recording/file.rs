//! Recordings under a name.

use std::{
    fs::{File, OpenOptions},
    io::{self, ErrorKind, Write},
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};

use super::{Message, ReadError, Reader, RecordError, SessionInfo, Writer};

/// Where the recording `path` lies until it is finished.
#[must_use]
pub fn partial_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".partial");
    name.into()
}

/// Why a recording could not be written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It can't be created.
    #[error("cannot write the recording {path}: {source}")]
    Create {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process is recording to it.
    #[error("another uniprof is writing {path}: choose another -o")]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// The output failed on the way.
    #[error("{source}; what was recorded until then is in {path}, which opens as it is")]
    Write {
        /// The file that has it.
        path: PathBuf,
        /// What happened.
        source: RecordError,
    },
    /// The output failed before anything worth keeping was written.
    #[error("cannot write the recording {path}: {source}")]
    Nothing {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: RecordError,
    },
    /// The finished recording can't get its name.
    #[error("the recording is complete in {partial}, but cannot be renamed to {path}: {source}")]
    Rename {
        /// Where it is.
        partial: PathBuf,
        /// Where it should be.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A recording that is being written under a name.
pub struct RecordingFile {
    writer: Option<Writer<File>>,
    path: PathBuf,
    /// `None`: written directly, because `path` is no regular file.
    partial: Option<PathBuf>,
    /// Whether the file holds messages, so that it is worth keeping when something fails.
    worth_keeping: bool,
}

impl RecordingFile {
    /// Starts a recording that will be `path` when it is finished. What has that name stays until then.
    pub fn create(path: &Path, session: &SessionInfo) -> Result<Self, FileError> {
        let special = std::fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir());
        let partial = (!special).then(|| partial_path(path));
        let target = partial.as_deref().unwrap_or(path);
        let create = |source| FileError::Create { path: path.into(), source };
        if path.is_dir() {
            return Err(create(ErrorKind::IsADirectory.into()));
        }
        // Not truncated before it is locked: it may be another's.
        let file = OpenOptions::new()
            .write(true)
            .create(partial.is_some())
            .truncate(false)
            .open(target)
            .map_err(create)?;
        if partial.is_some() {
            flock(&file, FlockOperation::NonBlockingLockExclusive)
                .map_err(|_| FileError::Busy { path: target.into() })?;
            file.set_len(0).map_err(create)?;
        }
        let mut recording = Self { writer: None, path: path.into(), partial, worth_keeping: false };
        match Writer::new(file, session) {
            Ok(writer) => recording.writer = Some(writer),
            Err(error) => return Err(recording.failed(error)),
        }
        Ok(recording)
    }

    /// The name that it will have.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes in the file so far.
    #[must_use]
    pub fn saved(&self) -> u64 {
        self.writer.as_ref().map_or(0, Writer::saved)
    }

    /// Adds a file; see [`Writer::attach`].
    pub fn attach(
        &mut self,
        name: &str,
        media_type: &str,
        bytes: &[u8],
        at_ns: u64,
    ) -> Result<(), FileError> {
        self.with(|writer| writer.attach(name, media_type, bytes, at_ns))
    }

    /// Adds a message; see [`Writer::write`].
    pub fn write(&mut self, message: &Message<'_>) -> Result<(), FileError> {
        let before = self.saved();
        self.with(|writer| writer.write(message))?;
        self.worth_keeping |= self.saved() > before;
        Ok(())
    }

    /// See [`Writer::flush_if_due`].
    pub fn flush_if_due(&mut self) -> Result<(), FileError> {
        let before = self.saved();
        self.with(Writer::flush_if_due)?;
        self.worth_keeping |= self.saved() > before;
        Ok(())
    }

    /// Writes the tail and gives the recording its name. Returns its size.
    pub fn finish(mut self) -> Result<u64, FileError> {
        self.with(Writer::flush)?;
        self.worth_keeping = true;
        let Some(writer) = self.writer.take() else { return Ok(0) };
        let mut file = match writer.finish() {
            Ok(file) => file,
            Err(error) => return Err(self.failed(error)),
        };
        let size = file.metadata().map_or(0, |found| found.len());
        let flushed = file.flush();
        if let Some(partial) = self.partial.take() {
            flushed
                .and_then(|()| std::fs::rename(&partial, &self.path))
                .map_err(|source| FileError::Rename { partial, path: self.path.clone(), source })?;
        }
        Ok(size)
    }

    fn with(
        &mut self,
        work: impl FnOnce(&mut Writer<File>) -> Result<(), RecordError>,
    ) -> Result<(), FileError> {
        match self.writer.as_mut().map(work) {
            None | Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(self.failed(error)),
        }
    }

    /// After this nothing more is written.
    fn failed(&mut self, source: RecordError) -> FileError {
        self.writer = None;
        if self.worth_keeping {
            let path = self.partial.take().unwrap_or_else(|| self.path.clone());
            return FileError::Write { path, source };
        }
        self.discard();
        FileError::Nothing { path: self.path.clone(), source }
    }

    fn discard(&mut self) {
        if let Some(partial) = self.partial.take() {
            // It is ours and empty; where even that fails there is nothing left to do about it.
            let _ = std::fs::remove_file(partial);
        }
    }
}

impl Drop for RecordingFile {
    /// An unfinished recording stays as a partial file, unless there is nothing in it.
    fn drop(&mut self) {
        self.writer = None;
        if !self.worth_keeping {
            self.discard();
        }
    }
}

/// A recording that has been opened.
pub struct Opened {
    /// Its reader.
    pub reader: Reader<File>,
    /// What was opened.
    pub path: PathBuf,
    /// Whether that is a partial file, because there is no finished one.
    pub partial: bool,
    /// Its size.
    pub bytes: u64,
}

/// Opens the recording `path`, or its partial file where there is no finished one.
pub fn open(path: &Path) -> Result<Opened, ReadError> {
    let failed = |path: &Path, source| ReadError::Open { path: path.into(), source };
    let (file, path, partial) = match File::open(path) {
        Ok(file) => (file, path.to_owned(), path.extension().is_some_and(|extension| extension == "partial")),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let partial = partial_path(path);
            // If that is missing too, the error is about what the user named.
            let file = File::open(&partial).map_err(|_| failed(path, error))?;
            (file, partial, true)
        }
        Err(error) => return Err(failed(path, error)),
    };
    let found = file.metadata().map_err(|error| failed(&path, error))?;
    if found.is_dir() {
        return Err(failed(&path, ErrorKind::IsADirectory.into()));
    }
    let reader = Reader::named(file, &path)?;
    Ok(Opened { reader, path, partial, bytes: found.len() })
}
