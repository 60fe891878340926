//! Single addresses, without a table: only the unit that an address belongs to is read, when it is first asked for.

use std::sync::Arc;

use gimli::Reader as _;
use rustc_hash::FxHashMap;

use crate::debug::{
    Budget, Fault, Files, LazyReader, NONE, Row, Sink, UnitIndex, UnitRange, UnitReader, UnitRows,
};
use crate::demangle::demangle;
use crate::image::Image;

/// More frames than any compiler inlines into one address.
const MAX_FRAMES: usize = 256;

/// So many units are read before the ranges of all are sorted by unit.
const FEW: usize = 16;

/// What debug information says of one function of an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// `None` where it has no name.
    pub(crate) function: Option<Arc<str>>,
    pub(crate) file: Option<Arc<str>>,
    pub(crate) line: Option<u32>,
}

/// The debug information of an image, as far as it was needed.
pub(crate) struct Lookup {
    files: Files<LazyReader>,
    index: UnitIndex<LazyReader>,
    /// The ranges of all units, when more than a few are read.
    ranges: Vec<Vec<(u32, UnitRange)>>,
    budget: Budget,
    units: FxHashMap<usize, Option<UnitRows>>,
    names: Names,
}

impl Lookup {
    /// Finds the units, and what is wrong with the list of them. `None` where the image has no debug information.
    pub(crate) fn open(image: &Image) -> Result<Option<(Self, Option<Fault>)>, String> {
        if !image.debug_info().dwarf {
            return Ok(None);
        }
        let files = Files::open(image)?;
        let budget = Budget::new(files.size);
        let index = UnitIndex::new(&files, &budget);
        let (ranges, fault) = (Vec::new(), index.fault);
        let (units, names) = (FxHashMap::default(), Names::default());
        Ok(Some((Self { files, index, ranges, budget, units, names }, fault)))
    }

    /// The functions of an address, innermost first. Damage is told once, by the lookup that meets it.
    pub(crate) fn find(&mut self, address: u64) -> (Vec<Found>, Option<Fault>) {
        let mut fault = None;
        let candidates: Vec<usize> = self.index.find(address).map(|range| range.unit as usize).collect();
        for unit in candidates {
            if !self.units.contains_key(&unit) {
                let mut reader = UnitReader::new(&self.files, &self.index, &self.budget);
                if self.units.len() == FEW {
                    self.ranges = self.index.ranges_by_unit();
                }
                let rows = match self.ranges.get(unit) {
                    Some(ranges) => reader.read(unit, ranges, &mut self.names),
                    None => reader.read(unit, &self.index.ranges_of(unit), &mut self.names),
                };
                let rows = rows.inspect_err(|error| fault = fault.or(Some(*error))).ok();
                self.units.insert(unit, rows);
            }
            let Some(rows) = self.units.get(&unit).and_then(Option::as_ref) else { continue };
            if let Some(row) = rows.find(address) {
                return (self.names.frames(rows, row), fault);
            }
        }
        (Vec::new(), fault)
    }
}

/// A name that may not have been read yet.
enum Name {
    Raw(LazyReader),
    Readable(Option<Arc<str>>),
}

/// Names and files, each kept once.
#[derive(Default)]
struct Names {
    functions: Vec<Name>,
    readable: FxHashMap<Box<str>, Arc<str>>,
    files: Vec<Arc<str>>,
    numbers: FxHashMap<Arc<str>, u32>,
}

impl Sink<LazyReader> for Names {
    fn function(&mut self, raw: &LazyReader) -> u32 {
        self.functions.push(Name::Raw(raw.clone()));
        self.functions.len() as u32 - 1
    }

    fn file(&mut self, path: String) -> u32 {
        let path: Arc<str> = path.into();
        *self.numbers.entry(Arc::clone(&path)).or_insert_with(|| {
            self.files.push(path);
            self.files.len() as u32 - 1
        })
    }
}

impl Names {
    fn frames(&mut self, rows: &UnitRows, row: &Row) -> Vec<Found> {
        let mut frames = Vec::new();
        let (mut node, mut file, mut line) = (row.node, row.file, row.line);
        loop {
            let known = rows.nodes.get(node as usize);
            frames.push(Found {
                function: known.and_then(|node| self.function(node.function)),
                file: self.files.get(file as usize).map(Arc::clone),
                line: (line > 0).then_some(line),
            });
            match known {
                Some(inner) if inner.parent != NONE && frames.len() < MAX_FRAMES => {
                    (node, file, line) = (inner.parent, inner.file, inner.line);
                }
                _ => return frames,
            }
        }
    }

    fn function(&mut self, number: u32) -> Option<Arc<str>> {
        let name = self.functions.get_mut(number as usize)?;
        if let Name::Raw(raw) = name {
            let readable = raw.to_string_lossy().ok().map(|raw| {
                if let Some(known) = self.readable.get(&*raw) {
                    return Arc::clone(known);
                }
                let readable: Arc<str> = demangle(&raw).into();
                self.readable.insert(raw.into(), Arc::clone(&readable));
                readable
            });
            *name = Name::Readable(readable);
        }
        match name {
            Name::Readable(readable) => readable.clone(),
            Name::Raw(_) => None,
        }
    }
}
