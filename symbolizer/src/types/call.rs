//! What callers handed over: call sites (DWARF 5, section 3.4).

use gimli::{AttributeValue, Expression, Operation, UnitOffset};
use uniprof_wire::address::LinkAddress;

use crate::debug::{Fault, LazyReader, Purse};

use super::Types;
use super::model::TypeId;
use super::units::Entry;

/// A function, the unit of an expression, and the expression.
type Handed = (TypeId, u32, Expression<LazyReader>);

impl Types {
    /// How the caller that goes on at `returns` says to find what it put in a register for `callee`.
    pub(super) fn handed_over(
        &mut self,
        callee: TypeId,
        register: u16,
        returns: LinkAddress,
        purse: &mut Purse<'_>,
    ) -> Result<Option<Handed>, Fault> {
        let Some(function) = self.function_at(returns.0.wrapping_sub(1), purse)? else { return Ok(None) };
        let (files, Some(open)) = (self.units.files(), self.units.get(function.unit)) else {
            return Ok(None);
        };
        let unit = open.unit_ref(&files);
        let mut entries = unit.entries_raw(Some(UnitOffset(function.offset)))?;
        let mut entry = Entry::null();
        entries.read_entry(&mut entry)?;
        let mut site = None;
        while !entries.is_empty() && entries.next_depth() > 0 {
            let depth = entries.next_depth();
            let is_one = entries.read_entry(&mut entry)?;
            purse.work(1 + entry.attrs().len())?;
            if site.is_some_and(|site| depth <= site) {
                return Ok(None);
            }
            if !is_one {
                continue;
            }
            match entry.tag() {
                gimli::DW_TAG_call_site | gimli::DW_TAG_GNU_call_site => {
                    let after = entry.attr_value(gimli::DW_AT_call_return_pc);
                    let after = after.or_else(|| entry.attr_value(gimli::DW_AT_low_pc));
                    let after = after.map(|value| unit.attr_address(value)).transpose()?.flatten();
                    if after == Some(returns.0) {
                        if !self.calls(function.unit, &entry, callee, purse)? {
                            return Ok(None);
                        }
                        site = Some(depth);
                    }
                }
                gimli::DW_TAG_call_site_parameter | gimli::DW_TAG_GNU_call_site_parameter
                    if site.is_some() =>
                {
                    let place =
                        entry.attr_value(gimli::DW_AT_location).and_then(|value| value.exprloc_value());
                    let first =
                        place.map(|place| place.operations(unit.encoding()).next()).transpose()?.flatten();
                    let same =
                        matches!(first, Some(Operation::Register { register: found }) if found.0 == register);
                    let value = entry.attr_value(gimli::DW_AT_call_value);
                    let value = value.or_else(|| entry.attr_value(gimli::DW_AT_GNU_call_site_value));
                    if let (true, Some(value)) = (same, value.and_then(|value| value.exprloc_value())) {
                        return Ok(Some((function, function.unit, value)));
                    }
                }
                _ => {}
            }
        }
        Ok(None)
    }

    /// Whether a call site calls that function: one that was reached by a tail call has other arguments.
    fn calls(
        &mut self,
        unit: u32,
        site: &Entry,
        callee: TypeId,
        purse: &mut Purse<'_>,
    ) -> Result<bool, Fault> {
        let origin = site.attr_value(gimli::DW_AT_call_origin);
        let Some(origin) = origin.or_else(|| site.attr_value(gimli::DW_AT_abstract_origin)) else {
            return Ok(false);
        };
        let Some(origin) = self.units.resolve(unit, &origin, purse)? else { return Ok(false) };
        let (_, entry) = self.units.entry(callee, purse)?;
        let instance_of =
            |name| entry.attr_value(name).filter(|value| !matches!(value, AttributeValue::Flag(_)));
        let onward =
            instance_of(gimli::DW_AT_abstract_origin).or_else(|| instance_of(gimli::DW_AT_specification));
        let onward =
            onward.map(|value| self.units.resolve(callee.unit, &value, purse)).transpose()?.flatten();
        if origin == callee || Some(origin) == onward {
            return Ok(true);
        }
        let names = [gimli::DW_AT_linkage_name, gimli::DW_AT_name];
        for name in names {
            let ours = self.units.text(callee, name, purse)?;
            let theirs = self.units.text(origin, name, purse)?;
            if ours.is_some() || theirs.is_some() {
                return Ok(ours == theirs);
            }
        }
        Ok(false)
    }
}
