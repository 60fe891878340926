//! `uniprof print` on a guest's dump says what gdb says of the same dump. The kernel's memory is mapped one to one, so gdb finds its
//! globals in QEMU's dump.

#[path = "../../postmortem/tests/print/gdb.rs"]
mod gdb;
#[path = "../../postmortem/tests/print/plain.rs"]
mod plain;

use std::path::Path;

use uniprof_tests::{Scene, Stopped, assert_matches_its_schema};

const STATE: &str = "uniprof_sample_kernel::workload::crash::server::SERVER_STATE";

/// What is asked of `print`, and of gdb where it has another way of saying it. `S` stands for the path of the state.
const ASKED: &[(&str, &str)] = &[
    ("SERVER_STATE.name", "S.name"),
    ("S.version", ""),
    ("SERVER_STATE.version.2", "S.version.2"),
    ("SERVER_STATE.phase", "S.phase"),
    ("server::SERVER_STATE.level", "S.level"),
    ("S.limits", ""),
    ("S.limits.max_body", ""),
    ("S.limits.load_factor", ""),
    ("S.limits.retry.pause_ms", ""),
    ("S.last_error", ""),
    ("S.standby", ""),
    ("*S.leader.0", "*S.leader.0"),
    ("S.leader.0.address[3]", "(*S.leader.0).address[3]"),
    ("S.banner", ""),
    ("S.ports", ""),
    ("S.users", ""),
    ("S.window[0]", "*S.window.data_ptr"),
    ("S.history", ""),
    ("S.history[5]", ""),
    ("S.matrix", ""),
    ("S.matrix[1][2]", ""),
    ("S.first_session", ""),
    ("(*S.first_session).user", ""),
    ("S.first_session.next", "(*S.first_session).next"),
    ("S.first_session.next.id", "(*(*S.first_session).next).id"),
    ("S.requests", ""),
    ("S.requests * 3 - 1", ""),
    ("S.debt", ""),
    ("S.ratio", ""),
    ("S.letter as u32", ""),
    ("S.ready", ""),
    ("S.big", ""),
    ("&S.requests", ""),
    ("protocol_listener.state", ""),
    ("protocol_listener.peers[1].port", ""),
    ("protocol_listener.peers[2].weight", ""),
    ("protocol_listener.peers[2].secure", ""),
    ("protocol_listener.cookie.number", ""),
    ("protocol_listener.load", ""),
    ("protocol_listener.filter", ""),
    ("protocol_listener.fallback->name[0]", "(*protocol_listener.fallback).name[0]"),
];

#[test]
fn print_says_what_gdb_says_of_a_crashed_guest() {
    let scene = Scene::with_guest();
    let mut guest = Stopped::run(&scene, "crash-null", &["-smp", "2"]);
    guest.dump("x.core", "elf", false);
    guest.end();
    let full = |text: &str| text.replacen("S.", &format!("{STATE}."), text.matches("S.").count());
    let lines = ASKED.iter().map(|(ours, gdb)| if gdb.is_empty() { ours } else { gdb });
    let lines: String = lines
        .map(|gdb| format!("{}\t{}\n", if gdb.contains("protocol") { "c" } else { "rust" }, full(gdb)))
        .collect();
    std::fs::write(scene.path("ask"), lines).expect("a file");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../postmortem/tests/print/oracle.py");
    let output = gdb::with_printers(&script)
        .arg(scene.path("kernel.elf"))
        .env("ORACLE_OUT", scene.path(""))
        .env("ORACLE_ASK", scene.path("ask"))
        .env("ORACLE_CORE", scene.path("x.core"))
        .output()
        .expect("gdb runs; `cargo xtask test --yes` installs it");
    let said = std::fs::read_to_string(scene.path("said")).unwrap_or_default();
    assert!(!said.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut wrong = Vec::new();
    for ((ours, _), gdb) in ASKED.iter().zip(said.lines()) {
        let gdb = plain::plain(gdb.strip_prefix("value ").expect("an answer"));
        let shown = scene.run(&["core", "print", "x.core", &full(ours), "--kernel", "kernel.elf"]);
        let ours_plain = plain::plain(&shown.stdout);
        if ours_plain != gdb || gdb.starts_with("error") {
            wrong.push(format!("{ours}: gdb {gdb}, ours {ours_plain} {}", shown.stderr));
        }
    }
    assert!(wrong.is_empty(), "of {}: {wrong:#?}", ASKED.len());
    assert_eq!(said.lines().count(), ASKED.len());
    let document =
        scene.run(&["print", "x.core", "SERVER_STATE", "--kernel", "kernel.elf", "--json"]).ok().json();
    assert_matches_its_schema(&document);
    assert_eq!(document["value"]["value"]["requests"], 26);
}
