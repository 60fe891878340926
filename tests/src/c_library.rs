//! The probes' C library, built as a C programmer builds it, and what compilers make of its header.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The folder of the C library's sources.
#[must_use]
pub fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace").join("guest-c")
}

/// Where `lib/libuniprof.a` and `include/uniprof.h` are, built once below `target`.
pub fn built(target: &str) -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let out = Path::new(target).join("c-library");
        let mut build = Command::new(sources().join("build"));
        // Its own, because the outer build holds the lock of the usual one.
        build.arg(&out).env("CARGO", env!("CARGO")).env("CARGO_TARGET_DIR", target);
        assert!(build.status().expect("sh runs").success(), "guest-c/build fails");
        out
    })
}

/// Compiles C as a freestanding kernel without floating-point registers would, and gives the object file.
#[must_use]
pub fn compiled(compiler: &str, source: &str, library: &Path, dir: &Path, flags: &[&str]) -> PathBuf {
    let (file, object) = (dir.join("source.c"), dir.join(format!("{compiler}.o")));
    std::fs::write(&file, source).expect("the source is written");
    let mut cc = Command::new(compiler);
    cc.args(["-std=gnu11", "-O2", "-ffreestanding", "-fno-pic", "-mno-red-zone"]);
    cc.args(["-Wall", "-Wextra", "-Wshadow", "-Werror", "-c", "-I"]).arg(library.join("include"));
    cc.args(flags).arg(&file).arg("-o").arg(&object);
    let output = cc.output().expect("the compiler runs");
    assert!(output.status.success(), "{compiler}: {}", String::from_utf8_lossy(&output.stderr));
    object
}

/// The kernel in C, `sample-kernel/c/`, built once below `target` with the library.
pub fn kernel(target: &str) -> &'static Path {
    static KERNEL: OnceLock<PathBuf> = OnceLock::new();
    KERNEL.get_or_init(|| {
        let kernel = Path::new(target).join("c-kernel.elf");
        let build = sources().with_file_name("sample-kernel").join("c/build");
        let status = Command::new(build).arg(&kernel).arg(built(target)).status();
        assert!(status.expect("sh runs").success(), "sample-kernel/c/build fails");
        kernel
    })
}

/// A Linux program of one file of C with the library in it.
#[must_use]
pub fn program(source: &Path, target: &str) -> PathBuf {
    let (library, program) = (built(target), Path::new(target).join("c-program"));
    let mut cc = Command::new("cc");
    // At a fixed address, because the file has to tell where everything is, and with the frame pointers that a kernel has.
    cc.args([
        "-std=gnu11",
        "-O2",
        "-g",
        "-no-pie",
        "-fno-omit-frame-pointer",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-I",
    ]);
    cc.arg(library.join("include")).arg(source).arg(library.join("lib/libuniprof.a")).arg("-o").arg(&program);
    let output = cc.output().expect("the compiler runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    program
}
