//! Any text as an expression, on a guest of one page that lies in nobody's image: understood or refused in a sentence.
#![no_main]

use libfuzzer_sys::fuzz_target;
use uniprof_postmortem::print;

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    if let Err(error) = print::check(&text) {
        assert!(!error.to_string().is_empty());
    }
});
