//! The observation region of a guest that stands still.

use std::sync::Arc;

use uniprof_collector::memory::{FoundRegion, GuestMemory, Search, find_region};
use uniprof_collector::tables::Tables;
use uniprof_wire::address::GuestPhysical;

use crate::mended::Mended;

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
        look(memory, hint)?.map_err(|search| why_none(&search))
    }

    /// As [`Region::find`]; where only the header of a region was written over, that is put right in `memory`, and said.
    pub(crate) fn find_or_mend(
        memory: &mut Arc<dyn GuestMemory>,
        hint: Option<GuestPhysical>,
    ) -> (Result<Self, String>, Option<String>) {
        let search = match look(&**memory, hint) {
            Ok(Err(search)) => search,
            Ok(Ok(region)) => return (Ok(region), None),
            Err(why) => return (Err(why), None),
        };
        let places = hint.into_iter().chain(search.refused.iter().map(|(at, _)| *at));
        for at in places {
            let Some(mended) = Mended::at(memory, at) else { continue };
            let mended: Arc<dyn GuestMemory> = Arc::new(mended);
            if let Ok(region) = Self::find(&*mended, Some(at)) {
                *memory = mended;
                let told = format!(
                    "the header of the observation region at {at} was written over: what it says of clock and names may be wrong"
                );
                return (Ok(region), Some(told));
            }
        }
        (Err(why_none(&search)), None)
    }
}

fn why_none(search: &Search) -> String {
    match search.refused.first() {
        Some((at, why)) => format!("the observation region at {at} can't be read: {why}"),
        None => "there is no observation region: the guest has no probes, they were never initialised, or its memory \
                 is missing here"
            .into(),
    }
}

fn look(memory: &dyn GuestMemory, hint: Option<GuestPhysical>) -> Result<Result<Region, Search>, String> {
    let found = match find_region(memory, hint).map_err(|error| error.to_string())? {
        Ok(found) => found,
        Err(search) => return Ok(Err(search)),
    };
    let mut bytes = vec![0; found.header.geometry.tables_bytes()];
    memory.read(found.at, &mut bytes).map_err(|error| error.to_string())?;
    let tables = Tables::parse(&bytes).map_err(|why| why.to_string())?;
    Ok(Ok(Region { found, tables }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::{Guest, REGION};
    use crate::subject::Evidence;

    #[test]
    fn a_header_that_was_written_over_is_read_all_the_same_and_that_is_said() {
        let guest = Guest::with_region();
        // The clock rate, which the checksum covers.
        guest.memory.write_words(REGION + 8 * 8, &[77]);
        let evidence = Evidence::new(guest.memory, Vec::new(), None);
        let region = evidence.region.unwrap();
        assert_eq!((region.found.at.0, region.tables.header.tsc_hz), (REGION, 77));
        assert!(evidence.remarks[0].contains("at 0x400000 was written over"), "{:?}", evidence.remarks);
        let recovered =
            crate::flight::recording(&evidence.memory, &region, None, uniprof_wire::ring::Source::Dead);
        assert!(!recovered.unwrap().is_empty());
    }

    #[test]
    fn a_header_without_its_magic_word_is_found_where_somebody_knew_it() {
        let guest = Guest::with_region();
        guest.memory.write_words(REGION, &[0]);
        let without = Evidence::new(guest.memory.clone(), Vec::new(), None);
        assert!(
            without.region.err().unwrap().contains("no observation region") && without.remarks.is_empty()
        );
        let hinted = Evidence::new(guest.memory, Vec::new(), Some(GuestPhysical(REGION)));
        assert_eq!(hinted.region.unwrap().found.at.0, REGION);
    }
}
