//! The reference unikernel inside this binary.

use crate::exit::{Exit, Failure};

/// The word that stands for it where a command takes a kernel.
pub(crate) const NAME: &str = "bundled";

static ELF: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/bundled.elf"));

/// Its ELF file with debug info, or why this build has none.
pub(crate) fn elf() -> anyhow::Result<&'static [u8]> {
    if ELF.is_empty() {
        return Err(Failure::new(
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
