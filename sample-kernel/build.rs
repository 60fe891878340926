//! Links the kernel as a static image of its own instead of a Linux program.

use std::path::Path;

/// Without it every stack that the kernel samples would end at its second frame.
const NEEDED_FLAG: &str = "force-frame-pointers=yes";

fn main() {
    let flags = std::env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
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
}
