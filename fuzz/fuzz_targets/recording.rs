//! A recording of any bytes: read to its end, in bounded memory, and every payload looked at.
#![no_main]

use std::io::Cursor;

use libfuzzer_sys::fuzz_target;
use uniprof_collector::recording::{Item, Reader};

fuzz_target!(|bytes: &[u8]| {
    let Ok(mut reader) = Reader::new(Cursor::new(bytes.to_vec())) else { return };
    let mut items = 0;
    while let Ok(Some(item)) = reader.next() {
        items += 1;
        assert!(items <= bytes.len(), "more items than bytes");
        if let Item::Attachment(attachment) = item {
            assert!(attachment.bytes.len() <= bytes.len());
        }
    }
});
