//! `log`, through its own macros.

mod common;

use uniprof_wire::layout::RingKind;

#[test]
fn records_of_log_are_log_lines() {
    uniprof_adapters::log::install(log::LevelFilter::Info).expect("the first logger");
    log::error!("before init: nothing, and no harm");
    common::init();
    log::info!("served {} requests", 3);
    log::debug!("not let through");
    log::warn!(target: "net", "{}", "long ".repeat(200));
    let told = common::told(RingKind::Core);
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(told[0], "INFO log: served 3 requests");
    assert!(told[1].starts_with("WARN net: long long") && told[1].ends_with('…'), "{}", told[1]);
    assert!(told[1].len() <= 512);
    assert!(uniprof_adapters::log::install(log::LevelFilter::Trace).is_err(), "there is one");
}
