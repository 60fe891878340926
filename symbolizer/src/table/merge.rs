//! From what the units say and what the image says to the rows of a table.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use rustc_hash::FxHashMap;

use crate::debug::{self, Node, Row, UnitRows};
use crate::demangle::demangle;
use crate::image::Image;
use crate::table::base::{Base, BaseMap};
use crate::table::format::{GAP, NO_SYMBOLS, NONE, NOT_CODE, OUTSIDE, SYMBOL};
use crate::table::write::Writer;

/// What is shown for an inlined function without a name.
pub(crate) const NAMELESS: &str = "[function without a name]";

/// A unit with the numbers of its strings in the table, and of its first node.
pub(crate) struct Placed {
    pub(crate) rows: UnitRows,
    pub(crate) first_node: u32,
}

/// A part of a run that counts for its addresses.
struct Part {
    start: u64,
    end: u64,
    unit: usize,
    run: usize,
}

/// The runs of all units, cut so that none overlaps: of several the one of the lowest rank counts.
fn parts(units: &[Placed]) -> Vec<Part> {
    let mut runs: Vec<(u64, u64, u32, usize, usize)> = Vec::new();
    for (unit, placed) in units.iter().enumerate() {
        let own = placed.rows.runs.iter().enumerate();
        runs.extend(own.map(|(number, run)| (run.start, run.end, run.rank, unit, number)));
    }
    runs.sort_unstable();
    let mut parts: Vec<Part> = Vec::with_capacity(runs.len());
    let mut open: BTreeSet<(u32, usize)> = BTreeSet::new();
    let mut ends: BinaryHeap<Reverse<(u64, u32, usize)>> = BinaryHeap::new();
    let mut at = 0;
    let emit = |parts: &mut Vec<Part>, from: u64, to: u64, index: usize| {
        let (.., unit, run) = runs[index];
        match parts.last_mut() {
            Some(last) if last.end == from && (last.unit, last.run) == (unit, run) => last.end = to,
            _ if from < to => parts.push(Part { start: from, end: to, unit, run }),
            _ => {}
        }
    };
    let mut close = |open: &mut BTreeSet<(u32, usize)>,
                     ends: &mut BinaryHeap<Reverse<(u64, u32, usize)>>,
                     at: &mut u64,
                     limit: u64| {
        while let Some((_, best)) = open.first().copied() {
            let Some(Reverse((end, rank, index))) = ends.peek().copied() else { break };
            let to = end.min(limit);
            if *at < to {
                emit(&mut parts, *at, to, best);
                *at = to;
            }
            if end > limit {
                break;
            }
            ends.pop();
            open.remove(&(rank, index));
        }
    };
    for (index, (start, end, rank, ..)) in runs.iter().enumerate() {
        close(&mut open, &mut ends, &mut at, *start);
        at = *start;
        open.insert((*rank, index));
        ends.push(Reverse((*end, *rank, index)));
    }
    close(&mut open, &mut ends, &mut at, u64::MAX);
    parts
}

/// Writes the rows of a whole image.
pub(crate) struct Merge<'a> {
    image: &'a Image,
    base: BaseMap<'a>,
    units: &'a [Placed],
    /// For each node of the units whether the function that it ends in has no name.
    nameless: Vec<bool>,
    writer: Writer,
    symbols: FxHashMap<u32, u32>,
    renamed: FxHashMap<(u32, u32), u32>,
    sections: FxHashMap<u32, u32>,
    /// Where an address has no name: why.
    reason: u32,
    /// A function without a name and with many symbols would have all that is inlined into it copied for each.
    most_nodes: usize,
}

impl<'a> Merge<'a> {
    /// `writer` has the nodes of the units already.
    pub(crate) fn new(image: &'a Image, units: &'a [Placed], writer: Writer) -> Self {
        let mut nameless: Vec<bool> = Vec::with_capacity(writer.nodes.len());
        for [function, parent, ..] in &writer.nodes {
            let outer = nameless.get(*parent as usize).copied();
            nameless.push(outer.unwrap_or(*function == NONE));
        }
        let info = image.debug_info();
        let base = BaseMap::new(image);
        Self {
            most_nodes: 2 * writer.nodes.len() + base.symbols.len() + (64 << 10),
            image,
            base,
            units,
            nameless,
            writer,
            symbols: FxHashMap::default(),
            renamed: FxHashMap::default(),
            sections: FxHashMap::default(),
            reason: if info.symbols || info.dwarf { GAP } else { NO_SYMBOLS },
        }
    }

    pub(crate) fn finish(mut self) -> Writer {
        let parts = parts(self.units);
        let steps = std::mem::take(&mut self.base.steps);
        let mut part = 0;
        for (index, (start, base)) in steps.iter().enumerate() {
            let end = steps.get(index + 1).map_or(u64::MAX, |(next, _)| *next);
            match *base {
                Base::Outside => self.writer.row(*start, [OUTSIDE, NONE, 0]),
                Base::NotCode(section) => {
                    let section = self.section(section);
                    self.writer.row(*start, [NOT_CODE, section, 0]);
                }
                Base::Code { symbol, section } => {
                    while parts.get(part).is_some_and(|part| part.end <= *start) {
                        part += 1;
                    }
                    let within = parts[part..].iter().take_while(|part| part.start < end);
                    self.code(*start..end, within, symbol, section);
                }
            }
        }
        let nameless = self.writer.functions.number(NAMELESS);
        for [function, ..] in &mut self.writer.nodes {
            if *function == NONE {
                *function = nameless;
            }
        }
        self.writer
    }

    /// Code that one symbol covers, or none.
    fn code<'p>(
        &mut self,
        range: std::ops::Range<u64>,
        parts: impl Iterator<Item = &'p Part>,
        symbol: Option<u32>,
        section: Option<u32>,
    ) {
        let mut at = range.start;
        for part in parts {
            let (from, to) = (part.start.max(range.start), part.end.min(range.end));
            if at < from {
                self.without_debug(at, symbol, section);
            }
            let unit = &self.units[part.unit];
            let rows = &unit.rows.rows[unit.rows.runs[part.run].rows.clone()];
            let first = rows.partition_point(|row| row.start <= from).saturating_sub(1);
            for row in rows[first..].iter().take_while(|row| row.start < to) {
                self.with_debug(row.start.max(from), row, unit.first_node, symbol, section);
            }
            at = to;
        }
        if at < range.end {
            self.without_debug(at, symbol, section);
        }
    }

    fn without_debug(&mut self, at: u64, symbol: Option<u32>, section: Option<u32>) {
        match symbol {
            Some(symbol) => {
                let node = self.symbol(symbol);
                self.writer.row(at, [node, NONE, 0]);
            }
            None => {
                let section = self.section(section);
                self.writer.row(at, [self.reason, section, 0]);
            }
        }
    }

    fn with_debug(&mut self, at: u64, row: &Row, first: u32, symbol: Option<u32>, section: Option<u32>) {
        let node = (row.node != debug::NONE).then(|| first + row.node);
        let node = match (node, symbol) {
            (Some(node), _) if !self.nameless[node as usize] => node,
            (Some(node), Some(symbol)) if self.writer.nodes[node as usize][1] != NONE => {
                self.rename(node, symbol)
            }
            (_, Some(symbol)) => self.symbol(symbol),
            (_, None) => return self.without_debug(at, None, section),
        };
        self.writer.row(at, [node, row.file, row.line]);
    }

    /// A node for a name of the symbol table.
    fn symbol(&mut self, symbol: u32) -> u32 {
        if let Some(known) = self.symbols.get(&symbol) {
            return *known;
        }
        let function = self.symbol_name(symbol);
        let node = self.add([function, SYMBOL, NONE, 0]);
        self.symbols.insert(symbol, node);
        node
    }

    fn symbol_name(&mut self, symbol: u32) -> u32 {
        let raw = String::from_utf8_lossy(self.base.symbols[symbol as usize]);
        self.writer.functions.number(&demangle(&raw))
    }

    /// The same inlined function, with the outermost one called like the symbol.
    fn rename(&mut self, node: u32, symbol: u32) -> u32 {
        if self.writer.nodes.len() > self.most_nodes {
            return self.symbol(symbol);
        }
        let mut chain = Vec::new();
        let mut at = node;
        let mut outer = NONE;
        while at != NONE {
            if let Some(known) = self.renamed.get(&(at, symbol)) {
                outer = *known;
                break;
            }
            chain.push(at);
            at = self.writer.nodes[at as usize][1];
        }
        for inner in chain.into_iter().rev() {
            let [function, parent, file, line] = self.writer.nodes[inner as usize];
            let function = if parent == NONE { self.symbol_name(symbol) } else { function };
            outer = self.add([function, outer, file, line]);
            self.renamed.insert((inner, symbol), outer);
        }
        outer
    }

    fn add(&mut self, record: [u32; 4]) -> u32 {
        self.writer.nodes.push(record);
        self.writer.nodes.len() as u32 - 1
    }

    fn section(&mut self, section: Option<u32>) -> u32 {
        let Some(section) = section else { return NONE };
        let name = self.image.sections.get(section as usize).map_or("", |section| section.name());
        *self.sections.entry(section).or_insert_with(|| self.writer.strings.number(name))
    }
}

/// The nodes of a unit as the table has them; `strings` gives the numbers of a node's function and file.
pub(crate) fn records(
    nodes: &[Node],
    first: u32,
    mut strings: impl FnMut(&Node) -> (u32, u32),
) -> Vec<[u32; 4]> {
    let record = |node: &Node| {
        let parent = if node.parent == debug::NONE { NONE } else { first + node.parent };
        let (function, file) = strings(node);
        [function, parent, file, node.line]
    };
    nodes.iter().map(record).collect()
}
