//! Where images and their debug files are looked for. The order, and why, is in `docs/symbolizer.md`.

use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use anyhow::Context as _;
use uniprof_collector::recording::LoadedImage;
use uniprof_symbolizer::{BuildId, Image, LoadBias, SYSTEM_DEBUG_DIR, Search, complete, elf_files};

use crate::attachment::Attached;
use crate::debuginfod::{Kind, Servers};
use crate::exit::{Exit, Failure};
use crate::{bundled, cache, guest, values};

/// The guest's own word on what it runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct GuestImage {
    pub(crate) build_id: Option<String>,
    pub(crate) text_hash: Option<String>,
    /// What is loaded where, as far as that is known.
    pub(crate) loaded: Vec<LoadedImage>,
}

/// One place that was looked in, for `uniprof symbols`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Looked {
    /// Where.
    pub(crate) place: String,
    /// What was found, or why nothing.
    pub(crate) result: Result<String, String>,
}

/// Where to look: what the user named, and what the recording brings along.
#[derive(Debug, Default)]
pub(crate) struct Places<'a> {
    pub(crate) kernel: Option<&'a Path>,
    pub(crate) extra: &'a [values::Image],
    pub(crate) dirs: &'a [PathBuf],
    /// The name of the kernel's file when the recording was made.
    pub(crate) kernel_name: &'a str,
    /// The ELF that was attached when the recording was made, slim; `None` where there is no recording.
    pub(crate) attached: Option<Attached>,
    /// The guest's name: if it still runs, the file that it was started from is of use.
    pub(crate) guest_name: &'a str,
    pub(crate) force: bool,
}

/// An image that was found.
pub(crate) struct Found {
    /// The file's name, without its directory.
    pub(crate) name: String,
    pub(crate) image: Image,
    pub(crate) bias: LoadBias,
}

/// Looks for the images of a guest. A file that the user named must be readable and, without `force`, of the same build
/// as the guest's; what was merely looked for may be absent.
pub(crate) fn find(guest: &GuestImage, places: Places<'_>) -> anyhow::Result<(Vec<Found>, Vec<Looked>)> {
    let dirs = places.dirs.iter().cloned().chain([SYSTEM_DEBUG_DIR.into()]).collect();
    let cache = cache::debug_files();
    let servers = Servers::from_env(cache.as_deref());
    let search = Search { dirs, cache };
    let mut finder = Finder { guest, search, servers, looked: Vec::new() };
    let extra = places.extra;
    let mut found = Vec::new();
    if let Some(path) = places.kernel {
        let (path, mut image) = finder.named(path)?;
        if !places.force {
            require_same(&path, &image, guest)?;
        }
        finder.complete(&mut image, Some(&path));
        let bias = bias_of(&image, guest, true);
        found.push(Found { name: file_name(&path), image, bias });
    } else {
        found.extend(finder.look_around(&places));
    }
    for extra in extra {
        let (path, mut image) = finder.named(&extra.file)?;
        finder.complete(&mut image, Some(&path));
        let bias = extra.bias.map_or_else(|| bias_of(&image, guest, false), LoadBias::new);
        found.push(Found { name: file_name(&path), image, bias });
    }
    for loaded in &guest.loaded {
        let is_here = |found: &Found| found.image.build_id().map(BuildId::to_string) == loaded.build_id;
        if loaded.build_id.is_some() && loaded.build_id != guest.build_id && !found.iter().any(is_here) {
            found.extend(finder.other(loaded));
        }
    }
    Ok((found, finder.looked))
}

/// Opens a file that the user named, or the bundled kernel. Unikraft's images for QEMU are 32-bit ELF files with the 64-bit
/// one beside them.
pub(crate) fn open(path: &Path) -> anyhow::Result<(PathBuf, Image)> {
    if path == Path::new(bundled::NAME) {
        return Ok((path.to_owned(), Image::parse(bundled::elf()?)?));
    }
    uniprof_symbolizer::load(path)
        .map(|image| (path.to_owned(), image))
        .or_else(|error| {
            let mut beside = path.as_os_str().to_owned();
            beside.push(".dbg");
            let beside = PathBuf::from(beside);
            uniprof_symbolizer::load(&beside).map(|image| (beside, image)).map_err(|_| error)
        })
        .with_context(|| format!("cannot use the image {}", path.display()))
}

/// Opens a file that the user named, with the debug information that is found for it, in `dirs` first.
pub(crate) fn open_complete(path: &Path, dirs: &[PathBuf]) -> anyhow::Result<Image> {
    let (path, mut image) = open(path)?;
    let cache = cache::debug_files();
    let servers = Servers::from_env(cache.as_deref());
    let dirs = dirs.iter().cloned().chain([SYSTEM_DEBUG_DIR.into()]).collect();
    let search = Search { dirs, cache };
    let guest = GuestImage::default();
    Finder { guest: &guest, search, servers, looked: Vec::new() }.complete(&mut image, Some(&path));
    Ok(image)
}

struct Finder<'a> {
    guest: &'a GuestImage,
    search: Search,
    servers: Option<Servers>,
    looked: Vec<Looked>,
}

impl Finder<'_> {
    fn named(&mut self, path: &Path) -> anyhow::Result<(PathBuf, Image)> {
        let (path, image) = open(path)?;
        self.looked(&path, Ok(describe(&image)));
        Ok((path, image))
    }

    fn look_around(&mut self, places: &Places<'_>) -> Option<Found> {
        let (name, path, mut image) = self.told(places.dirs).or_else(|| {
            let attached = places.attached.clone().and_then(|attached| self.attached(attached));
            let attached = attached.map(|image| (places.kernel_name.to_owned(), None, image));
            let running = attached.or_else(|| self.running(places.guest_name));
            running.or_else(|| self.bundled()).or_else(|| self.by_build_id())
        })?;
        if !image.wanted().is_empty() {
            // A debug file may lie beside what the guest was started from.
            let running = || guest::kernel_files(places.guest_name).into_iter().find(|path| path.is_file());
            self.complete(&mut image, path.or_else(running).as_deref());
        }
        let bias = bias_of(&image, self.guest, true);
        Some(Found { name, image, bias })
    }

    /// The image in the folders that the user named.
    fn told(&mut self, dirs: &[PathBuf]) -> Option<(String, Option<PathBuf>, Image)> {
        let search = Search { dirs: dirs.to_vec(), cache: None };
        let id = self.guest.build_id.as_deref().and_then(|id| BuildId::from_str(id).ok());
        let trees = id.iter().flat_map(|id| search.by_build_id(id)).filter(|path| path.is_file());
        let paths: Vec<PathBuf> = trees.chain(dirs.iter().flat_map(|dir| elf_files(dir))).collect();
        paths.into_iter().find_map(|path| self.same_at(path))
    }

    /// The image at a path, if it is the guest's.
    fn same_at(&mut self, path: PathBuf) -> Option<(String, Option<PathBuf>, Image)> {
        let result = uniprof_symbolizer::load(&path).map_err(|error| error.to_string());
        match result.and_then(|image| same(&image, self.guest).map(|()| image)) {
            Ok(image) => {
                self.looked(&path, Ok(describe(&image)));
                Some((file_name(&path), Some(path), image))
            }
            Err(why) => {
                self.looked(&path, Err(why));
                None
            }
        }
    }

    fn attached(&mut self, attached: Attached) -> Option<Image> {
        let place = "attached to the recording";
        match attached.image() {
            Some(Ok(image)) => {
                self.looked(place, Ok(describe(&image)));
                Some(image)
            }
            Some(Err(error)) => {
                self.looked(place, Err(error.to_string()));
                None
            }
            None => {
                self.looked(place, Err("no image is attached; name one with --kernel ELF".into()));
                None
            }
        }
    }

    /// What the guest was started from. A name alone proves nothing: only an image of a known identity is compared.
    fn running(&mut self, name: &str) -> Option<(String, Option<PathBuf>, Image)> {
        if self.guest.build_id.is_none() && self.guest.text_hash.is_none() {
            return None;
        }
        let files = guest::kernel_files(name).into_iter().filter(|path| path.is_file());
        files.collect::<Vec<_>>().into_iter().find_map(|path| self.same_at(path))
    }

    /// The kernel in this binary, where it is the guest's.
    fn bundled(&mut self) -> Option<(String, Option<PathBuf>, Image)> {
        let image = Image::parse(bundled::elf().ok()?).ok()?;
        image.build_id().filter(|id| Some(id.to_string()) == self.guest.build_id)?;
        self.looked("in uniprof itself", Ok(describe(&image)));
        Some((bundled::NAME.to_owned(), None, image))
    }

    /// The guest's image among installed debug files, in the cache, or from a server.
    fn by_build_id(&mut self) -> Option<(String, Option<PathBuf>, Image)> {
        let id = BuildId::from_str(self.guest.build_id.as_deref()?).ok()?;
        let image = self.image_with(&id)?;
        Some((file_name(&image.0), Some(image.0), image.1))
    }

    fn image_with(&mut self, id: &BuildId) -> Option<(PathBuf, Image)> {
        for path in self.search.by_build_id(id) {
            if !path.metadata().is_ok_and(|facts| facts.len() > 0) {
                self.looked(&path, Err(NO_FILE.into()));
                continue;
            }
            if let Some(image) = self.with_id(&path, id) {
                return Some((path, image));
            }
        }
        for kind in [Kind::DebugInfo, Kind::Executable] {
            let path = self.fetch(id, kind);
            if let Some(image) = path.as_deref().and_then(|path| self.with_id(path, id)) {
                return Some((path?, image));
            }
        }
        None
    }

    fn with_id(&mut self, path: &Path, id: &BuildId) -> Option<Image> {
        let result = uniprof_symbolizer::load(path).map_err(|error| error.to_string()).and_then(|image| {
            match image.build_id() {
                Some(found) if found == id => Ok(image),
                Some(found) => Err(format!("is build-id {found}, not {id}")),
                None => Err(format!("has no build-id, not {id}")),
            }
        });
        match result {
            Ok(image) => {
                self.looked(path, Ok(describe(&image)));
                Some(image)
            }
            Err(why) => {
                self.looked(path, Err(why));
                None
            }
        }
    }

    fn fetch(&mut self, id: &BuildId, kind: Kind) -> Option<PathBuf> {
        let servers = self.servers.as_mut()?;
        let place = servers.place(id, kind);
        match servers.fetch(id, kind) {
            Ok(path) => {
                self.looked(place, Ok(format!("fetched to {}", path.display())));
                Some(path)
            }
            Err(why) => {
                self.looked(place, Err(why));
                None
            }
        }
    }

    /// Looks for the debug information that an image lacks. Nothing found is no error.
    fn complete(&mut self, image: &mut Image, path: Option<&Path>) {
        if image.wanted().is_empty() {
            return;
        }
        for tried in complete(image, path, &self.search) {
            let result = match tried.result {
                Ok(Some(what)) => Ok(what),
                Ok(None) => Err(NO_FILE.to_owned()),
                Err(why) => Err(why),
            };
            self.looked(&tried.path, result);
        }
        let id = image.build_id().cloned().filter(|_| image.wanted().debug_info);
        if let Some(id) = id
            && let Some(path) = self.fetch(&id, Kind::DebugInfo)
        {
            self.attach(image, &path);
        }
        if let Some(link) = image.wanted().supplement
            && let Some(path) = self.fetch(&link.build_id, Kind::DebugInfo)
        {
            self.attach(image, &path);
        }
    }

    fn attach(&mut self, image: &mut Image, path: &Path) {
        let file = uniprof_symbolizer::load_debug_file(path).map_err(|error| error.to_string());
        let attached = file.and_then(|file| image.attach(file).map_err(|misfit| misfit.to_string()));
        if attached.is_err() {
            // What a server sent for this build-id and is something else must not stay in the cache.
            let _ = std::fs::remove_file(path);
        }
        self.looked(path, attached.map(|part| part.to_string()));
    }

    /// An image besides the kernel, that the guest's table names.
    fn other(&mut self, loaded: &LoadedImage) -> Option<Found> {
        let id = BuildId::from_str(loaded.build_id.as_deref()?).ok()?;
        let (path, mut image) = self.image_with(&id)?;
        self.complete(&mut image, Some(&path));
        Some(Found { name: loaded.name.clone(), image, bias: LoadBias::new(loaded.bias) })
    }

    fn looked(&mut self, place: impl Place, result: Result<String, String>) {
        self.looked.push(Looked { place: place.shown(), result });
    }
}

const NO_FILE: &str = "no such file";

/// Something that can be shown as a place.
trait Place {
    fn shown(self) -> String;
}

impl Place for &str {
    fn shown(self) -> String {
        self.to_owned()
    }
}

impl Place for String {
    fn shown(self) -> String {
        self
    }
}

impl Place for &Path {
    fn shown(self) -> String {
        self.display().to_string()
    }
}

impl Place for &PathBuf {
    fn shown(self) -> String {
        self.display().to_string()
    }
}

/// By how much the guest's addresses lie above the image's, as far as the guest or the recorder said so.
pub(crate) fn bias_of(image: &Image, guest: &GuestImage, is_kernel: bool) -> LoadBias {
    let id = image.build_id().map(BuildId::to_string);
    let same = |loaded: &&LoadedImage| id.is_some() && loaded.build_id == id;
    // The first entry is the kernel; without a build-id on both sides it is this one by its place.
    let kernel =
        || guest.loaded.first().filter(|loaded| is_kernel && (id.is_none() || loaded.build_id.is_none()));
    let found = guest.loaded.iter().find(same).or_else(kernel);
    found.map_or(LoadBias::NONE, |loaded| LoadBias::new(loaded.bias))
}

pub(crate) fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
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
