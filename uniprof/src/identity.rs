//! Whether an image is what a running guest runs, and what the recording says of it.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use uniprof_collector::attach::{Attached, Observed};
use uniprof_collector::memory::MemoryError;
use uniprof_collector::qemu::Placement;
use uniprof_collector::recording::SessionInfo;
use uniprof_symbolizer::{IdentityError, Image, LoadBias, check_identity};
use uniprof_wire::address::{GuestPhysical, GuestVirtual};

use crate::exit::{Exit, Failure};
use crate::profile::images::{GuestImage, require_same};
use crate::{attachment, options};

/// Adds the image's identity to the session, and packs what names addresses; `None` where the guest was started from
/// something without names. An image of another build is refused, with both identities.
pub(crate) fn attach_image(
    session: &mut SessionInfo,
    observed: &Observed<'_>,
    attached: &Attached,
    symbols: &options::Symbols,
) -> anyhow::Result<Option<Vec<u8>>> {
    let path = symbols.kernel.as_deref().unwrap_or(&observed.entry().kernel);
    let named = symbols.kernel.is_some();
    let read = || -> anyhow::Result<(Vec<u8>, Image)> {
        let bytes = fs::read(path)?;
        let image = Image::parse(bytes.clone())?;
        Ok((bytes, image))
    };
    let (bytes, image) = match read() {
        Ok(found) => found,
        Err(error) if named => {
            return Err(error).with_context(|| format!("cannot use the image {}", path.display()));
        }
        // QEMU boots more than ELF files, and a file may be gone by now: then the recording has no names of its own.
        Err(_) => return Ok(None),
    };
    if !symbols.force {
        let said = GuestImage { build_id: session.build_id.clone(), text_hash: None };
        require_same(path, &image, &said)?;
        let proven = image.build_id().is_some() && said.build_id.is_some();
        // What was started here from this very file needs no proof.
        if !proven && (named || matches!(observed, Observed::Other(_))) {
            compare_text(path, &image, observed, attached)?;
        }
    }
    if session.build_id.is_none() {
        session.build_id = image.build_id().map(ToString::to_string);
        session.text_identity = image.text_hash().map(|hash| hash.to_string());
    }
    Ok(attachment::pack(&bytes))
}

/// Where there is no build-id on both sides: the image's text against guest memory. That is possible where the region
/// lies in RAM, as it then tells how far virtual addresses are from physical ones; kernels map their text alike.
fn compare_text(
    path: &Path,
    image: &Image,
    observed: &Observed<'_>,
    attached: &Attached,
) -> anyhow::Result<()> {
    if observed.entry().placement != Placement::Ram {
        return Ok(());
    }
    let header = &attached.region.header;
    let offset = header.region_gva.0.wrapping_sub(header.region_gpa.0);
    let mut read = |at: GuestVirtual, into: &mut [u8]| -> Result<(), MemoryError> {
        attached.memory.read(GuestPhysical(at.0.wrapping_sub(offset)), into)
    };
    match check_identity(image, LoadBias::NONE, None, &mut read) {
        Err(IdentityError::Mismatch(mismatch)) => {
            Err(Failure::error(Exit::Image, format!("{}: {mismatch}, or use --force", path.display())))
        }
        // Unknown is not different: the guest may map its text elsewhere, or the file may have no text.
        Ok(_) | Err(_) => Ok(()),
    }
}
