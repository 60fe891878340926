//! A text of any bytes, as `uniprof symbolize` reads it: what it takes for addresses.
#![no_main]

use libfuzzer_sys::fuzz_target;
use uniprof_symbolizer::{bare_address, mentions};

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    for line in text.split_inclusive('\n') {
        let mut end = 0;
        for mention in mentions(line) {
            // From left to right, on boundaries of characters, and each is the number that it was taken for.
            assert!(end <= mention.range.start && mention.range.start < mention.range.end);
            end = mention.range.end;
            assert_eq!(bare_address(&line[mention.range]), Some(mention.address));
        }
        if let Some(address) = bare_address(line) {
            assert_eq!(bare_address(&format!("{:#x}", address.0)), Some(address));
        }
    }
});
