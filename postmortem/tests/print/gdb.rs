//! gdb with what it needs to understand values of Rust's libraries.

use std::path::Path;
use std::process::Command;

/// gdb with the pretty printers that come with the compiler, which then runs a script.
pub(crate) fn with_printers(script: &Path) -> Command {
    let sysroot = Command::new("rustc").args(["--print", "sysroot"]).output().expect("rustc runs").stdout;
    let sysroot = String::from_utf8(sysroot).expect("a path");
    let printers = Path::new(sysroot.trim()).join("lib/rustlib/etc");
    let mut gdb = Command::new("timeout");
    gdb.args(["-k", "5", "120", "gdb", "-nx", "-batch", "-ex"])
        .arg(format!("python import sys; sys.path.insert(0, {:?})", printers.display().to_string()))
        .arg("-x")
        .arg(script);
    gdb
}
