//! Builds the reference unikernel and hands its ELF file to `src/bundled.rs`.
//!
//! `UNIPROF_KERNEL=FILE` takes a finished file instead. Where the kernel can't be built (the packaged crate comes
//! without its sources, or the host is no x86_64 Linux) nothing is embedded, and the binary says why when asked.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const PACKAGE: &str = "uniprof-sample-kernel";
/// As in the kernel's own `.cargo/config.toml`.
const TARGET: &str = "x86_64-unknown-linux-gnu";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=UNIPROF_KERNEL");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let (elf, absent) = match kernel(&out) {
        Ok(file) => {
            println!("cargo::rerun-if-changed={}", file.display());
            let bytes = fs::read(&file)
                .unwrap_or_else(|error| fail(&format!("cannot read {}: {error}", file.display())));
            (bytes, String::new())
        }
        Err(absent) => (Vec::new(), absent),
    };
    fs::write(out.join("bundled.elf"), elf).expect("OUT_DIR is writable");
    println!("cargo::rustc-env=UNIPROF_BUNDLED_ABSENT={absent}");
}

/// The kernel's ELF file, or the reason why this build has none.
fn kernel(out: &Path) -> Result<PathBuf, String> {
    if let Some(file) = env::var_os("UNIPROF_KERNEL") {
        return Ok(file.into());
    }
    let manifest_dir =
        PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR"));
    let workspace = manifest_dir.parent().expect("a package lies in a folder").to_owned();
    let source = workspace.join("sample-kernel");
    if !source.join("Cargo.toml").is_file() {
        return Err("it was built without the sources of the reference unikernel".into());
    }
    let host = env::var("HOST").expect("cargo sets HOST");
    if !(host.starts_with("x86_64") && host.contains("linux")) {
        return Err(format!(
            "the reference unikernel builds on x86_64 Linux only, and this was built on {host}"
        ));
    }
    watch(&source);
    for library in ["wire", "guest-probes"] {
        watch(&workspace.join(library));
    }
    Ok(build(&source, &out.join("sample-kernel")))
}

/// Rebuild when anything but build output changes below `dir`.
fn watch(dir: &Path) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        // Benches and tests of a library are no part of the kernel, nor is the one in C.
        if !["target", "benches", "tests", "c"].iter().any(|name| entry.file_name() == *name) {
            println!("cargo::rerun-if-changed={}", entry.path().display());
        }
    }
}

fn build(source: &Path, target_dir: &Path) -> PathBuf {
    let mut cargo = Command::new(env::var_os("CARGO").expect("cargo sets CARGO"));
    cargo.current_dir(source).args(["build", "--release", "--quiet", "--target-dir"]).arg(target_dir);
    // Added to the kernel's own flags: its file must not depend on where the checkout lies, and names what it says.
    let workspace = source.parent().unwrap_or(source);
    let flags = [Some((workspace.to_owned(), "uniprof")), cargo_home().map(|home| (home, "cargo"))]
        .into_iter()
        .flatten()
        .map(|(from, to)| format!("\"--remap-path-prefix={}=/{to}\"", from.display()))
        .collect::<Vec<_>>();
    cargo.arg("--config").arg(format!("build.rustflags=[{}]", flags.join(",")));
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(is_foreign) {
            cargo.env_remove(name);
        }
    }
    let status = cargo.status().unwrap_or_else(|error| fail(&format!("cannot start cargo: {error}")));
    if !status.success() {
        fail(&format!(
            "the reference unikernel in {} does not build ({status}); try `cargo build --release` there, \
             or name a finished file with UNIPROF_KERNEL=FILE",
            source.display()
        ));
    }
    target_dir.join(TARGET).join("release").join(PACKAGE)
}

/// Where the sources of the kernel's dependencies are.
fn cargo_home() -> Option<PathBuf> {
    let usual = || Some(PathBuf::from(env::var_os("HOME")?).join(".cargo"));
    env::var_os("CARGO_HOME").map(PathBuf::from).or_else(usual)
}

/// Ends the build with a sentence; a panic would bury it under a backtrace.
fn fail(sentence: &str) -> ! {
    eprintln!("{sentence}");
    std::process::exit(1)
}

/// Whether a variable is about the outer build only. The kernel has its own flags, profile and target; with
/// `cargo clippy` the wrapper would even leave no ELF file behind.
fn is_foreign(name: &str) -> bool {
    const EXACT: [&str; 6] = [
        "RUSTFLAGS",
        "RUSTC_WORKSPACE_WRAPPER",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_TARGET_DIR",
        "CLIPPY_ARGS",
        "OUT_DIR",
    ];
    const STARTS: [&str; 7] = [
        "CARGO_BUILD_",
        "CARGO_CFG_",
        "CARGO_FEATURE_",
        "CARGO_MANIFEST_",
        "CARGO_PKG_",
        "CARGO_PROFILE_",
        "CARGO_TARGET_",
    ];
    EXACT.contains(&name) || STARTS.iter().any(|start| name.starts_with(start))
}
