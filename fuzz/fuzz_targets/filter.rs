//! Any text as a filter: an expression that can be asked of any event, or an error that points into the text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use uniprof_events::{Event, Filter, Guest, Sites};
use uniprof_wire::record::{CallRecord, Record};

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    match Filter::parse(&text) {
        Ok(filter) => {
            let record = CallRecord { tsc: 9, site: 0, thread: 1, begin: 4, args: &[1, 2] };
            let event = Event::new(0, &Record::Call(record), &Sites::default()).expect("no sample");
            let guest = Guest { tsc_hz: 1_000, ..Guest::default() };
            let _ = filter.matches(&event, &guest);
            assert!(filter.names().len() <= text.len());
        }
        Err(error) => {
            assert!(error.column() <= text.chars().count() + 1);
            assert_eq!(error.to_string().lines().count(), 3);
        }
    }
});
