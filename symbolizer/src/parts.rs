//! An image and the files that hold the rest of it: what is accepted as one of them, and on what proof.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::build_id::BuildId;
use crate::error::ImageError;
use crate::image::Image;
use crate::links::{AltLink, DebugLink, SplitUnit, units_of_object};
use crate::split;
use crate::store::ReadAt;

/// What was attached to an image.
#[derive(Debug, Clone, Default)]
pub(crate) struct Parts {
    /// The sections that were stripped from it.
    pub(crate) debug: Option<Arc<Image>>,
    /// What dwz moved to a file of its own.
    pub(crate) supplement: Option<Arc<Image>>,
    /// Split debug information of many units.
    pub(crate) package: Option<Arc<Image>>,
    /// Split debug information of single units, by their ids.
    pub(crate) objects: Vec<(u64, Arc<Image>)>,
}

/// A file with debug information, no image by itself: what `objcopy --only-keep-debug`, `dwz`, `-gsplit-dwarf` and `dwp`
/// make. Untrusted, like [`Image`].
#[derive(Debug)]
pub struct DebugFile(Image);

impl DebugFile {
    /// Parses any x86-64 ELF file, relocatable ones included.
    ///
    /// # Errors
    ///
    /// [`ImageError`] where it is none or its tables contradict themselves.
    pub fn parse(bytes: impl Into<Arc<[u8]>>) -> Result<Self, ImageError> {
        Image::parse_any(bytes.into()).map(Self)
    }

    /// Parses the file as it is read, like [`Image::open`].
    ///
    /// # Errors
    ///
    /// As [`DebugFile::parse`].
    pub fn open(file: Arc<dyn ReadAt>) -> Result<Self, ImageError> {
        Image::open_any(file).map(Self)
    }

    /// Its build-id, which is that of the image that it belongs to.
    #[must_use]
    pub fn build_id(&self) -> Option<&BuildId> {
        self.0.build_id()
    }
}

/// Why a file was accepted as part of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// Both have the same build-id.
    BuildId,
    /// The image's debug link has the checksum of the file.
    Checksum,
    /// Neither says which build it is, but the sections with code have the same names, addresses and sizes.
    Layout,
}

/// What a file brought to an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The sections that were stripped.
    Sections(Proof),
    /// What dwz moved away; the build-id is the one that the image asks for.
    Supplement,
    /// A package of split debug information, with this many of the image's units.
    Package {
        /// How many.
        units: usize,
    },
    /// An object file with split debug information, with this many of the image's units.
    Object {
        /// How many.
        units: usize,
    },
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sections(Proof::BuildId) => f.write_str("debug file with the same build-id"),
            Self::Sections(Proof::Checksum) => f.write_str("debug file with the checksum of the debug link"),
            Self::Sections(Proof::Layout) => f.write_str("debug file with the same sections"),
            Self::Supplement => f.write_str("supplementary debug file"),
            Self::Package { units: 1 } => f.write_str("packed split debug info of 1 unit"),
            Self::Package { units } => write!(f, "packed split debug info of {units} units"),
            Self::Object { units: 1 } => f.write_str("split debug info of 1 unit"),
            Self::Object { units } => write!(f, "split debug info of {units} units"),
        }
    }
}

/// Why a file is no part of an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Misfit {
    /// Two builds.
    #[error("is of build-id {found}, but the image is of build-id {expected}")]
    BuildId {
        /// The image's.
        expected: BuildId,
        /// The file's.
        found: BuildId,
    },
    /// No build-id on both sides, and code elsewhere.
    #[error(
        "has no build-id or checksum that ties it to the image, and its section {section} lies elsewhere or has another size"
    )]
    Layout {
        /// The first section that differs.
        section: String,
    },
    /// No build-id on both sides, and other code.
    #[error("has the same sections as the image, but other code in them")]
    Text,
    /// Nothing to compare.
    #[error("has nothing that ties it to the image: no build-id, no checksum, no sections with code")]
    NoProof,
    /// Split debug information of something else.
    #[error("holds split debug info, but of no unit of the image")]
    OtherUnits,
    /// It brings nothing.
    #[error("has no debug info and no symbols")]
    Nothing,
}

/// What an image lacks of its debug information, for its caller to bring: this crate's core opens no files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// A file with the stripped sections: there is no debug information in the image.
    pub debug_info: bool,
    /// What dwz moved away.
    pub supplement: Option<AltLink>,
    /// Units whose debug information lies in object files.
    pub units: Vec<SplitUnit>,
}

impl Wanted {
    /// Whether nothing is missing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.debug_info && self.supplement.is_none() && self.units.is_empty()
    }
}

impl Image {
    /// Adds a file to the image: all that can be asked of the image is then answered from both.
    ///
    /// # Errors
    ///
    /// [`Misfit`] where the file does not belong to the image or brings nothing.
    pub fn attach(&mut self, file: DebugFile) -> Result<Part, Misfit> {
        let file = file.0;
        if file.has_content(".debug_cu_index") {
            let units = self.units_in_package(&file);
            (units > 0).then_some(()).ok_or(Misfit::OtherUnits)?;
            self.parts.package = Some(Arc::new(file));
            return Ok(Part::Package { units });
        }
        if file.has_content(".debug_info.dwo") {
            return self.attach_object(file);
        }
        let wanted = self.alt_link().map(|link| link.build_id);
        if wanted.is_some() && wanted.as_ref() == file.build_id() {
            self.parts.supplement = Some(Arc::new(file));
            return Ok(Part::Supplement);
        }
        let proof = self.prove(&file)?;
        if !file.has_content(".debug_info") && file.symbols().is_empty() {
            return Err(Misfit::Nothing);
        }
        self.parts.debug = Some(Arc::new(file));
        self.forget_derived();
        Ok(Part::Sections(proof))
    }

    fn attach_object(&mut self, file: Image) -> Result<Part, Misfit> {
        let ours = self.split_units();
        let mut ids = units_of_object(&file);
        ids.retain(|id| ours.iter().any(|unit| unit.id == *id));
        if ids.is_empty() {
            return Err(Misfit::OtherUnits);
        }
        let (file, units) = (Arc::new(file), ids.len());
        self.parts.objects.extend(ids.into_iter().map(|id| (id, Arc::clone(&file))));
        Ok(Part::Object { units })
    }

    fn units_in_package(&self, file: &Image) -> usize {
        let Some(package) = split::package(file) else { return 0 };
        self.split_units().iter().filter(|unit| split::holds(&package, unit.id)).count()
    }

    /// What is missing.
    #[must_use]
    pub fn wanted(&self) -> Wanted {
        let mut units = self.split_units().to_vec();
        let package = self.parts.package.as_deref().and_then(split::package);
        let here = |id: u64| {
            package.as_ref().is_some_and(|package| split::holds(package, id))
                || self.parts.objects.iter().any(|(known, _)| *known == id)
        };
        units.retain(|unit| !here(unit.id));
        Wanted {
            debug_info: !self.debug_info().dwarf,
            supplement: self.alt_link().filter(|_| self.parts.supplement.is_none()),
            units,
        }
    }

    /// The name and checksum of its debug file, where `objcopy --add-gnu-debuglink` wrote them.
    #[must_use]
    pub fn debug_link(&self) -> Option<DebugLink> {
        DebugLink::of(self)
    }

    /// The supplementary file that dwz made.
    #[must_use]
    pub fn alt_link(&self) -> Option<AltLink> {
        AltLink::of(self)
    }

    /// The files that were attached, but for the one with the stripped sections: what [`crate::slim_image`] leaves out.
    /// One that can no longer be read is left out.
    pub fn part_files(&self) -> impl Iterator<Item = Cow<'_, [u8]>> {
        let Parts { supplement, package, objects, .. } = &self.parts;
        let mut single: Vec<&Arc<Image>> = Vec::new();
        for (_, file) in objects {
            // An object file with several units is one file.
            if single.last().is_none_or(|last| !Arc::ptr_eq(last, file)) {
                single.push(file);
            }
        }
        let files = supplement.iter().chain(package).chain(single);
        files.filter_map(|part| part.file.bytes(0..part.file.len()).ok())
    }

    fn prove(&self, file: &Image) -> Result<Proof, Misfit> {
        if let (Some(expected), Some(found)) = (self.build_id(), file.build_id()) {
            return match expected == found {
                true => Ok(Proof::BuildId),
                false => Err(Misfit::BuildId { expected: expected.clone(), found: found.clone() }),
            };
        }
        if self.debug_link().is_some_and(|link| file.file.checksum().ok() == Some(link.crc)) {
            return Ok(Proof::Checksum);
        }
        self.same_layout(file)?;
        match (self.text_hash(), file.text_hash()) {
            (Some(ours), Some(theirs)) if ours != theirs => Err(Misfit::Text),
            _ => Ok(Proof::Layout),
        }
    }

    /// Whether every section with code lies in the file where it lies in the image.
    fn same_layout(&self, file: &Image) -> Result<(), Misfit> {
        let code = |image: &Image| -> Vec<(String, u64, u64)> {
            let code = image.sections.iter().filter(|section| section.allocated && section.executable);
            code.map(|section| (section.name().to_owned(), section.address.0, section.size)).collect()
        };
        let (ours, theirs) = (code(self), code(file));
        if ours.is_empty() {
            return Err(Misfit::NoProof);
        }
        match ours.into_iter().find(|section| !theirs.contains(section)) {
            Some((section, ..)) => Err(Misfit::Layout { section }),
            None => Ok(()),
        }
    }
}
