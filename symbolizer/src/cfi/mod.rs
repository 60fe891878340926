//! Call-frame information: where a function keeps its caller's registers, instruction by instruction.
//!
//! `.eh_frame`, and `.debug_frame` for what that does not cover, become one sorted index of functions. The rows of a
//! function are compiled to [`Rule`]s when it is first asked for, all at once: the next address in the same function
//! costs a search only.

mod index;
mod row;
mod rule;

use gimli::{
    BaseAddresses, DebugFrame, EhFrame, EndianSlice, LittleEndian, UnwindContext, UnwindOffset, UnwindSection,
};
use uniprof_wire::address::LinkAddress;

use crate::image::{Image, SectionBytes};
use index::{Function, Index};
pub(crate) use row::{Cfa, Expression, REGISTERS, Row, Saved};
pub(crate) use rule::{Rule, RuleSource};

pub(crate) type Slice<'a> = EndianSlice<'a, LittleEndian>;

/// How many compiled rows are kept: far more than real images have; 64 MiB.
const MAX_ROWS: usize = 1 << 22;

/// The longest functions have some thousand.
const MAX_ROWS_OF_FUNCTION: usize = 1 << 18;

/// How many rows that do not fit a [`Rule`] are kept.
const MAX_COMPLEX: usize = 1 << 14;

/// Which section a function or an expression is described in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Home {
    EhFrame,
    DebugFrame,
}

/// From which address on a rule holds.
#[derive(Debug, Clone, Copy)]
struct CompiledRow {
    start: u64,
    rule: Rule,
}

/// The call-frame information of an image.
pub(crate) struct Cfi {
    sections: Sections,
    index: Index,
    context: UnwindContext<usize>,
    compiled: Vec<CompiledRow>,
    complex: Vec<Row>,
    damage: Option<String>,
}

/// The bytes of the two sections, and what their pointers are relative to.
struct Sections {
    eh_frame: Option<SectionBytes>,
    debug_frame: Option<SectionBytes>,
    bases: BaseAddresses,
}

impl Sections {
    fn bytes(&self, home: Home) -> &[u8] {
        let section = match home {
            Home::EhFrame => &self.eh_frame,
            Home::DebugFrame => &self.debug_frame,
        };
        section.as_deref().unwrap_or_default()
    }

    fn eh_frame(&self) -> EhFrame<Slice<'_>> {
        let mut section = EhFrame::new(self.bytes(Home::EhFrame), LittleEndian);
        section.set_address_size(8);
        section
    }

    fn debug_frame(&self) -> DebugFrame<Slice<'_>> {
        let mut section = DebugFrame::new(self.bytes(Home::DebugFrame), LittleEndian);
        section.set_address_size(8);
        section
    }
}

impl Cfi {
    pub(crate) fn new(image: &Image) -> Self {
        let address = |name| image.find_section(name).map_or(0, |section| section.address.0);
        let bases = BaseAddresses::default()
            .set_eh_frame(address(".eh_frame"))
            .set_text(address(".text"))
            .set_got(address(".got"));
        let mut damage = None;
        let mut section = |name| {
            image.section(name).unwrap_or_else(|error| {
                damage.get_or_insert(error.to_string());
                None
            })
        };
        let (eh_frame, debug_frame) = (section(".eh_frame"), section(".debug_frame"));
        let sections = Sections { eh_frame, debug_frame, bases };
        let index = Index::new(&sections, &mut damage);
        Self {
            sections,
            index,
            context: UnwindContext::new(),
            compiled: Vec::new(),
            complex: Vec::new(),
            damage,
        }
    }

    /// Whether the image has no call-frame information at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// The first damage that was found; what lies before it is used.
    pub(crate) fn damage(&self) -> Option<&str> {
        self.damage.as_deref()
    }

    /// The rule of an instruction; `None` where no function that is described covers it.
    pub(crate) fn rule(&mut self, address: LinkAddress) -> Option<Rule> {
        let at = self.index.find(address.0)?;
        let mut rows = self.index.rows(at);
        if rows.is_empty() {
            if self.compiled.len() > MAX_ROWS {
                self.compiled = Vec::new();
                self.index.forget_rows();
            }
            let start = self.compiled.len();
            self.compile(at);
            rows = start..self.compiled.len();
            self.index.set_rows(at, rows.clone());
        }
        let rows = &self.compiled[rows];
        let after = rows.partition_point(|row| row.start <= address.0);
        Some(after.checked_sub(1).map_or(Rule::Damaged, |row| rows[row].rule))
    }

    /// The row that [`Rule::Complex`] stands for.
    pub(crate) fn complex(&mut self, index: u32, address: LinkAddress) -> Option<Row> {
        match self.complex.get(index as usize) {
            Some(row) => Some(row.clone()),
            None => self.row(address).and_then(Result::ok),
        }
    }

    /// Everything that is known about an instruction's registers, read anew.
    pub(crate) fn row(&mut self, address: LinkAddress) -> Option<Result<Row, gimli::Error>> {
        let function = *self.index.function(self.index.find(address.0)?);
        let (sections, context) = (&self.sections, &mut self.context);
        Some(match function.home {
            Home::EhFrame => row::at(&sections.eh_frame(), &sections.bases, context, &function, address),
            Home::DebugFrame => {
                row::at(&sections.debug_frame(), &sections.bases, context, &function, address)
            }
        })
    }

    /// The bytes of an expression.
    pub(crate) fn expression(&self, expression: &Expression) -> Option<gimli::Expression<Slice<'_>>> {
        let end = expression.offset.checked_add(expression.length)?;
        let bytes = self.sections.bytes(expression.home).get(expression.offset..end)?;
        Some(gimli::Expression(EndianSlice::new(bytes, LittleEndian)))
    }

    /// Appends the rows of a function, at least one.
    fn compile(&mut self, at: usize) {
        let function = *self.index.function(at);
        let first = self.compiled.len();
        let (compiled, complex) = (&mut self.compiled, &mut self.complex);
        let mut out = Compiler { compiled, complex, first, end: function.start };
        let (sections, context) = (&self.sections, &mut self.context);
        let done = match function.home {
            Home::EhFrame => out.function(&sections.eh_frame(), &sections.bases, context, &function),
            Home::DebugFrame => out.function(&sections.debug_frame(), &sections.bases, context, &function),
        };
        if done.is_err() || out.compiled.len() == first {
            // What the rows before say still holds.
            let start = out.end;
            self.compiled.push(CompiledRow { start, rule: Rule::Damaged });
        }
    }
}

struct Compiler<'a> {
    compiled: &'a mut Vec<CompiledRow>,
    complex: &'a mut Vec<Row>,
    /// Where the rows of the function begin.
    first: usize,
    /// Up to which address its rows tell.
    end: u64,
}

impl Compiler<'_> {
    fn function<'s, S>(
        &mut self,
        section: &S,
        bases: &BaseAddresses,
        context: &mut UnwindContext<usize>,
        function: &Function,
    ) -> Result<(), gimli::Error>
    where
        S: UnwindSection<Slice<'s>>,
        S::Offset: UnwindOffset<usize>,
    {
        let fde = section.fde_from_offset(bases, S::Offset::from(function.offset), S::cie_from_offset)?;
        let mut table = fde.rows(section, bases, context)?;
        while let Some(row) = table.next_row()? {
            let rule = rule::of(row, &fde).unwrap_or_else(|| self.keep(Row::of(row, &fde, function.home)));
            self.push(row.start_address(), rule)?;
            self.end = row.end_address();
        }
        Ok(())
    }

    fn keep(&mut self, row: Row) -> Rule {
        if self.complex.len() >= MAX_COMPLEX {
            return Rule::Complex { index: u32::MAX };
        }
        self.complex.push(row);
        Rule::Complex { index: self.complex.len() as u32 - 1 }
    }

    fn push(&mut self, start: u64, rule: Rule) -> Result<(), gimli::Error> {
        let rows = &self.compiled[self.first..];
        if rows.len() > MAX_ROWS_OF_FUNCTION {
            return Err(gimli::Error::TooManyRegisterRules);
        }
        // Rows that differ only in registers which nobody asks for are one.
        if rows.last().is_none_or(|last| last.rule != rule) {
            self.compiled.push(CompiledRow { start, rule });
        }
        Ok(())
    }
}
