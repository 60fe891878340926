//! Images to test with: this program itself, and small ones that GCC makes on the spot.

#![allow(dead_code, reason = "no test program uses all of it")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use uniprof_symbolizer::{Image, load};

/// The running test program: a position-independent Rust executable with debug information.
pub(crate) fn this_program() -> PathBuf {
    std::env::current_exe().expect("a running program has a path")
}

pub(crate) fn this_image() -> Arc<Image> {
    Arc::new(load(this_program()).expect("a test program is an image"))
}

/// A freestanding static program of C, C++ or assembly source, linked at a fixed address, with `flags` for GCC.
pub(crate) struct Built {
    _folder: tempfile::TempDir,
    pub(crate) path: PathBuf,
}

impl Built {
    pub(crate) fn new(name: &str, source: &str, flags: &[&str]) -> Self {
        Self::with("gcc", name, source, flags)
    }

    /// The same by another compiler.
    pub(crate) fn with(compiler: &str, name: &str, source: &str, flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join(name);
        std::fs::write(&file, source).expect("the source is written");
        let path = folder.path().join("image.elf");
        let fixed = ["-static", "-nostdlib", "-nostartfiles", "-no-pie", "-fno-pic", "-o"];
        compile(compiler, folder.path(), &[&fixed, flags], &path, &file);
        Self { _folder: folder, path }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        std::fs::read(&self.path).expect("the image is readable")
    }

    pub(crate) fn image(&self) -> Arc<Image> {
        Arc::new(self.image_alone())
    }

    pub(crate) fn image_alone(&self) -> Image {
        load(&self.path).expect("GCC makes an image")
    }
}

fn compile(compiler: &str, folder: &Path, flags: &[&[&str]; 2], out: &Path, source: &Path) {
    let mut command = Command::new(compiler);
    command.current_dir(folder).args(flags[0]).arg(out).args(flags[1]).arg(source);
    let output = command.output().unwrap_or_else(|error| panic!("{compiler}: {error}; `cargo xtask setup`"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// What `objcopy` makes of a file.
pub(crate) fn objcopy(file: &Path, flags: &[&str]) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().join("out.elf");
    let status = Command::new("objcopy").args(flags).arg(file).arg(&out).status();
    assert!(status.expect("objcopy runs; `apt-get install binutils`").success());
    std::fs::read(out).expect("objcopy wrote it")
}
