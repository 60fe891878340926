//! Call-frame information: where a function keeps its return address, instruction by instruction.

use gimli::{
    BaseAddresses, CfaRule, CieOrFde, CommonInformationEntry, DebugFrame, EhFrame, RegisterRule,
    UnwindContext, UnwindSection, UnwindTableRow, X86_64,
};
use rustc_hash::FxHashMap;
use uniprof_wire::address::LinkAddress;

use crate::dwarf::{Reader, reader};
use crate::image::Image;
use crate::leaf::{LeafReason, LeafRule};

/// The functions of one section, by address.
struct Table<S: UnwindSection<Reader>> {
    section: S,
    functions: Vec<Function<S::Offset>>,
}

struct Function<O> {
    start: u64,
    end: u64,
    offset: O,
}

/// The call-frame information of an image: `.eh_frame`, and `.debug_frame` for what that does not cover.
pub(crate) struct Cfi {
    eh_frame: Table<EhFrame<Reader>>,
    debug_frame: Table<DebugFrame<Reader>>,
    bases: BaseAddresses,
    context: UnwindContext<usize>,
    damage: Option<String>,
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
            reader(image, name).unwrap_or_else(|error| {
                damage.get_or_insert(error);
                Reader::new(Vec::new().into(), gimli::LittleEndian)
            })
        };
        let mut eh_frame = EhFrame::from(section(".eh_frame"));
        let mut debug_frame = DebugFrame::from(section(".debug_frame"));
        eh_frame.set_address_size(8);
        debug_frame.set_address_size(8);
        Self {
            eh_frame: Table::new(eh_frame, ".eh_frame", &bases, &mut damage),
            debug_frame: Table::new(debug_frame, ".debug_frame", &bases, &mut damage),
            bases,
            context: UnwindContext::new(),
            damage,
        }
    }

    /// The first damage that was found; what lies before it is used.
    pub(crate) fn damage(&self) -> Option<&str> {
        self.damage.as_deref()
    }

    pub(crate) fn leaf_rule(&mut self, address: LinkAddress) -> LeafRule {
        if self.eh_frame.functions.is_empty() && self.debug_frame.functions.is_empty() {
            return LeafRule::Unknown(LeafReason::NoCallFrameInfo);
        }
        let (bases, context) = (&self.bases, &mut self.context);
        let found = self.eh_frame.leaf_rule(address, bases, context);
        found
            .or_else(|| self.debug_frame.leaf_rule(address, bases, context))
            .unwrap_or(LeafRule::Unknown(LeafReason::NotCovered))
    }
}

impl<S: UnwindSection<Reader>> Table<S>
where
    S::Offset: std::hash::Hash + Eq + Copy,
{
    fn new(section: S, name: &str, bases: &BaseAddresses, damage: &mut Option<String>) -> Self {
        let mut functions = Vec::new();
        if let Err(error) = list(&section, bases, &mut functions) {
            damage.get_or_insert_with(|| format!("{name}: {error}"));
        }
        functions.sort_by_key(|function| function.start);
        Self { section, functions }
    }

    fn leaf_rule(
        &self,
        address: LinkAddress,
        bases: &BaseAddresses,
        context: &mut UnwindContext<usize>,
    ) -> Option<LeafRule> {
        let after = self.functions.partition_point(|function| function.start <= address.0);
        let function = &self.functions[after.checked_sub(1)?];
        if address.0 >= function.end {
            return None;
        }
        let rule = self.section.fde_from_offset(bases, function.offset, S::cie_from_offset).and_then(|fde| {
            let row = fde.unwind_info_for_address(&self.section, bases, context, address.0)?;
            Ok(if fde.is_signal_trampoline() { LeafRule::Unknown(LeafReason::Other) } else { rule_of(row) })
        });
        Some(rule.unwrap_or(LeafRule::Unknown(LeafReason::Damaged)))
    }
}

fn list<S: UnwindSection<Reader>>(
    section: &S,
    bases: &BaseAddresses,
    functions: &mut Vec<Function<S::Offset>>,
) -> Result<(), gimli::Error>
where
    S::Offset: std::hash::Hash + Eq + Copy,
{
    let mut common: FxHashMap<S::Offset, CommonInformationEntry<Reader>> = FxHashMap::default();
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
            functions.push(Function { start, end, offset: S::Offset::from(fde.offset()) });
        }
    }
    Ok(())
}

fn rule_of(row: &UnwindTableRow<usize>) -> LeafRule {
    let Some(RegisterRule::Offset(return_address)) = row.register(X86_64::RA) else {
        // The entry code of a thread or of the kernel says so: nobody called it.
        return LeafRule::Unknown(LeafReason::Outermost);
    };
    let CfaRule::RegisterAndOffset { register, offset } = row.cfa() else {
        return LeafRule::Unknown(LeafReason::Other);
    };
    match (*register, offset.checked_add(return_address)) {
        (X86_64::RBP, Some(8)) => LeafRule::FrameEstablished,
        (X86_64::RSP, Some(at)) => match u32::try_from(at) {
            Ok(offset_from_sp) => LeafRule::ReturnAddressAt { offset_from_sp },
            Err(_) => LeafRule::Unknown(LeafReason::Other),
        },
        _ => LeafRule::Unknown(LeafReason::Other),
    }
}
