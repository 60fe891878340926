//! The observation region of a guest that stands still.

use uniprof_collector::memory::{FoundRegion, GuestMemory, find_region};
use uniprof_collector::tables::Tables;
use uniprof_wire::address::GuestPhysical;

/// A region and its tables.
#[derive(Clone)]
pub struct Region {
    /// Where it lies, and what its header says.
    pub found: FoundRegion,
    /// Its tables.
    pub tables: Tables,
}

impl Region {
    /// Looks for the region: at `hint` first, then everywhere. The error says why there is none, for people.
    pub fn find(memory: &dyn GuestMemory, hint: Option<GuestPhysical>) -> Result<Self, String> {
        let found = match find_region(memory, hint).map_err(|error| error.to_string())? {
            Ok(found) => found,
            Err(search) => {
                return Err(match search.refused.first() {
                    Some((at, why)) => format!("the observation region at {at} can't be read: {why}"),
                    None => "the guest has no observation region: no probes, or they were never initialised"
                        .into(),
                });
            }
        };
        let mut bytes = vec![0; found.header.geometry.tables_bytes()];
        memory.read(found.at, &mut bytes).map_err(|error| error.to_string())?;
        let tables = Tables::parse(&bytes).map_err(|why| why.to_string())?;
        Ok(Self { found, tables })
    }
}
