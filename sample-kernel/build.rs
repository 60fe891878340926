//! Compiles the one C file, and links the kernel as a static image of its own instead of a Linux program.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Without it every stack that the kernel samples would end at its second frame.
const NEEDED_FLAG: &str = "force-frame-pointers=yes";

const C_SOURCE: &str = "src/workload/nofp.c";
/// No frame pointers, which is what the file is there for, and unwind tables for each instruction instead. The others: what a kernel can
/// link (nothing from a C library, no position-independent code, nothing beside the code that the linker script does not know), no
/// calls turned into jumps, and no SSE where none is needed.
const C_FLAGS: [&str; 12] = [
    "-std=gnu11",
    "-O2",
    "-g",
    "-fomit-frame-pointer",
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
    println!("cargo:rustc-link-arg-bins={}", compile_c().display());
}

/// Compiles the C file with the compiler that links Rust programs, or the one that `CC` names.
fn compile_c() -> PathBuf {
    println!("cargo:rerun-if-changed={C_SOURCE}");
    println!("cargo:rerun-if-env-changed=CC");
    let compiler = env::var_os("CC").unwrap_or_else(|| "cc".into());
    let object = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("nofp.o");
    let mut cc = Command::new(&compiler);
    // The file must not depend on where the checkout lies: names as in `uniprof/build.rs`.
    cc.arg(concat!("-ffile-prefix-map=", env!("CARGO_MANIFEST_DIR"), "=/uniprof/sample-kernel"));
    cc.current_dir(env!("CARGO_MANIFEST_DIR")).args(C_FLAGS).args(["-c", C_SOURCE, "-o"]).arg(&object);
    let status = cc.status();
    assert!(
        status.as_ref().is_ok_and(|status| status.success()),
        "{} does not compile {C_SOURCE} ({status:?}); install gcc or clang, or name one in CC",
        compiler.display()
    );
    object
}
