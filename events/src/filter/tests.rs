use proptest::prelude::*;
use uniprof_wire::address::GuestVirtual;
use uniprof_wire::record::{
    CallRecord, Callers, EventRecord, LockKind, LockWaitRecord, Record, ResumeRecord, SpanEndRecord,
    SwitchReason,
};
use uniprof_wire::site::SiteKind;

use super::*;
use crate::event::Event;
use crate::guest::Guest;
use crate::sites::{Sites, tests::entry};

fn guest() -> Guest {
    let threads = [(3, "kv-0".to_owned()), (4, "main".to_owned())].into();
    Guest { boot_tsc: 1_000, tsc_hz: 1_000_000, threads, ..Guest::default() }
}

/// A call at 1.5 s, on the thread kv-0 of vCPU 1: `fs.read(fd=7, path="/etc/motd") = -5` after 2 ms.
fn call() -> Event {
    let section = entry(SiteKind::Call, "fs.read", &["ufd", "spath", "iresult"]);
    let args = [7, 9 | 9 << 32, u64::from_le_bytes(*b"/etc/mot"), u64::from(b'd'), -5i64 as u64];
    let record = CallRecord { tsc: 1_501_000, site: 0, thread: 3, begin: 1_499_000, args: &args };
    Event::new(1, &Record::Call(record), &Sites::of_section(&section)).unwrap()
}

fn is_true(filter: &str) -> bool {
    let filter = Filter::parse(filter).unwrap_or_else(|error| panic!("{error}"));
    filter.matches(&call(), &guest())
}

#[test]
fn events_are_chosen_by_all_that_they_say() {
    for filter in [
        "fs.*",
        "fs.read",
        "'fs.?ead'",
        "name ~ 'fs.*'",
        "name == fs.read",
        "name != fs.write",
        "name !~ net.*",
        "kind == call",
        "kind ~ ca*",
        "class == calls",
        "thread == kv-0",
        "thread == 3",
        "thread ~ kv-*",
        "vcpu == 1",
        "vcpu<2",
        "duration > 1ms",
        "duration == 2ms",
        "duration <= 2000us",
        "time in 1.5s..2s",
        "time in 1500ms..",
        "time in ..1.5",
        "time > 1.4999",
        "arg.fd == 7",
        "arg.fd == 0x7",
        "arg.fd < 7.5",
        "arg.fd ~ 7",
        "arg.path == \"/etc/motd\"",
        "arg.path ~ /etc/*",
        "arg.path == /etc/motd",
        "arg.result < 0",
        "arg.result == -5",
        "not net.*",
        "!net.*",
        "net.* or fs.*",
        "net.* || fs.* && vcpu == 1",
        "not (net.* or vcpu == 0)",
        "not arg.nothing == 1",
    ] {
        assert!(is_true(filter), "{filter}");
    }
    for filter in [
        "fs",
        "name == 'fs.*'",
        "kind == event",
        "kind == span",
        "thread == 4",
        "thread != kv-0",
        "duration > 2ms",
        "time in 1.6s..2s",
        "arg.fd == \"7\"",
        "arg.fd > 7",
        "arg.path > 7KiB and arg.path == 1",
        "arg.result >= 0",
        "not fs.*",
        // `and` binds closer.
        "net.* and net.* or net.*",
        "(fs.* or fs.*) and net.*",
        // What is not there is not different either.
        "arg.nothing != 1",
        "text ~ *",
    ] {
        assert!(!is_true(filter), "{filter}");
    }
}

#[test]
fn sizes_and_durations_have_units() {
    let sites = Sites::of_section(&entry(SiteKind::Event, "x", &["ubytes", "fshare", "bok"]));
    let args = [4096, 0.5f64.to_bits(), 1];
    let record = Record::Event(EventRecord { tsc: 0, site: 0, thread: 0, args: &args });
    let event = Event::new(0, &record, &sites).unwrap();
    let is_true = |filter| Filter::parse(filter).unwrap().matches(&event, &guest());
    for filter in ["arg.bytes == 4KiB", "arg.bytes < 5k", "arg.share == 0.5", "arg.ok == true", "arg.ok == 1"]
    {
        assert!(is_true(filter), "{filter}");
    }
    assert!(!is_true("arg.ok == false") && !is_true("arg.share > 1") && !is_true("duration >= 0"));
}

#[test]
fn what_has_no_site_is_compared_by_the_same_words() {
    let wait = LockWaitRecord {
        tsc: 5_000,
        thread: 3,
        kind: LockKind::Blocking,
        lock: GuestVirtual(0x1000),
        begin: 2_000,
        owner: 4,
        callers: Callers::NONE,
    };
    let wait = Event::new(0, &Record::LockWait(wait), &Sites::default()).unwrap();
    let resume = ResumeRecord {
        tsc: 9_000,
        thread: 3,
        reason: SwitchReason::Blocked,
        parked: 1_000,
        woken: 8_000,
        waker: 4,
        callers: Callers::NONE,
    };
    let resume = Event::new(0, &Record::Resume(resume), &Sites::default()).unwrap();
    let span = SpanEndRecord { tsc: 9_000, site: 8, thread: 3, begin: 1_000, begun_on: 4 };
    let span = Event::new(0, &Record::SpanEnd(span), &Sites::default()).unwrap();
    for (event, filter) in [
        (&wait, "lock_wait and arg.owner == main and arg.lock == 0x1000 and arg.how == blocking"),
        (&wait, "class == locks and duration >= 3ms"),
        (&resume, "arg.ready == 1ms and arg.waker == 4 and duration == 8ms and arg.reason == blocked"),
        (&span, "kind == span and arg.begun_on == main and name == 'site 8'"),
    ] {
        assert!(Filter::parse(filter).unwrap().matches(event, &guest()), "{filter}");
    }
}

#[test]
fn mistakes_are_pointed_at() {
    let told = |text: &str| Filter::parse(text).unwrap_err().to_string();
    assert_eq!(
        told("fs.* and arg.bytes >"),
        "the filter is wrong at column 21: expected a value such as 4096, 4KiB, 1.5, true or \"text\", found the end\n\
         \x20 fs.* and arg.bytes >\n\
         \x20                     ^"
    );
    for (text, column, part) in [
        ("", 1, "expected a name such as http.*"),
        ("fs.* fs.*", 6, "expected `and`, `or` or the end, found `fs.*`"),
        ("(fs.*", 6, "expected `and`, `or` or `)`, found the end"),
        ("fs.*)", 5, "this closes nothing"),
        ("fs.* and", 9, "found the end"),
        ("bytes > 7", 1, "`bytes` is no field; expected name, kind"),
        ("bytes > 7", 1, "is written arg.bytes"),
        ("duration > fast", 12, "a duration such as 1ms or 250us, found `fast`"),
        ("duration > 7", 12, "a duration"),
        ("vcpu ~ 1", 6, "`vcpu` is compared with == != < <= > >="),
        ("name < a", 6, "`name` is compared with == != ~ !~"),
        ("kind == spam", 9, "there is no kind `spam`; there are: span event"),
        ("class == spam", 10, "there is no class `spam`; there are: samples events"),
        ("time in 2s", 9, "a range such as"),
        ("time in 2s..1s", 9, "ends before it begins"),
        ("vcpu in 1..2", 6, "only `time`"),
        ("arg.x", 6, "expected one of =="),
        ("ä == 'x", 6, "there is no closing '"),
        ("a & b", 3, "`&` has no meaning here"),
    ] {
        let error = Filter::parse(text).unwrap_err();
        assert_eq!(error.column(), column, "{error}");
        assert!(error.to_string().contains(part), "{error}");
    }
    assert!(told(&"(".repeat(1_000_000)).contains("more than 64 parentheses"));
    assert!(told(&"not ".repeat(1_000_000)).contains("more than 64"));
}

#[test]
fn names_that_must_match_are_known() {
    let filter = Filter::parse("(fs.* or name == kv.get) and not net.* and kind == call").unwrap();
    assert_eq!(filter.names(), ["fs.*", "kv.get"]);
}

proptest! {
    #[test]
    fn no_text_is_too_strange(text in "[a-z0-9.*?()!=<>~\"'&| \\\\µ\n]{0,40}") {
        match Filter::parse(&text) {
            Ok(filter) => _ = filter.matches(&call(), &guest()),
            Err(error) => {
                prop_assert!(error.column() <= text.chars().count() + 1);
                let lines: Vec<String> = error.to_string().lines().map(str::to_owned).collect();
                prop_assert_eq!(lines.len(), 3);
            }
        }
    }
}
