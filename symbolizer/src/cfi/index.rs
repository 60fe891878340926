//! The functions that call-frame information describes, by address.

use std::ops::Range;

use gimli::{BaseAddresses, CieOrFde, CommonInformationEntry, UnwindOffset, UnwindSection};
use rustc_hash::FxHashMap;

use super::{Home, Sections, Slice};

/// A described function.
#[derive(Debug, Clone, Copy)]
pub(super) struct Function {
    pub(super) start: u64,
    pub(super) end: u64,
    /// Where in its section its entry is.
    pub(super) offset: usize,
    pub(super) home: Home,
    /// Its compiled rows; none where it has not been compiled.
    rows: (u32, u32),
}

/// Functions in order of their addresses.
pub(super) struct Index {
    /// Apart from the rest, so that a search touches little memory.
    starts: Vec<u64>,
    functions: Vec<Function>,
}

impl Index {
    pub(super) fn new(sections: &Sections, damage: &mut Option<String>) -> Self {
        let mut functions = Vec::new();
        if let Err(error) = list(&sections.eh_frame(), Home::EhFrame, &sections.bases, &mut functions) {
            damage.get_or_insert_with(|| format!(".eh_frame: {error}"));
        }
        functions.sort_by_key(|function| function.start);
        let mut more = Vec::new();
        if let Err(error) = list(&sections.debug_frame(), Home::DebugFrame, &sections.bases, &mut more) {
            damage.get_or_insert_with(|| format!(".debug_frame: {error}"));
        }
        if !more.is_empty() {
            more.retain(|function| !covered(&functions, function.start));
            functions.append(&mut more);
            functions.sort_by_key(|function| function.start);
        }
        Self { starts: functions.iter().map(|function| function.start).collect(), functions }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.functions.is_empty()
    }

    /// The place of the function that an address is in.
    pub(super) fn find(&self, address: u64) -> Option<usize> {
        let at = self.starts.partition_point(|start| *start <= address).checked_sub(1)?;
        (address < self.functions[at].end).then_some(at)
    }

    pub(super) fn function(&self, at: usize) -> &Function {
        &self.functions[at]
    }

    pub(super) fn rows(&self, at: usize) -> Range<usize> {
        let (start, end) = self.functions[at].rows;
        start as usize..end as usize
    }

    pub(super) fn set_rows(&mut self, at: usize, rows: Range<usize>) {
        self.functions[at].rows = (rows.start as u32, rows.end as u32);
    }

    pub(super) fn forget_rows(&mut self) {
        self.functions.iter_mut().for_each(|function| function.rows = (0, 0));
    }
}

fn covered(sorted: &[Function], address: u64) -> bool {
    let after = sorted.partition_point(|function| function.start <= address);
    sorted[..after].last().is_some_and(|function| address < function.end)
}

fn list<'a, S>(
    section: &S,
    home: Home,
    bases: &BaseAddresses,
    functions: &mut Vec<Function>,
) -> Result<(), gimli::Error>
where
    S: UnwindSection<Slice<'a>>,
    S::Offset: UnwindOffset<usize> + std::hash::Hash,
{
    let mut common: FxHashMap<S::Offset, CommonInformationEntry<Slice<'a>>> = FxHashMap::default();
    let mut entries = section.entries(bases);
    while let Some(entry) = entries.next()? {
        let CieOrFde::Fde(partial) = entry else { continue };
        let fde = partial.parse(|section, bases, offset| match common.get(&offset) {
            Some(known) => Ok(known.clone()),
            None => {
                let read = section.cie_from_offset(bases, offset)?;
                common.insert(offset, read.clone());
                Ok(read)
            }
        })?;
        let (start, end) = (fde.initial_address(), fde.end_address());
        if start < end {
            functions.push(Function { start, end, offset: fde.offset(), home, rows: (0, 0) });
        }
    }
    Ok(())
}
