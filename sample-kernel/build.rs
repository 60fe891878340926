//! Compiles the C files, and links the kernel as a static image of its own instead of a Linux program.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Without it every stack that the kernel samples would end at its second frame.
const NEEDED_FLAG: &str = "force-frame-pointers=yes";

/// Each file, and its own flag: no frame pointers is what the first is there for.
const C_SOURCES: [(&str, &str); 2] = [
    ("src/workload/nofp.c", "-fomit-frame-pointer"),
    ("src/workload/crash/protocol.c", "-fno-omit-frame-pointer"),
];
/// Unwind tables for each instruction, and what a kernel can link: nothing from a C library, no position-independent code, nothing
/// beside the code that the linker script does not know. No calls turned into jumps, and no SSE where none is needed.
const C_FLAGS: [&str; 11] = [
    "-std=gnu11",
    "-O2",
    "-g",
    "-fasynchronous-unwind-tables",
    "-fno-optimize-sibling-calls",
    "-ffreestanding",
    "-fno-pic",
    "-fno-stack-protector",
    "-fcf-protection=none",
    "-mgeneral-regs-only",
    "-Wall",
];

fn main() {
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    assert!(
        flags.contains(NEEDED_FLAG),
        "the flags of .cargo/config.toml are missing: build with sample-kernel as the working directory, and with \
         neither RUSTFLAGS nor CARGO_ENCODED_RUSTFLAGS in the environment"
    );
    println!("cargo:rerun-if-env-changed=CARGO_ENCODED_RUSTFLAGS");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("link.ld");
    let script = script.to_str().expect("the path of the linker script is UTF-8");
    println!("cargo:rerun-if-changed={script}");
    for argument in [
        "-nostartfiles",
        "-nostdlib",
        "-static",
        "-no-pie",
        "-Wl,--build-id=sha1",
        "-Wl,-z,max-page-size=4096",
    ] {
        println!("cargo:rustc-link-arg-bins={argument}");
    }
    println!("cargo:rustc-link-arg-bins=-Wl,-T,{script}");
    println!("cargo:rerun-if-env-changed=CC");
    for (source, flag) in C_SOURCES {
        println!("cargo:rustc-link-arg-bins={}", compile_c(source, flag).display());
    }
}

/// Compiles a C file with the compiler that links Rust programs, or the one that `CC` names.
fn compile_c(source: &str, flag: &str) -> PathBuf {
    println!("cargo:rerun-if-changed={source}");
    let compiler = env::var_os("CC").unwrap_or_else(|| "cc".into());
    let name = Path::new(source).with_extension("o");
    let name = name.file_name().expect("each source has a name");
    let object = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join(name);
    let mut cc = Command::new(&compiler);
    // The file must not depend on where the checkout lies: names as in `uniprof/build.rs`.
    cc.arg(concat!("-ffile-prefix-map=", env!("CARGO_MANIFEST_DIR"), "=/uniprof/sample-kernel"));
    cc.current_dir(env!("CARGO_MANIFEST_DIR")).args(C_FLAGS).args([flag, "-c", source, "-o"]).arg(&object);
    let status = cc.status();
    assert!(
        status.as_ref().is_ok_and(|status| status.success()),
        "{} does not compile {source} ({status:?}); install gcc or clang, or name one in CC",
        compiler.display()
    );
    object
}
