//! From addresses to functions, files and lines.

use std::sync::Arc;

use addr2line::Context;
use rustc_hash::{FxHashMap, FxHashSet};
use uniprof_wire::address::{GuestVirtual, LinkAddress};

use crate::address::{AddressKind, LoadBias};
use crate::code::Code;
use crate::demangle::demangle;
use crate::dwarf::{self, Reader};
use crate::image::Image;
use crate::resolution::{Frame, Reason, Resolution, Source};

/// The cache starts anew when it holds this many addresses, so that a hostile guest cannot fill the host's memory.
const MAX_CACHED: usize = 1 << 20;
/// More frames than any compiler inlines into one address.
const MAX_INLINED: usize = 256;

/// How distinct addresses were resolved so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// By debug information.
    pub dwarf: u64,
    /// By the symbol table.
    pub symbol_table: u64,
    /// Not at all.
    pub unknown: u64,
    /// Lookups for which the debug information was found to be damaged; the symbol table was used instead.
    pub dwarf_errors: u64,
    /// The first damage that was found.
    pub first_dwarf_error: Option<String>,
}

/// Names the addresses of one image. Slow for a new address (microseconds), fast for one that was asked before.
pub struct Symbolizer {
    image: Arc<Image>,
    bias: LoadBias,
    dwarf: Option<Context<Reader>>,
    code: Code,
    cache: FxHashMap<LinkAddress, Resolution>,
    functions: FxHashMap<Box<str>, Arc<str>>,
    files: FxHashSet<Arc<str>>,
    tally: Tally,
}

impl Symbolizer {
    /// A symbolizer for an image that the guest has loaded with `bias`. Debug information that is damaged as a whole is
    /// noted in the [`Tally`], and the symbol table is used.
    #[must_use]
    pub fn new(image: Arc<Image>, bias: LoadBias) -> Self {
        let mut tally = Tally::default();
        let dwarf = dwarf::context(&image).unwrap_or_else(|error| {
            tally.dwarf_errors = 1;
            tally.first_dwarf_error = Some(error);
            None
        });
        Self {
            code: image.code(),
            image,
            bias,
            dwarf,
            cache: FxHashMap::default(),
            functions: FxHashMap::default(),
            files: FxHashSet::default(),
            tally,
        }
    }

    /// The image.
    #[must_use]
    pub fn image(&self) -> &Arc<Image> {
        &self.image
    }

    /// The load bias.
    #[must_use]
    pub fn bias(&self) -> LoadBias {
        self.bias
    }

    /// How the addresses were resolved so far.
    #[must_use]
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Whether an address is code of the image.
    #[must_use]
    pub fn is_executable(&self, address: GuestVirtual) -> bool {
        self.code.contains(self.bias.to_link(address))
    }

    /// What is at an address.
    pub fn resolve(&mut self, address: GuestVirtual, kind: AddressKind) -> Resolution {
        let link = self.bias.to_link(kind.lookup(address));
        if let Some(known) = self.cache.get(&link) {
            return known.clone();
        }
        let resolution = self.look_up(link);
        match &resolution {
            Resolution::Symbol { source: Source::Dwarf, .. } => self.tally.dwarf += 1,
            Resolution::Symbol { source: Source::SymbolTable, .. } => self.tally.symbol_table += 1,
            Resolution::Unknown(_) => self.tally.unknown += 1,
        }
        if self.cache.len() >= MAX_CACHED {
            self.cache.clear();
        }
        self.cache.insert(link, resolution.clone());
        resolution
    }

    /// What is at each of many addresses, in their order. Each distinct one is looked up once, in the order of addresses,
    /// so that neighbours find the same part of the debug information in the processor's cache.
    pub fn resolve_many(&mut self, addresses: &[(GuestVirtual, AddressKind)]) -> Vec<Resolution> {
        let mut distinct: Vec<GuestVirtual> =
            addresses.iter().map(|(address, kind)| kind.lookup(*address)).collect();
        distinct.sort_unstable();
        distinct.dedup();
        let resolved: Vec<Resolution> =
            distinct.iter().map(|address| self.resolve(*address, AddressKind::Instruction)).collect();
        let find = |(address, kind): &(GuestVirtual, AddressKind)| {
            let index = distinct.partition_point(|known| *known < kind.lookup(*address));
            resolved[index].clone()
        };
        addresses.iter().map(find).collect()
    }

    fn look_up(&mut self, link: LinkAddress) -> Resolution {
        let section = |image: &Image| image.section_at(link).map(Arc::from);
        if !self.image.contains(link) {
            return Resolution::Unknown(Reason::OutsideImage);
        }
        if !self.code.contains(link) {
            return Resolution::Unknown(Reason::NotExecutable { section: section(&self.image) });
        }
        let (mut frames, nameless) = self.dwarf_frames(link);
        if !frames.is_empty() && !nameless {
            return Resolution::Symbol { frames: frames.into(), source: Source::Dwarf };
        }
        let symbol = self.image.symbol_at(link).map(|name| String::from_utf8_lossy(name).into_owned());
        match (symbol, frames.last_mut()) {
            (Some(raw), None) => {
                let function = self.function(&raw);
                let frame = Frame { function, file: None, line: None, inlined: false };
                Resolution::Symbol { frames: Arc::from([frame]), source: Source::SymbolTable }
            }
            (Some(raw), Some(outermost)) => {
                outermost.function = intern_function(&mut self.functions, &raw);
                let source = if frames.len() > 1 { Source::Dwarf } else { Source::SymbolTable };
                Resolution::Symbol { frames: frames.into(), source }
            }
            (None, _) if self.image.debug_info().symbols || self.dwarf.is_some() => {
                Resolution::Unknown(Reason::Gap { section: section(&self.image) })
            }
            (None, _) => Resolution::Unknown(Reason::NoSymbols { section: section(&self.image) }),
        }
    }

    /// The frames that debug information knows, and whether the outermost one still lacks its name.
    fn dwarf_frames(&mut self, link: LinkAddress) -> (Vec<Frame>, bool) {
        let Some(context) = &self.dwarf else { return (Vec::new(), false) };
        match read_frames(context, link, &mut self.functions, &mut self.files) {
            Ok(found) => found,
            Err(error) => {
                self.tally.dwarf_errors += 1;
                self.tally.first_dwarf_error.get_or_insert_with(|| format!("at {link}: {error}"));
                (Vec::new(), false)
            }
        }
    }

    fn function(&mut self, raw: &str) -> Arc<str> {
        intern_function(&mut self.functions, raw)
    }
}

fn read_frames(
    context: &Context<Reader>,
    link: LinkAddress,
    functions: &mut FxHashMap<Box<str>, Arc<str>>,
    files: &mut FxHashSet<Arc<str>>,
) -> Result<(Vec<Frame>, bool), gimli::Error> {
    let mut found = context.find_frames(link.0).skip_all_loads()?;
    let mut frames: Vec<Frame> = Vec::new();
    let mut nameless = false;
    while let Some(frame) = found.next()? {
        if let Some(callee) = frames.last_mut() {
            callee.inlined = true;
        }
        let function = match &frame.function {
            Some(name) => intern_function(functions, &name.raw_name()?),
            None => Arc::from("[function without a name]"),
        };
        nameless = frame.function.is_none();
        let location = frame.location.as_ref();
        let file = location.and_then(|location| location.file).map(|file| intern_file(files, file));
        // Line 0 is how a compiler says that code belongs to no line.
        let line = location.and_then(|location| location.line).filter(|line| *line > 0);
        frames.push(Frame { function, file, line, inlined: false });
        if frames.len() >= MAX_INLINED {
            break;
        }
    }
    Ok((frames, nameless))
}

fn intern_function(functions: &mut FxHashMap<Box<str>, Arc<str>>, raw: &str) -> Arc<str> {
    if let Some(known) = functions.get(raw) {
        return Arc::clone(known);
    }
    let readable: Arc<str> = demangle(raw).into();
    functions.insert(raw.into(), Arc::clone(&readable));
    readable
}

fn intern_file(files: &mut FxHashSet<Arc<str>>, file: &str) -> Arc<str> {
    if let Some(known) = files.get(file) {
        return Arc::clone(known);
    }
    let file: Arc<str> = file.into();
    files.insert(Arc::clone(&file));
    file
}
