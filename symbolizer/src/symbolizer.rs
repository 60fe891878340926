//! From addresses to functions, files and lines.

use std::sync::Arc;
use std::time::Duration;

use rustc_hash::{FxHashMap, FxHashSet};
use uniprof_wire::address::{GuestVirtual, LinkAddress};

use crate::address::{AddressKind, LoadBias};
use crate::background::{Background, Tables};
use crate::code::Code;
use crate::demangle::demangle;
use crate::image::Image;
use crate::lookup::{Found, Lookup};
use crate::resolution::{Frame, Reason, Resolution, Source};
use crate::table::{Answer, FrameRef, NAMELESS, Table};

/// The cache starts anew when it holds this many addresses, so that a hostile guest cannot fill the host's memory.
const MAX_CACHED: usize = 1 << 20;
/// How distinct addresses were resolved so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// By debug information.
    pub dwarf: u64,
    /// By the symbol table.
    pub symbol_table: u64,
    /// Not at all.
    pub unknown: u64,
    /// Parts of the debug information that were found to be damaged: compilation units, or all of it. The symbol table was
    /// used instead.
    pub dwarf_errors: u64,
    /// The first damage that was found.
    pub first_dwarf_error: Option<String>,
}

/// Names the addresses of one image. A new address costs microseconds, or with a [`Table`] about a tenth of one; an
/// address that was asked before less.
pub struct Symbolizer {
    image: Arc<Image>,
    bias: LoadBias,
    /// Opened by the first address that needs it.
    lookup: Option<Option<Box<Lookup>>>,
    background: Option<Background>,
    table: Option<Arc<Table>>,
    code: Code,
    cache: FxHashMap<LinkAddress, Resolution>,
    most_cached: usize,
    looked_up: usize,
    functions: FxHashMap<Box<str>, Arc<str>>,
    /// Readable names and files.
    strings: FxHashSet<Arc<str>>,
    tally: Tally,
}

impl Symbolizer {
    /// A symbolizer for an image that the guest has loaded with `bias`. It reads debug information as it is asked, in the
    /// calling thread, and keeps nothing. What is damaged is noted in the [`Tally`], and the symbol table is used.
    #[must_use]
    pub fn new(image: Arc<Image>, bias: LoadBias) -> Self {
        Self {
            code: image.code(),
            image,
            bias,
            lookup: None,
            background: None,
            table: None,
            cache: FxHashMap::default(),
            most_cached: MAX_CACHED,
            looked_up: 0,
            functions: FxHashMap::default(),
            strings: FxHashSet::default(),
            tally: Tally::default(),
        }
    }

    /// A symbolizer that answers from a table of the whole image as soon as there is one.
    #[must_use]
    pub fn with_tables(image: Arc<Image>, bias: LoadBias, tables: Tables) -> Self {
        let background = Some(Background::new(tables, Arc::clone(&image)));
        Self { background, ..Self::new(image, bias) }
    }

    /// Waits until the table of the image is there, at most `limit`, and says whether it is. Nobody needs to call this:
    /// until then addresses are looked up without it.
    pub fn wait_for_table(&mut self, limit: Duration) -> bool {
        if self.table.is_none() {
            let table = self.background.as_ref().and_then(|background| background.wait(limit));
            self.use_table(table);
        }
        self.table.is_some()
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

    /// Keeps the answers for so many addresses at most, for programs that run for long; a million without this.
    pub fn keep_at_most(&mut self, addresses: usize) {
        self.most_cached = addresses.min(MAX_CACHED);
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
        if self.cache.len() >= self.most_cached {
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
        if self.table.is_none() {
            let table = self.background.as_ref().and_then(|background| background.poll(self.looked_up));
            self.use_table(table);
        }
        match self.table.clone() {
            Some(table) => self.answer_of_table(table.look_up(link)),
            None => {
                self.looked_up += 1;
                self.answer_of_image(link)
            }
        }
    }

    fn use_table(&mut self, table: Option<Arc<Table>>) {
        let Some(table) = table else { return };
        if let Some((units, first)) = table.damage() {
            self.tally.dwarf_errors = self.tally.dwarf_errors.max(units.into());
            self.tally.first_dwarf_error.get_or_insert_with(|| first.to_owned());
        }
        self.table = Some(table);
        self.background = None;
        self.lookup = None;
        self.functions = FxHashMap::default();
    }

    fn answer_of_table(&mut self, answer: Answer<'_>) -> Resolution {
        let (frames, source) = match answer {
            Answer::Known { frames, source } => (frames, source),
            Answer::OutsideImage => return Resolution::Unknown(Reason::OutsideImage),
            Answer::NotExecutable { section } => {
                return Resolution::Unknown(Reason::NotExecutable { section: section.map(Arc::from) });
            }
            Answer::NoSymbols { section } => {
                return Resolution::Unknown(Reason::NoSymbols { section: section.map(Arc::from) });
            }
            Answer::Gap { section } => {
                return Resolution::Unknown(Reason::Gap { section: section.map(Arc::from) });
            }
        };
        let mut keep = |FrameRef { function, file, line, inlined }: FrameRef<'_>| Frame {
            function: intern(&mut self.strings, function),
            file: file.map(|file| intern(&mut self.strings, file)),
            line,
            inlined,
        };
        let frames: Vec<Frame> = frames.map(&mut keep).collect();
        Resolution::Symbol { frames: frames.into(), source }
    }

    fn answer_of_image(&mut self, link: LinkAddress) -> Resolution {
        let section = |image: &Image| image.section_at(link).map(Arc::from);
        if !self.image.contains(link) {
            return Resolution::Unknown(Reason::OutsideImage);
        }
        if !self.code.contains(link) {
            return Resolution::Unknown(Reason::NotExecutable { section: section(&self.image) });
        }
        let found = self.debug_frames(link);
        let nameless = found.last().is_some_and(|outermost| outermost.function.is_none());
        let mut frames = self.frames(found);
        if !frames.is_empty() && !nameless {
            return Resolution::Symbol { frames: frames.into(), source: Source::Dwarf };
        }
        let symbol = self.image.symbol_at(link).map(|name| String::from_utf8_lossy(name).into_owned());
        match (symbol, frames.last_mut()) {
            (Some(raw), None) => {
                let function = intern_function(&mut self.functions, &raw);
                let frame = Frame { function, file: None, line: None, inlined: false };
                Resolution::Symbol { frames: Arc::from([frame]), source: Source::SymbolTable }
            }
            (Some(raw), Some(outermost)) => {
                outermost.function = intern_function(&mut self.functions, &raw);
                let source = if frames.len() > 1 { Source::Dwarf } else { Source::SymbolTable };
                Resolution::Symbol { frames: frames.into(), source }
            }
            (None, _) => {
                let info = self.image.debug_info();
                let section = section(&self.image);
                Resolution::Unknown(match info.symbols || info.dwarf {
                    true => Reason::Gap { section },
                    false => Reason::NoSymbols { section },
                })
            }
        }
    }

    /// What debug information says of an address.
    fn debug_frames(&mut self, link: LinkAddress) -> Vec<Found> {
        if self.lookup.is_none() {
            let opened = Lookup::open(&self.image).unwrap_or_else(|error| {
                self.note(&error);
                None
            });
            self.lookup = Some(opened.map(|(lookup, fault)| {
                if let Some(fault) = fault {
                    self.note(&fault);
                }
                Box::new(lookup)
            }));
        }
        let Some(Some(lookup)) = &mut self.lookup else { return Vec::new() };
        let (frames, fault) = lookup.find(link.0);
        if let Some(fault) = fault {
            self.note(&format_args!("at {link}: {fault}"));
        }
        frames
    }

    fn note(&mut self, damage: &dyn std::fmt::Display) {
        self.tally.dwarf_errors += 1;
        self.tally.first_dwarf_error.get_or_insert_with(|| damage.to_string());
    }

    fn frames(&mut self, found: Vec<Found>) -> Vec<Frame> {
        let outermost = found.len().saturating_sub(1);
        let frame = |(level, found): (usize, Found)| Frame {
            function: found.function.unwrap_or_else(|| intern(&mut self.strings, NAMELESS)),
            file: found.file,
            line: found.line,
            inlined: level < outermost,
        };
        found.into_iter().enumerate().map(frame).collect()
    }
}

fn intern_function(functions: &mut FxHashMap<Box<str>, Arc<str>>, raw: &str) -> Arc<str> {
    if let Some(known) = functions.get(raw) {
        return Arc::clone(known);
    }
    let readable: Arc<str> = demangle(raw).into();
    functions.insert(raw.into(), Arc::clone(&readable));
    readable
}

fn intern(strings: &mut FxHashSet<Arc<str>>, string: &str) -> Arc<str> {
    if let Some(known) = strings.get(string) {
        return Arc::clone(known);
    }
    let string: Arc<str> = string.into();
    strings.insert(Arc::clone(&string));
    string
}
