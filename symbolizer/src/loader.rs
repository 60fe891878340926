//! The one place that opens files.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use crate::error::ImageError;
use crate::image::Image;

/// Reads and parses the image in a file. The file is read into memory: a mapped file could change or shrink under the
/// parser.
///
/// # Errors
///
/// [`ImageError::Read`], or what [`Image::parse`] finds.
pub fn load(path: impl AsRef<Path>) -> Result<Image, ImageError> {
    let path = path.as_ref();
    let bytes = read(path).map_err(|error| ImageError::Read { path: path.to_owned(), error })?;
    Image::parse(bytes)
}

fn read(path: &Path) -> io::Result<Arc<[u8]>> {
    let mut file = File::open(path)?;
    let facts = file.metadata()?;
    if !facts.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let size = usize::try_from(facts.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let mut bytes: Arc<[u8]> = std::iter::repeat_n(0, size).collect();
    match Arc::get_mut(&mut bytes) {
        Some(buffer) => file.read_exact(buffer)?,
        None => return Err(io::ErrorKind::Other.into()),
    }
    Ok(bytes)
}
