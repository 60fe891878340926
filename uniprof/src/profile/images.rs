//! Which images name a recording's addresses, and where they were looked for.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use uniprof_symbolizer::{
    AddressKind, BuildId, Image, Leaf, LeafRules, LoadBias, Repair, Resolution, Symbolizer,
};
use uniprof_wire::address::GuestVirtual;

use crate::exit::{Exit, Failure};
use crate::values;

/// The guest's own word on what it runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct GuestImage {
    pub(crate) build_id: Option<String>,
    pub(crate) text_hash: Option<String>,
}

/// One place that was looked in, for `uniprof symbols`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Looked {
    /// Where.
    pub(crate) place: String,
    /// What was found, or why nothing.
    pub(crate) result: Result<String, String>,
}

/// What names addresses.
#[derive(Default)]
pub(crate) struct Images {
    images: Vec<Loaded>,
    looked: Vec<Looked>,
}

struct Loaded {
    symbolizer: Symbolizer,
    rules: LeafRules,
}

/// Where to look: what the user named, and what the recording brings along.
#[derive(Debug, Default)]
pub(crate) struct Places<'a> {
    pub(crate) kernel: Option<&'a Path>,
    pub(crate) extra: &'a [values::Image],
    pub(crate) dirs: &'a [PathBuf],
    /// The ELF that was attached when the recording was made, slim.
    pub(crate) attached: Option<Vec<u8>>,
    pub(crate) force: bool,
}

impl Images {
    /// Loads what can be found. A file that the user named must be readable and, without `--force`, of the same build
    /// as the guest's; what was merely looked for may be absent.
    pub(crate) fn find(guest: &GuestImage, places: Places<'_>) -> anyhow::Result<Self> {
        let mut images = Self::default();
        if let Some(path) = places.kernel {
            let image = open(path)?;
            if !places.force {
                require_same(path, &image, guest)?;
            }
            images.looked(path.display().to_string(), Ok(describe(&image)));
            images.push(image, LoadBias::NONE);
        } else {
            images.look_around(guest, places.attached, places.dirs);
        }
        for extra in places.extra {
            let image = open(&extra.file)?;
            images.looked(extra.file.display().to_string(), Ok(describe(&image)));
            images.push(image, LoadBias::new(extra.bias));
        }
        Ok(images)
    }

    fn look_around(&mut self, guest: &GuestImage, attached: Option<Vec<u8>>, dirs: &[PathBuf]) {
        for path in dirs.iter().flat_map(|dir| candidates(dir, guest)) {
            let result = open(&path).map_err(|error| format!("{error:#}"));
            match result.and_then(|image| same(&image, guest).map(|()| image)) {
                Ok(image) => {
                    self.looked(path.display().to_string(), Ok(describe(&image)));
                    return self.push(image, LoadBias::NONE);
                }
                Err(why) => self.looked(path.display().to_string(), Err(why)),
            }
        }
        let place = "attached to the recording".to_owned();
        match attached.map(Image::parse) {
            Some(Ok(image)) => {
                self.looked(place, Ok(describe(&image)));
                self.push(image, LoadBias::NONE);
            }
            Some(Err(error)) => self.looked(place, Err(error.to_string())),
            None => self.looked(place, Err("no image is attached; name one with --kernel ELF".into())),
        }
    }

    fn looked(&mut self, place: String, result: Result<String, String>) {
        self.looked.push(Looked { place, result });
    }

    fn push(&mut self, image: Image, bias: LoadBias) {
        let rules = LeafRules::new(&image, bias);
        self.images.push(Loaded { symbolizer: Symbolizer::new(Arc::new(image), bias), rules });
    }

    /// Where was looked, in that order.
    pub(crate) fn places(&self) -> &[Looked] {
        &self.looked
    }

    /// The images, with their load bias.
    pub(crate) fn symbolizers(&self) -> impl Iterator<Item = &Symbolizer> {
        self.images.iter().map(|loaded| &loaded.symbolizer)
    }

    /// The name of an address, from the image whose code it is.
    /// `None` where there is no image at all.
    pub(crate) fn resolve(&mut self, address: GuestVirtual, kind: AddressKind) -> Option<Resolution> {
        let lookup = kind.lookup(address);
        let index = self.images.iter().position(|image| image.symbolizer.is_executable(lookup)).unwrap_or(0);
        self.images.get_mut(index).map(|image| image.symbolizer.resolve(address, kind))
    }

    /// Whether the walk along frame pointers missed the leaf's caller, and which it is.
    pub(crate) fn repair(&mut self, leaf: &Leaf<'_>) -> Repair {
        let home = match &mut self.images[..] {
            [only] => Some(only),
            several => several.iter_mut().find(|image| image.symbolizer.is_executable(leaf.rip)),
        };
        home.map_or(Repair::NotNeeded, |image| image.rules.repair(leaf))
    }
}

fn open(path: &Path) -> anyhow::Result<Image> {
    uniprof_symbolizer::load(path).with_context(|| format!("cannot use the image {}", path.display()))
}

/// Files in `dir` that could be the guest's image: by build-id as debuggers lay them out, then every ELF file there.
fn candidates(dir: &Path, guest: &GuestImage) -> Vec<PathBuf> {
    let mut files = Vec::new();
    if let Some((head, tail)) = guest.build_id.as_deref().and_then(|id| id.split_at_checked(2)) {
        for root in [dir.to_owned(), dir.join(".build-id")] {
            files.push(root.join(head).join(format!("{tail}.debug")));
            files.push(root.join(head).join(tail));
        }
        files.retain(|file| file.is_file());
    }
    let mut others: Vec<PathBuf> = fs::read_dir(dir)
        .map(|entries| entries.flatten().map(|entry| entry.path()).filter(|path| is_elf(path)).collect())
        .unwrap_or_default();
    others.sort();
    files.extend(others);
    files
}

fn is_elf(path: &Path) -> bool {
    let mut magic = [0; 4];
    let read = fs::File::open(path).and_then(|mut file| file.read_exact(&mut magic));
    read.is_ok() && magic == *b"\x7fELF"
}

fn same(image: &Image, guest: &GuestImage) -> Result<(), String> {
    let ours = (image.build_id().map(BuildId::to_string), image.text_hash().map(|hash| hash.to_string()));
    match (ours, guest) {
        ((Some(ours), _), GuestImage { build_id: Some(theirs), .. }) if ours != *theirs => {
            Err(format!("is build-id {ours}, but the guest runs build-id {theirs}"))
        }
        ((Some(_), _), GuestImage { build_id: Some(_), .. }) => Ok(()),
        ((_, Some(ours)), GuestImage { text_hash: Some(theirs), .. }) if ours != *theirs => {
            Err(format!("has text hash {ours}, but the guest runs text hash {theirs}"))
        }
        _ => Ok(()),
    }
}

/// Refuses an image that is not the guest's, with both identities.
pub(crate) fn require_same(path: &Path, image: &Image, guest: &GuestImage) -> anyhow::Result<()> {
    same(image, guest).map_err(|why| {
        let way_out = "give the file that the guest was started from, or use --force";
        Failure::error(Exit::Image, format!("{} {why}; {way_out}", path.display()))
    })
}

fn describe(image: &Image) -> String {
    let identity = image.identity().map_or_else(|| "no identity".into(), |identity| identity.to_string());
    let info = image.debug_info();
    let parts = [(info.dwarf, "debug info"), (info.symbols, "symbols"), (info.frames, "call-frame info")];
    let has: Vec<&str> = parts.into_iter().filter(|(has, _)| *has).map(|(_, name)| name).collect();
    if has.is_empty() { format!("{identity}, stripped") } else { format!("{identity}, {}", has.join(", ")) }
}
