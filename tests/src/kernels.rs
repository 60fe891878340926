//! Guests without probes: kernels that do almost nothing, put together byte by byte, and the reference kernel built without hooks.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// The reference kernel without the probes' hooks, built below `target`.
#[must_use]
pub fn without_hooks(target: &str) -> PathBuf {
    let kernel = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace").join("sample-kernel");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(kernel).args(["build", "--release", "--features", "no-probes"]);
    cargo.args(["--message-format", "json", "--target-dir"]).arg(Path::new(target).join("no-probes"));
    // The kernel has its own flags, and both would replace them.
    let outer = ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_WORKSPACE_WRAPPER", "CARGO_TARGET_DIR"];
    outer.iter().for_each(|name| {
        cargo.env_remove(name);
    });
    let output = cargo.stderr(Stdio::inherit()).output().expect("cargo starts");
    assert!(output.status.success(), "the kernel does not build without hooks");
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == "uniprof-sample-kernel")
        .find_map(|message| Some(message["executable"].as_str()?.into()))
        .expect("cargo names the executable")
}

/// An ELF file that boots through its PVH note, writes `message` to COM1 and then halts for ever.
///
/// PVH starts it in 32-bit protected mode at the address in the note (Xen's `XEN_ELFNOTE_PHYS32_ENTRY`, type 18).
#[must_use]
pub fn without_probes(message: &str) -> Vec<u8> {
    const LOAD: u32 = 0x10_0000;
    const HEADERS: u32 = 64 + 2 * 56;
    const NOTE: u32 = 24;
    let code = halting_after(message.as_bytes());
    let size = HEADERS + NOTE + code.len() as u32;
    let entry = LOAD + HEADERS + NOTE;
    let mut elf = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    // ET_EXEC for x86-64, one version, then entry, program headers at 64, no sections.
    elf.extend([2, 0, 62, 0, 1, 0, 0, 0]);
    elf.extend(u64::from(entry).to_le_bytes());
    elf.extend(64_u64.to_le_bytes());
    elf.extend(0_u64.to_le_bytes());
    elf.extend([0, 0, 0, 0, 64, 0, 56, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
    // PT_LOAD (1), readable and executable, the whole file; then PT_NOTE (4), by whose alignment QEMU finds its parts.
    elf.extend(program_header(1, 5, 0, LOAD, size, 8));
    elf.extend(program_header(4, 4, HEADERS, LOAD + HEADERS, NOTE, 4));
    elf.extend([4, 0, 0, 0, 8, 0, 0, 0, 18, 0, 0, 0]);
    elf.extend(b"Xen\0");
    elf.extend(u64::from(entry).to_le_bytes());
    elf.extend(code);
    elf
}

fn program_header(kind: u32, flags: u32, offset: u32, address: u32, size: u32, align: u32) -> Vec<u8> {
    let mut header = Vec::new();
    header.extend(kind.to_le_bytes());
    header.extend(flags.to_le_bytes());
    for word in [offset, address, address, size, size, align] {
        header.extend(u64::from(word).to_le_bytes());
    }
    header
}

/// `mov dx, 0x3f8`, then `mov al, byte; out dx, al` for each byte, then `cli; hlt` in a loop.
fn halting_after(message: &[u8]) -> Vec<u8> {
    let mut code = vec![0x66, 0xba, 0xf8, 0x03];
    for byte in message {
        code.extend([0xb0, *byte, 0xee]);
    }
    code.extend([0xfa, 0xf4, 0xeb, 0xfc]);
    code
}
