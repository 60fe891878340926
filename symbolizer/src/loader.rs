//! The one place that opens files.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::ImageError;
use crate::find::Search;
use crate::image::Image;
use crate::parts::DebugFile;
use crate::store::ReadAt;

/// Files of one folder that are looked into.
const MAX_LISTED: usize = 256;
/// Bytes of split debug information that are read: a kernel's comes to some hundred megabytes.
const MAX_SPLIT: u64 = 4 << 30;

/// Opens and parses the image in a file. What is needed of it is read when it is needed, and stays in memory: a mapped file
/// could change or shrink under the parser, and reading tens of megabytes of debug information would come before the
/// first name. The file should not be written to meanwhile; to replace it by another is safe.
///
/// # Errors
///
/// [`ImageError::Read`], or what [`Image::parse`] finds.
pub fn load(path: impl AsRef<Path>) -> Result<Image, ImageError> {
    Image::open(open(path.as_ref())?)
}

/// Opens and parses a file with debug information, which is no image by itself.
///
/// # Errors
///
/// [`ImageError::Read`], or what [`DebugFile::parse`] finds.
pub fn load_debug_file(path: impl AsRef<Path>) -> Result<DebugFile, ImageError> {
    DebugFile::open(open(path.as_ref())?)
}

fn open(path: &Path) -> Result<Arc<Opened>, ImageError> {
    Opened::new(path).map(Arc::new).map_err(|error| ImageError::Read { path: path.to_owned(), error })
}

/// An open file, and what it was when it was opened.
#[derive(Debug)]
struct Opened {
    file: File,
    size: u64,
    changed: (i64, i64),
}

impl Opened {
    fn new(path: &Path) -> io::Result<Self> {
        // Asked before it is opened: opening a FIFO would wait for a writer.
        if !fs::metadata(path)?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        let file = File::open(path)?;
        let facts = file.metadata()?;
        Ok(Self { file, size: facts.len(), changed: (facts.mtime(), facts.mtime_nsec()) })
    }
}

impl ReadAt for Opened {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    fn is_unchanged(&self) -> bool {
        let same = |facts: fs::Metadata| {
            facts.len() == self.size && (facts.mtime(), facts.mtime_nsec()) == self.changed
        };
        self.file.metadata().is_ok_and(same)
    }
}

/// A file that was looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// Where.
    pub path: PathBuf,
    /// What it brought; `None` where there is no file; or why it is of no use.
    pub result: Result<Option<String>, String>,
}

/// Looks for what an image lacks (see [`Image::wanted`]) and attaches it. `path` is where the image lies, where it lies in
/// a file. Returns every place that was tried, in that order: that nothing was found is no error.
pub fn complete(image: &mut Image, path: Option<&Path>, search: &Search) -> Vec<Tried> {
    let mut completion = Completion { image, path, tried: Vec::new() };
    let mut debug_file = None;
    if !completion.image.debug_info().dwarf {
        debug_file = completion.first(search.debug_files(completion.image, path));
        if debug_file.is_none() {
            debug_file = completion.first_of_folders(&search.dirs);
        }
    }
    if let Some(link) = completion.image.wanted().supplement {
        completion.first(search.supplements(&link, debug_file.as_deref().or(path)));
    }
    completion.add_split(search);
    completion.tried
}

struct Completion<'a> {
    image: &'a mut Image,
    path: Option<&'a Path>,
    tried: Vec<Tried>,
}

impl Completion<'_> {
    /// Attaches the first of these files that fits.
    fn first(&mut self, paths: Vec<PathBuf>) -> Option<PathBuf> {
        paths.into_iter().find(|path| {
            let result = if path.exists() { self.attach(path).map(Some) } else { Ok(None) };
            let found = matches!(result, Ok(Some(_)));
            self.tried.push(Tried { path: path.clone(), result });
            found
        })
    }

    /// Any ELF file of these folders that fits. Only the one that does is worth telling.
    fn first_of_folders(&mut self, folders: &[PathBuf]) -> Option<PathBuf> {
        let own = self.path;
        let files = folders.iter().flat_map(|folder| elf_files(folder));
        for path in files.filter(|path| Some(path.as_path()) != own) {
            if let Ok(what) = self.attach(&path) {
                self.tried.push(Tried { path: path.clone(), result: Ok(Some(what)) });
                return Some(path);
            }
        }
        None
    }

    fn attach(&mut self, path: &Path) -> Result<String, String> {
        let file = load_debug_file(path).map_err(|error| error.to_string())?;
        self.image.attach(file).map(|part| part.to_string()).map_err(|misfit| misfit.to_string())
    }

    fn add_split(&mut self, search: &Search) {
        if self.image.wanted().units.is_empty() {
            return;
        }
        if let Some(path) = self.path {
            self.first(search.packages(path));
        }
        let mut budget = MAX_SPLIT;
        let units = self.image.wanted().units;
        let (all, mut missing) = (units.len(), None);
        let mut found = 0;
        for unit in &units {
            let paths = search.objects(unit, self.path);
            let fits = |path: &&PathBuf| {
                let Ok(size) = fs::metadata(path).map(|facts| facts.len()) else { return false };
                budget = budget.saturating_sub(size);
                budget > 0 && self.attach(path).is_ok()
            };
            match paths.iter().find(fits) {
                Some(path) => {
                    found += 1;
                    if found == 1 {
                        self.tried
                            .push(Tried { path: path.clone(), result: Ok(Some("split debug info".into())) });
                    }
                }
                None => missing = missing.or_else(|| paths.first().cloned()),
            }
        }
        if found > 1
            && let Some(first) = self.tried.last_mut()
        {
            first.result = Ok(Some(format!("split debug info, and {} files more", found - 1)));
        }
        if let Some(path) = missing {
            let more = match all - found - 1 {
                0 => String::new(),
                more => format!(", nor with that of {more} units more"),
            };
            self.tried.push(Tried { path, result: Err(format!("no file with its split debug info{more}")) });
        }
    }
}

/// The ELF files of a folder, by name, at most 256.
#[must_use]
pub fn elf_files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.flatten().map(|entry| entry.path()).filter(|path| is_elf(path));
    let mut files: Vec<PathBuf> = paths.take(MAX_LISTED).collect();
    files.sort();
    files
}

fn is_elf(path: &Path) -> bool {
    let mut magic = [0; 4];
    let regular = fs::metadata(path).is_ok_and(|facts| facts.is_file());
    regular
        && File::open(path).and_then(|mut file| file.read_exact(&mut magic)).is_ok()
        && magic == *b"\x7fELF"
}
