//! Tables that were made before, in a directory of the user's: one file for each image.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use crate::identity::Identity;
use crate::image::Image;
use crate::table::{TABLE_VERSION, Table};

/// How a file is called while it is written. Others do not see it.
const UNFINISHED: &str = ".unfinished-";
/// An unfinished file that nobody has written to for so long was left behind by a process that is no more.
const FORGOTTEN: Duration = Duration::from_secs(600);

/// A directory of tables. Nothing in it is relied upon: a file that is absent, damaged, of another version or of another
/// image is the same as none. When the files together become larger than the limit, those go that were not used for the
/// longest time.
#[derive(Debug, Clone)]
pub struct Cache {
    folder: PathBuf,
    limit: u64,
}

impl Cache {
    /// How large a cache may become unless told otherwise, in bytes.
    pub const DEFAULT_LIMIT: u64 = 512 << 20;

    /// The cache in a directory, which is made when the first table is kept. Its name comes from the caller: this library
    /// asks no environment.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), limit: Self::DEFAULT_LIMIT }
    }

    /// The same, but at most `bytes` large.
    #[must_use]
    pub fn with_limit(self, bytes: u64) -> Self {
        Self { limit: bytes, ..self }
    }

    /// Where it is.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The file for an image; `None` where nothing tells the image from others.
    #[must_use]
    pub fn path(&self, image: &Image) -> Option<PathBuf> {
        let name = file_name(&image.identity()?, image.fingerprint());
        Some(self.folder.join(name))
    }

    /// The table of an image. A file that is no such table is deleted.
    #[must_use]
    pub fn open(&self, image: &Image) -> Option<Table> {
        let path = self.path(image)?;
        let file = File::open(&path).ok()?;
        let size = file.metadata().ok().filter(fs::Metadata::is_file)?.len();
        if size > self.limit {
            return None;
        }
        let mut bytes = Vec::with_capacity(usize::try_from(size).ok()?);
        file.take(size).read_to_end(&mut bytes).ok()?;
        let same = |table: &Table| {
            table.identity() == image.identity().as_ref() && table.fingerprint() == image.fingerprint()
        };
        match Table::open(bytes).ok().filter(same) {
            Some(table) => {
                // Only tells which files are in use; it may fail.
                let _ = File::options()
                    .append(true)
                    .open(&path)
                    .and_then(|file| file.set_modified(SystemTime::now()));
                Some(table)
            }
            None => {
                let _ = fs::remove_file(&path);
                None
            }
        }
    }

    /// Keeps a table. Whoever opens the file sees all of it or none, whatever other processes write.
    ///
    /// # Errors
    ///
    /// Where the directory cannot be made or written to. The table is good all the same.
    pub fn keep(&self, table: &Table) -> io::Result<()> {
        let Some(identity) = table.identity().filter(|_| table.size() <= self.limit) else { return Ok(()) };
        fs::create_dir_all(&self.folder)?;
        let (unfinished, mut file) = self.unfinished()?;
        let written = table.as_bytes().into_iter().try_for_each(|part| file.write_all(part));
        let path = self.folder.join(file_name(identity, table.fingerprint()));
        let kept = written.and_then(|()| fs::rename(&unfinished, &path));
        if kept.is_err() {
            let _ = fs::remove_file(&unfinished);
        }
        self.shrink(&path);
        kept
    }

    fn unfinished(&self) -> io::Result<(PathBuf, File)> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        loop {
            let number = COUNT.fetch_add(1, Ordering::Relaxed);
            let path = self.folder.join(format!("{UNFINISHED}{}-{number}", std::process::id()));
            match File::create_new(&path) {
                // What a process of the same number left behind.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                file => return file.map(|file| (path, file)),
            }
        }
    }

    /// Deletes what was not used for the longest time, and what nobody finished; not `newest`.
    fn shrink(&self, newest: &Path) {
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        let mut files: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
        for entry in entries.flatten() {
            let Ok(facts) = entry.metadata() else { continue };
            let (name, used) = (entry.file_name(), facts.modified().unwrap_or(SystemTime::UNIX_EPOCH));
            let name = name.to_string_lossy();
            let forgotten = used.elapsed().is_ok_and(|age| age > FORGOTTEN);
            if name.starts_with(UNFINISHED) && forgotten {
                let _ = fs::remove_file(entry.path());
            } else if name.contains(SUFFIX) && facts.is_file() {
                files.push((used, facts.len(), entry.path()));
            }
        }
        files.sort();
        let mut total: u64 = files.iter().map(|(_, size, _)| size).sum();
        for (_, size, path) in files.iter().filter(|(.., path)| path != newest) {
            if total <= self.limit {
                break;
            }
            if fs::remove_file(path).is_ok() {
                total -= size;
            }
        }
    }
}

const SUFFIX: &str = ".symbols-v";

fn file_name(identity: &Identity, fingerprint: u64) -> String {
    let identity = match identity {
        Identity::BuildId(id) => format!("{id}"),
        Identity::TextHash(hash) => format!("text-{hash}"),
    };
    format!("{identity}-{fingerprint:016x}{SUFFIX}{TABLE_VERSION}")
}
