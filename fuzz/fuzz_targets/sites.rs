//! A section of event sites of any bytes, and the words of a record of any of them: names, arguments, and how they are shown.
#![no_main]

use std::fmt::Write as _;

use libfuzzer_sys::fuzz_target;
use uniprof_events::Sites;
use uniprof_wire::pattern;
use uniprof_wire::site;

fuzz_target!(|bytes: &[u8]| {
    let Some((&split, bytes)) = bytes.split_first() else { return };
    // How much of the input is the section; the rest are a record's words, and its text a list of patterns.
    let (section, rest) = bytes.split_at(bytes.len() * usize::from(split) / 255);
    let words: Vec<u64> = rest.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)).collect();
    let mut end = 0;
    let mut text = String::new();
    for site in site::sites(section) {
        // From left to right, each within the section.
        let at = site.id as usize;
        assert!(at >= end && at.is_multiple_of(8) && at + site::HEADER_BYTES <= section.len());
        end = at + site::HEADER_BYTES;
        assert!(site.args().count() <= usize::from(u8::MAX));
        for (arg, value) in site.values(&words) {
            text.clear();
            // Writing to a string does not fail.
            let _ = write!(text, "{}={value}", arg.name);
            assert!(text.len() < 4096 + arg.name.len());
        }
        let _ = pattern::selects(rest, site.name.as_bytes());
    }
    let sites = Sites::of_section(section);
    for owned in sites.iter() {
        let site = site::sites(section).find(|site| site.id == owned.id).expect("the same sites");
        let shown = |value: uniprof_wire::site::Value<'_>| value.to_string();
        let [a, b]: [Vec<String>; 2] = [
            site.values(&words).map(|(_, value)| shown(value)).collect(),
            owned.values(&words).map(|(_, value)| shown(value)).collect(),
        ];
        assert_eq!(a, b);
    }
});
