//! Where the files that belong to an image may lie. Only names are made here: [`crate::complete`] opens them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::build_id::BuildId;
use crate::image::Image;
use crate::links::{AltLink, SplitUnit};

/// Where Debian, Fedora and most others install debug files.
pub const SYSTEM_DEBUG_DIR: &str = "/usr/lib/debug";

/// The places to search besides the image's own folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Search {
    /// Folders with debug files, or with a tree of build-ids in them, the first one first. [`SYSTEM_DEBUG_DIR`] is one only
    /// where it is named.
    pub dirs: Vec<PathBuf>,
    /// A folder with a folder for each build-id, in which `debuginfo` and `executable` lie: what debuginfod clients keep.
    pub cache: Option<PathBuf>,
}

impl Search {
    /// Where a file with this build-id may lie: as debuggers lay it out, then as debuginfod clients do.
    #[must_use]
    pub fn by_build_id(&self, id: &BuildId) -> Vec<PathBuf> {
        let text = id.to_string();
        let (head, tail) = text.split_at(2);
        let mut paths = Vec::new();
        for dir in &self.dirs {
            for root in [dir.join(".build-id"), dir.clone()] {
                paths.push(root.join(head).join(format!("{tail}.debug")));
                paths.push(root.join(head).join(tail));
            }
        }
        let cached = self
            .cache
            .iter()
            .flat_map(|cache| ["debuginfo", "executable"].map(|name| cache.join(&text).join(name)));
        paths.extend(cached);
        paths
    }

    /// Where the debug file of an image that lies at `path` may be: beside it, by its build-id, by its debug link.
    #[must_use]
    pub fn debug_files(&self, image: &Image, path: Option<&Path>) -> Vec<PathBuf> {
        let mut paths = Vec::new();
        if let Some(path) = path {
            paths.extend(["dbg", "debug"].map(|extension| with_extension(path, extension)));
        }
        paths.extend(image.build_id().iter().flat_map(|id| self.by_build_id(id)));
        if let Some(link) = image.debug_link() {
            let folder = path.and_then(Path::parent);
            paths.extend(
                folder
                    .iter()
                    .flat_map(|folder| [folder.join(&link.file), folder.join(".debug").join(&link.file)]),
            );
            for dir in &self.dirs {
                // `/usr/lib/debug/usr/bin/program.debug`
                let mirrored = folder
                    .filter(|folder| folder.is_absolute())
                    .and_then(|folder| folder.strip_prefix("/").ok());
                paths.extend(mirrored.map(|folder| dir.join(folder).join(&link.file)));
                paths.push(dir.join(&link.file));
            }
        }
        if let Some(name) = path.and_then(Path::file_name) {
            for dir in &self.dirs {
                paths.extend([
                    dir.join(name),
                    with_extension(&dir.join(name), "dbg"),
                    with_extension(&dir.join(name), "debug"),
                ]);
            }
        }
        unique(paths, path)
    }

    /// Where the file may be that dwz made. `named_by` is the file that links to it.
    #[must_use]
    pub fn supplements(&self, link: &AltLink, named_by: Option<&Path>) -> Vec<PathBuf> {
        let folder = named_by.and_then(Path::parent);
        let mut paths: Vec<PathBuf> = folder.map(|folder| folder.join(&link.file)).into_iter().collect();
        if link.file.is_absolute() {
            paths.push(link.file.clone());
        }
        paths.extend(self.by_build_id(&link.build_id));
        if let Some(name) = link.file.file_name() {
            paths.extend(self.dirs.iter().flat_map(|dir| [dir.join(name), dir.join(".dwz").join(name)]));
        }
        unique(paths, None)
    }

    /// Where a package of split debug information may be: `image.dwp`, and `kernel.dwp` for `kernel.elf`.
    #[must_use]
    pub fn packages(&self, path: &Path) -> Vec<PathBuf> {
        let mut paths = vec![with_extension(path, "dwp"), path.with_extension("dwp")];
        if let Some(name) = path.file_name() {
            let dirs = self.dirs.iter().map(|dir| dir.join(name));
            paths.extend(dirs.flat_map(|path| [with_extension(&path, "dwp"), path.with_extension("dwp")]));
        }
        unique(paths, None)
    }

    /// Where the object file of a split unit may be: where the compiler wrote it, then beside the image and in the folders.
    #[must_use]
    pub fn objects(&self, unit: &SplitUnit, path: Option<&Path>) -> Vec<PathBuf> {
        let Some(file) = &unit.file else { return Vec::new() };
        // `join` leaves an absolute name as it is.
        let compiled = unit.folder.as_ref().map_or_else(|| file.clone(), |folder| folder.join(file));
        let mut paths: Vec<PathBuf> = compiled.is_absolute().then_some(compiled).into_iter().collect();
        let folders = path.and_then(Path::parent).into_iter().chain(self.dirs.iter().map(PathBuf::as_path));
        let names = |folder: &Path| {
            let relative = file.is_relative().then(|| folder.join(file));
            relative.into_iter().chain(file.file_name().map(|name| folder.join(name))).collect::<Vec<_>>()
        };
        paths.extend(folders.flat_map(names));
        unique(paths, None)
    }
}

/// The path with `.extension` after all of its name.
fn with_extension(path: &Path, extension: &str) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    name.into()
}

fn unique(paths: Vec<PathBuf>, but: Option<&Path>) -> Vec<PathBuf> {
    let mut seen: Vec<PathBuf> = Vec::with_capacity(paths.len());
    for path in paths {
        if Some(path.as_path()) != but && !seen.contains(&path) {
            seen.push(path);
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(paths: Vec<PathBuf>) -> Vec<String> {
        paths.iter().map(|path| path.display().to_string()).collect()
    }

    #[test]
    fn build_ids_are_looked_up_as_debuggers_lay_them_out() {
        let search = Search { dirs: vec!["/d".into()], cache: Some("/c".into()) };
        let id = "abcdef".parse().unwrap();
        assert_eq!(
            shown(search.by_build_id(&id)),
            [
                "/d/.build-id/ab/cdef.debug",
                "/d/.build-id/ab/cdef",
                "/d/ab/cdef.debug",
                "/d/ab/cdef",
                "/c/abcdef/debuginfo",
                "/c/abcdef/executable"
            ]
        );
    }

    #[test]
    fn objects_lie_where_they_were_compiled_or_beside_the_image() {
        let search = Search { dirs: vec!["/d".into()], cache: None };
        let unit = SplitUnit { id: 1, file: Some("obj/a.dwo".into()), folder: Some("/build".into()) };
        assert_eq!(
            shown(search.objects(&unit, Some(Path::new("/k/image")))),
            ["/build/obj/a.dwo", "/k/obj/a.dwo", "/k/a.dwo", "/d/obj/a.dwo", "/d/a.dwo"]
        );
        let absolute = SplitUnit { id: 1, file: Some("/o/a.dwo".into()), folder: Some("/build".into()) };
        assert_eq!(shown(search.objects(&absolute, None)), ["/o/a.dwo", "/d/a.dwo"]);
    }

    #[test]
    fn packages_are_called_after_the_image() {
        let search = Search::default();
        assert_eq!(shown(search.packages(Path::new("/k/a.elf"))), ["/k/a.elf.dwp", "/k/a.dwp"]);
        assert_eq!(shown(search.packages(Path::new("/k/a"))), ["/k/a.dwp"]);
    }
}
