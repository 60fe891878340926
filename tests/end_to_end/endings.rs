//! How the VMM of a guest ended, as somebody sees it who has not started it: on the screen of `uniprof attach`.

use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;
use uniprof_tests::{Qmp, Running, Scene, Terminal, uniprof};

use crate::by_hand;
use crate::guests::start_words;

const LIMIT: Duration = Duration::from_secs(60);

fn attach(terminal: &Terminal<'_>, target: &str) {
    terminal.run(&format!("{} attach {target}", uniprof().display()));
    terminal.shows(" LIVE ");
}

/// What a kernel does that ends its machine with 0x10: the bundled one does that when it is done.
fn end_the_machine(control: &Path) {
    Qmp::connect(control).end_with("human-monitor-command", json!({ "command-line": "o /4 0x501 0x10" }));
}

/// Where a core can't be had any more, none is offered.
fn ended(terminal: &Terminal<'_>, words: &str, guest: Running) {
    let screen = terminal.until(words, |screen| screen.contains(words) && screen.contains(" ENDED "));
    let verdict = screen.lines().find(|line| line.contains(words)).expect("it was there");
    assert!(!verdict.contains("c core"), "{screen}");
    terminal.text("q");
    terminal.until_prompt();
    guest.wait(LIMIT);
}

#[test]
fn of_a_guest_that_uniprof_has_started_its_owner_notes_how_it_ended() {
    let scene = Scene::with_guest();
    let terminal = Terminal::open(&scene, (120, 30), &[]);
    let guest = start_words(&scene, "web", &["workload=kv"]);
    attach(&terminal, "web");
    end_the_machine(&scene.path("../run/uniprof/web/qmp").canonicalize().expect("a control socket"));
    ended(&terminal, "The guest has exited: it ended its machine with 0x10, QEMU's exit code is 33", guest);

    // Its exit code does not tell that from a guest that switches its machine off.
    let guest = start_words(&scene, "web", &["workload=kv"]);
    attach(&terminal, "web");
    scene.run(&["stop", "web"]).ok();
    ended(&terminal, "ended with exit code 0: it was told to, over QMP", guest);
}

#[test]
fn of_a_guest_that_was_started_by_hand_its_process_tells() {
    let scene = Scene::with_guest();
    let terminal = Terminal::open(&scene, (120, 30), &[]);
    let guest = by_hand::start(&scene, "kv", "region", "-qmp unix:hand,server=on,wait=off");
    attach(&terminal, "shop");
    end_the_machine(&scene.path("hand"));
    ended(&terminal, "The guest has exited: it ended its machine with 0x10, QEMU's exit code is 33", guest);

    let guest = by_hand::start(&scene, "kv", "region", "");
    attach(&terminal, "shop");
    guest.signal(Signal::KILL);
    let killed = format!("The guest's VMM is gone: process {} was killed by signal 9 (SIGKILL)", guest.pid());
    ended(&terminal, &killed, guest);
}
