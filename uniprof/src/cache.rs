//! The user's cache directory: what can be made or fetched again.

use std::env;
use std::path::PathBuf;

/// `$XDG_CACHE_HOME/uniprof`, or `~/.cache/uniprof`; `None` where neither is known.
pub(crate) fn dir() -> Option<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let root = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    Some(root.join("uniprof"))
}

/// Debug files: a folder for each build-id, as debuginfod clients lay them out.
pub(crate) fn debug_files() -> Option<PathBuf> {
    Some(dir()?.join("debug-files"))
}

/// Tables of the names of whole images.
pub(crate) fn symbols() -> Option<PathBuf> {
    Some(dir()?.join("symbols"))
}
