//! Who allocated, as a person is told: by the stack of whoever asked, without the allocator's own frames.

use rustc_hash::FxHashMap;
use uniprof_postmortem::heap;
use uniprof_tui::picture::HeapSite;

/// What the blocks of one stack stand for. `stack`: the innermost frame first, the allocator's among them.
pub(super) fn site(mut stack: Vec<String>, blocks: u64, bytes: u64, growth_rate: f64) -> HeapSite {
    let names: Vec<&str> = stack.iter().map(String::as_str).collect();
    let function = heap::asked_by(&names).unwrap_or("[unknown: no stack]").to_owned();
    let from = heap::asked_from(&names);
    stack.drain(..from);
    HeapSite { function, blocks, bytes, growth_rate, stack }
}

/// Sites in their order; those that only ways through the allocator tell apart are one, the largest bytes first.
pub(super) fn of(all: impl Iterator<Item = HeapSite>) -> Vec<HeapSite> {
    let mut sites: Vec<HeapSite> = Vec::new();
    let mut places: FxHashMap<Vec<String>, usize> = FxHashMap::default();
    for site in all {
        match places.get(&site.stack) {
            Some(place) => {
                let same = &mut sites[*place];
                same.blocks = same.blocks.saturating_add(site.blocks);
                same.bytes = same.bytes.saturating_add(site.bytes);
                same.growth_rate += site.growth_rate;
            }
            None => {
                places.insert(site.stack.clone(), sites.len());
                sites.push(site);
            }
        }
    }
    sites.sort_by_key(|site| std::cmp::Reverse(site.bytes));
    sites
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_stack_begins_with_who_asked() {
        let all = [
            site(stack(&["talc::Talc<O>::malloc", "__rust_alloc", "kv::log", "kv::run"]), 3, 10, 1.0),
            site(stack(&["talc::Talc<O>::malloc", "__rust_alloc", "kv::put", "kv::run"]), 1, 30, 0.0),
            site(
                stack(&["talc::Talc<O>::malloc", "alloc::raw_vec::finish_grow", "kv::log", "kv::run"]),
                4,
                25,
                -3.0,
            ),
        ];
        let sites = of(all.into_iter());
        let told: Vec<_> =
            sites.iter().map(|site| (&*site.function, site.blocks, site.bytes, site.growth_rate)).collect();
        assert_eq!(told, [("kv::log", 7, 35, -2.0), ("kv::put", 1, 30, 0.0)]);
        assert_eq!(sites[0].stack, ["kv::log", "kv::run"]);
    }

    #[test]
    fn what_has_no_stack_or_nothing_but_the_allocator_is_told_of_all_the_same() {
        assert_eq!(site(Vec::new(), 1, 1, 0.0).function, "[unknown: no stack]");
        let only = site(stack(&["talc::Talc<O>::malloc"]), 1, 1, 0.0);
        assert_eq!((only.function.as_str(), only.stack.len()), ("talc::Talc<O>::malloc", 1));
    }
}
