//! The reference unikernel inside this binary.

use crate::exit::{Exit, Failure};

/// The word that stands for it where a command takes a kernel.
pub(crate) const NAME: &str = "bundled";

static SAMPLE: &[u8] = include_bytes!("../assets/sample.uniprof");
static ELF: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/bundled.elf"));

/// Its ELF file with debug info, or why this build has none.
pub(crate) fn elf() -> anyhow::Result<&'static [u8]> {
    if ELF.is_empty() {
        return Err(Failure::error(
            Exit::Failed,
            concat!(
                "this uniprof has no bundled unikernel: ",
                env!("UNIPROF_BUNDLED_ABSENT"),
                "; name a kernel file instead, or build uniprof from a checkout"
            ),
        ));
    }
    Ok(ELF)
}

/// A small recording of the `kv` workload, so that what reads recordings can be tried without QEMU.
pub(crate) fn sample() -> &'static [u8] {
    SAMPLE
}
