//! One compilation unit: its functions, what is inlined into them, and the lines.

use std::sync::Arc;

use gimli::{AttributeValue, Dwarf, EntriesRaw, RangeListsOffset, Reader, Unit, UnitRef};
use rustc_hash::FxHashMap;

use crate::debug::budget::{Budget, Fault, Purse};
use crate::debug::files::Files;
use crate::debug::index::{UnitIndex, UnitRange};
use crate::debug::lines::{self, LineStep, NO_FILE};
use crate::debug::names::{Names, Part, Said};
use crate::debug::tree::{self, Span};

pub(crate) use crate::debug::tree::NONE;

/// More levels than any compiler inlines; what lies deeper counts as part of the last one.
pub(crate) const MAX_INLINED: u32 = 255;

/// A function, or one inlining of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Node {
    /// As the sink numbered it; [`NONE`] where it has no name.
    pub(crate) function: u32,
    /// The node that it is inlined into, which always comes before it; [`NONE`] for a function by itself.
    pub(crate) parent: u32,
    /// Where in the parent it is inlined: the file as the sink numbered it, or [`NONE`]; the line, or 0.
    pub(crate) file: u32,
    pub(crate) line: u32,
}

/// What holds from an address on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) start: u64,
    /// The innermost function; [`NONE`] where only the line is known.
    pub(crate) node: u32,
    pub(crate) file: u32,
    pub(crate) line: u32,
}

/// Rows without a gap between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// Of the unit's range that it lies in: of runs of several units the one of lower rank counts.
    pub(crate) rank: u32,
    pub(crate) rows: std::ops::Range<usize>,
}

/// What a unit says of its addresses.
#[derive(Debug, Default)]
pub(crate) struct UnitRows {
    pub(crate) nodes: Vec<Node>,
    pub(crate) rows: Vec<Row>,
    /// In the order of addresses, without overlap.
    pub(crate) runs: Vec<Run>,
}

impl UnitRows {
    pub(crate) fn find(&self, address: u64) -> Option<&Row> {
        let run = self.runs.partition_point(|run| run.start <= address).checked_sub(1)?;
        let run = self.runs.get(run).filter(|run| address < run.end)?;
        let rows = self.rows.get(run.rows.clone())?;
        rows.get(rows.partition_point(|row| row.start <= address).checked_sub(1)?)
    }

    fn push(&mut self, row: Row, end: u64, rank: u32) {
        match self.runs.last_mut() {
            Some(run) if run.end == row.start && run.rank == rank => {
                run.end = end;
                let same = |last: &Row| Row { start: row.start, ..*last } == row;
                if !self.rows.last().is_some_and(same) {
                    self.rows.push(row);
                    run.rows.end += 1;
                }
            }
            _ => {
                let first = self.rows.len();
                self.runs.push(Run { start: row.start, end, rank, rows: first..first + 1 });
                self.rows.push(row);
            }
        }
    }
}

/// Gives numbers to names.
pub(crate) trait Sink<R> {
    fn function(&mut self, raw: &R) -> u32;
    fn file(&mut self, path: String) -> u32;
}

/// A unit that was split off, in the file that it is in.
type Split<R> = (Arc<Dwarf<R>>, Unit<R>);

/// Reads units of one image.
pub(crate) struct UnitReader<'f, R: Reader> {
    files: &'f Files<R>,
    index: &'f UnitIndex<R>,
    names: Names<'f, R>,
    purse: Purse<'f>,
}

impl<'f, R: Reader<Offset = usize>> UnitReader<'f, R> {
    pub(crate) fn new(files: &'f Files<R>, index: &'f UnitIndex<R>, budget: &'f Budget) -> Self {
        Self { files, index, names: Names::new(files, index), purse: budget.purse() }
    }

    /// Reads a unit, as far as it lies in `ranges`, which are its own with their ranks and in order.
    pub(crate) fn read(
        &mut self,
        number: usize,
        ranges: &[(u32, UnitRange)],
        sink: &mut impl Sink<R>,
    ) -> Result<UnitRows, Fault> {
        if ranges.is_empty() {
            return Ok(UnitRows::default());
        }
        let main = &self.files.main;
        let unit = self.index.unit(main, number)?;
        let split = self.split(&unit)?;
        let unit = unit.unit_ref(main);
        let (inner, part) = match &split {
            Some((dwarf, split)) => (split.unit_ref(dwarf), Part::Split),
            None => (unit, Part::Main),
        };
        let steps = lines::steps(&unit, &mut self.purse)?;
        self.purse.items(steps.len())?;
        let mut files = FileNumbers { unit, known: FxHashMap::default() };
        let mut walk = Walk { spans: Vec::new(), nodes: Vec::new(), said: Vec::new(), unit: inner };
        walk.functions(&mut self.purse)?;
        for (node, said) in walk.nodes.iter_mut().zip(&walk.said) {
            let name = self.names.of_function(said, inner, part, &mut self.purse);
            node.function = name.map_or(NONE, |name| sink.function(&name));
            node.file = files.number(node.file, sink);
        }
        let mut rows = UnitRows { nodes: walk.nodes, ..UnitRows::default() };
        let functions = tree::flatten(walk.spans);
        for (rank, range) in ranges {
            let mut number = |file| files.number(file, sink);
            join(&functions, &steps, range, *rank, &mut rows, &mut number);
        }
        self.purse.items(rows.rows.len())?;
        Ok(rows)
    }

    /// The rest of a unit that was split off.
    fn split(&mut self, unit: &Unit<R>) -> Result<Option<Split<R>>, Fault> {
        let Some(dwarf) = unit.dwo_id.and_then(|id| self.files.split(id)) else { return Ok(None) };
        let mut units = dwarf.units();
        while let Some(header) = units.next()? {
            // An object file has one unit, or type units besides it.
            if matches!(header.type_(), gimli::UnitType::SplitType { .. }) {
                continue;
            }
            self.purse.work(header.length_including_self())?;
            let mut split = dwarf.unit(header)?;
            if split.dwo_id.is_some_and(|id| Some(id) != unit.dwo_id) {
                continue;
            }
            split.copy_relocated_attributes(unit);
            return Ok(Some((dwarf, split)));
        }
        Ok(None)
    }
}

/// The files of a unit's line table that are needed, with their numbers.
struct FileNumbers<'u, R: Reader> {
    unit: UnitRef<'u, R>,
    known: FxHashMap<u32, u32>,
}

impl<R: Reader<Offset = usize>> FileNumbers<'_, R> {
    fn number(&mut self, file: u32, sink: &mut impl Sink<R>) -> u32 {
        if file == NO_FILE {
            return NONE;
        }
        let path = || {
            let header = self.unit.line_program.as_ref()?.header();
            lines::path(&self.unit, header, header.file(u64::from(file))?).ok()
        };
        *self.known.entry(file).or_insert_with(|| path().map_or(NONE, |path| sink.file(path)))
    }
}

/// Brings functions and lines together over one range of the unit.
fn join(
    functions: &[(u64, u32)],
    steps: &[LineStep],
    range: &UnitRange,
    rank: u32,
    out: &mut UnitRows,
    number: &mut impl FnMut(u32) -> u32,
) {
    let mut function = functions.partition_point(|(start, _)| *start <= range.begin);
    let mut step = steps.partition_point(|step| step.start <= range.begin);
    let mut at = range.begin;
    while at < range.end {
        let node = function.checked_sub(1).map_or(NONE, |last| functions[last].1);
        let line = step.checked_sub(1).map(|last| steps[last]).filter(|step| step.file != NO_FILE);
        let next_function = functions.get(function).map_or(u64::MAX, |(start, _)| *start);
        let next_step = steps.get(step).map_or(u64::MAX, |step| step.start);
        let end = next_function.min(next_step).min(range.end);
        if node != NONE || line.is_some() {
            let file = line.map_or(NONE, |step| number(step.file));
            out.push(Row { start: at, node, file, line: line.map_or(0, |step| step.line) }, end, rank);
        }
        function += usize::from(next_function == end);
        step += usize::from(next_step == end);
        at = end;
    }
}

/// A walk over the entries of a unit.
struct Walk<'u, R: Reader> {
    unit: UnitRef<'u, R>,
    spans: Vec<Span>,
    /// `file` is still the unit's number of it here.
    nodes: Vec<Node>,
    said: Vec<Said<R>>,
}

/// An entry that others are in.
struct Scope {
    depth: isize,
    /// [`NONE`] where nothing can be inlined into it.
    node: u32,
    level: u32,
}

/// What the entry of a function says.
struct Function<R: Reader> {
    said: Said<R>,
    low: Option<AttributeValue<R>>,
    high: Option<AttributeValue<R>>,
    ranges: Option<AttributeValue<R>>,
    call_file: u32,
    call_line: u32,
}

impl<R: Reader<Offset = usize>> Walk<'_, R> {
    fn functions(&mut self, purse: &mut Purse<'_>) -> Result<(), Fault> {
        let unit = self.unit;
        let mut entries = unit.entries_raw(None)?;
        let mut scopes: Vec<Scope> = Vec::new();
        while !entries.is_empty() {
            let depth = entries.next_depth();
            let Some(abbreviation) = entries.read_abbreviation()? else { continue };
            purse.work(1 + abbreviation.attributes().len())?;
            while scopes.pop_if(|scope| scope.depth >= depth).is_some() {}
            let outer = scopes.last().map_or((NONE, 0), |scope| (scope.node, scope.level));
            let (parent, level) = match abbreviation.tag() {
                gimli::DW_TAG_subprogram => (NONE, 0),
                gimli::DW_TAG_inlined_subroutine if outer.0 != NONE && outer.1 < MAX_INLINED => {
                    (outer.0, outer.1 + 1)
                }
                _ => {
                    entries.skip_attributes(abbreviation.attributes())?;
                    continue;
                }
            };
            let has_code = |one: &gimli::AttributeSpecification| {
                matches!(one.name(), gimli::DW_AT_low_pc | gimli::DW_AT_ranges)
            };
            let mut node = NONE;
            if abbreviation.attributes().iter().any(has_code) {
                let function = self.read(&mut entries, abbreviation.attributes())?;
                node = self.add(function, parent, level, purse)?;
            } else {
                entries.skip_attributes(abbreviation.attributes())?;
            }
            if abbreviation.has_children() {
                scopes.push(Scope { depth, node, level });
            }
        }
        Ok(())
    }

    fn read(
        &self,
        entries: &mut EntriesRaw<'_, R>,
        attributes: &[gimli::AttributeSpecification],
    ) -> Result<Function<R>, Fault> {
        let mut function = Function {
            said: Said::default(),
            low: None,
            high: None,
            ranges: None,
            call_file: NO_FILE,
            call_line: 0,
        };
        for one in attributes {
            let attribute = entries.read_attribute_inline(*one)?;
            match attribute.name() {
                gimli::DW_AT_low_pc => function.low = Some(attribute.value()),
                gimli::DW_AT_high_pc => function.high = Some(attribute.value()),
                gimli::DW_AT_ranges => function.ranges = Some(attribute.value()),
                gimli::DW_AT_call_file => {
                    // Before DWARF 5, file 0 means none.
                    if let AttributeValue::FileIndex(file) = attribute.value()
                        && (file > 0 || self.unit.header.version() >= 5)
                    {
                        function.call_file = u32::try_from(file).unwrap_or(NO_FILE);
                    }
                }
                gimli::DW_AT_call_line => {
                    function.call_line = attribute.udata_value().unwrap_or(0) as u32;
                }
                name => function.said.take(name, attribute.value()),
            }
        }
        Ok(function)
    }

    /// Adds a node and where its code is; [`NONE`] where it has none.
    fn add(
        &mut self,
        function: Function<R>,
        parent: u32,
        depth: u32,
        purse: &mut Purse<'_>,
    ) -> Result<u32, Fault> {
        let (node, before) = (self.nodes.len() as u32, self.spans.len());
        let spans = &mut self.spans;
        ranges(&function, &self.unit, purse, |begin, end| {
            spans.push(Span { begin, end, depth, node, parent });
        })?;
        if self.spans.len() == before {
            return Ok(NONE);
        }
        purse.items(1 + self.spans.len() - before)?;
        self.nodes.push(Node { function: NONE, parent, file: function.call_file, line: function.call_line });
        self.said.push(function.said);
        Ok(node)
    }
}

fn ranges<R: Reader<Offset = usize>>(
    function: &Function<R>,
    unit: &UnitRef<'_, R>,
    purse: &mut Purse<'_>,
    mut add: impl FnMut(u64, u64),
) -> Result<(), Fault> {
    if let Some(value) = &function.ranges {
        let offset: Option<RangeListsOffset<usize>> = unit.attr_ranges_offset(value.clone())?;
        if let Some(offset) = offset {
            let mut list = unit.ranges(offset)?;
            while let Some(range) = list.next()? {
                purse.work(1)?;
                if range.begin < range.end {
                    add(range.begin, range.end);
                }
            }
            return Ok(());
        }
    }
    let address = |value: &AttributeValue<R>| unit.attr_address(value.clone());
    let (Some(low), Some(high)) = (&function.low, &function.high) else { return Ok(()) };
    let Some(begin) = address(low)? else { return Ok(()) };
    let end = match high.udata_value() {
        Some(size) => begin.wrapping_add(size),
        None => address(high)?.unwrap_or(0),
    };
    if begin < end {
        add(begin, end);
    }
    Ok(())
}
