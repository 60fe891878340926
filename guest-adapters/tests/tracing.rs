//! `tracing`, through its own macros.

mod common;

use uniprof_wire::layout::RingKind;

#[test]
fn events_and_spans_of_tracing_are_events_and_spans() {
    uniprof_adapters::tracing::install(tracing::Level::DEBUG).expect("the first subscriber");
    common::init();
    common::machine::set_thread(7);

    tracing::info!(bytes = 9, peer = "10.0.2.2", "accepted {}", "one");
    tracing::trace!("not let through");
    let request = tracing::info_span!("request", id = 5, answer = tracing::field::Empty);
    let inner = tracing::debug_span!(parent: &request, "parse");
    tracing::warn!(parent: &request, "slow");
    request.in_scope(|| tracing::info!(target: "kv", "hit"));
    drop(inner);
    request.record("answer", 42);
    // To another thread, which ends it: the handle that stays behind is dropped before.
    let handle = request.clone();
    drop(request);
    std::thread::spawn(move || {
        common::machine::set_thread(8);
        drop(handle);
    })
    .join()
    .unwrap();

    let told = common::told(RingKind::Events);
    // Numbers of spans count up in steps of the table's size, and begin at one step.
    let wanted = [
        r#"tracing.event span=0 level="INFO" target="tracing" message="accepted one" fields="bytes=9 peer=\"10.0.2.2\"""#,
        r#"begin tracing.span span=256 parent=0 level="INFO" target="tracing" name="request" fields="id=5""#,
        r#"begin tracing.span span=513 parent=256 level="DEBUG" target="tracing" name="parse" fields="""#,
        r#"tracing.event span=256 level="WARN" target="tracing" message="slow" fields="""#,
        "tracing.enter span=256",
        r#"tracing.event span=0 level="INFO" target="kv" message="hit" fields="""#,
        "tracing.exit span=256",
        "end tracing.span begun by 7 on 7",
        r#"tracing.record span=256 fields="answer=42""#,
        "end tracing.span begun by 7 on 8",
    ];
    assert_eq!(told, wanted, "{told:#?}");

    let many: Vec<_> = (0..300).map(|n| tracing::info_span!("many", n)).collect();
    assert_eq!(uniprof_adapters::tracing::refused_spans(), 300 - 256);
    drop(many);
    let again: Vec<_> = (0..256).map(|n| tracing::info_span!("again", n)).collect();
    assert_eq!(uniprof_adapters::tracing::refused_spans(), 300 - 256, "slots are free again");
    drop(again);
}
