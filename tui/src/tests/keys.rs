//! What keys and clicks do.

use std::path::PathBuf;
use std::sync::Arc;

use ratatui::crossterm::event::KeyCode;
use uniprof_flamegraph::Measured;

use super::drive::Drive;
use super::guest::{empty, listing, picture, with_cpu};
use crate::picture::{Can, Fate, Kind, Picture, Shown, Span, Subject, Time};
use crate::state::{ListId, Pane};
use crate::talk::{Answer, Request, SaveAs, Seen};
use crate::update::Input;

/// What is first in the functions' table, and what is selected.
fn functions(drive: &Drive) -> (String, String) {
    let table = drive.state.function_table().expect("a table is shown");
    let list = &drive.state.functions;
    let first = &table.rows[list.order[0] as usize].name;
    let selected = list.row().map_or(String::new(), |row| table.rows[row].name.clone());
    (first.clone(), selected)
}

fn subject(change: impl FnOnce(&mut Subject)) -> Arc<Subject> {
    let mut subject = (*picture(1).subject).clone();
    change(&mut subject);
    Arc::new(subject)
}

fn recording(at: f64, runs: bool) -> Picture {
    let time = Time { at, range: (600.0, 800.0), runs, ..picture(1).time };
    Picture { subject: subject(|subject| subject.kind = Kind::Recording), time, ..picture(1) }
}

#[test]
fn numbers_tab_and_clicks_choose_a_pane() {
    let mut drive = Drive::of(picture(1));
    for (at, pane) in Pane::ALL.into_iter().enumerate() {
        drive.keys(&(at + 1).to_string());
        assert_eq!(drive.state.pane, pane);
    }
    drive.key(KeyCode::Tab);
    assert_eq!(drive.state.pane, Pane::Overview);
    drive.key(KeyCode::BackTab);
    assert_eq!(drive.state.pane, Pane::Source);
    drive.click_on("5Threads");
    assert_eq!(drive.state.pane, Pane::Threads);
}

#[test]
fn a_selected_function_stays_selected_when_others_pass_it() {
    let mut drive = Drive::of(with_cpu(1, &[("m;a", 30), ("m;b", 20), ("m;c", 10)]));
    drive.keys("2j");
    assert_eq!(functions(&drive), ("a".into(), "b".into()));
    drive.picture(with_cpu(2, &[("m;c", 90), ("m;a", 30), ("m;b", 20)]));
    assert_eq!(functions(&drive), ("c".into(), "b".into()));
    assert!(drive.selected_line().is_some_and(|line| line.ends_with(" b")));
    // Not there for a while.
    drive.picture(with_cpu(3, &[("m;c", 90)]));
    assert_eq!(functions(&drive), ("c".into(), String::new()));
    drive.picture(with_cpu(4, &[("m;c", 90), ("m;b", 95)]));
    assert_eq!(functions(&drive), ("b".into(), "b".into()));
}

#[test]
fn functions_are_sorted_by_any_column() {
    let mut drive = Drive::of(picture(1));
    drive.keys("2o");
    assert_eq!(functions(&drive).0, "kernel::thread::entry", "by total");
    drive.keys("o");
    assert_eq!(functions(&drive).0, "[unknown: outside the image]", "by name, from A on");
    drive.keys("O");
    assert_eq!(functions(&drive).0, "virtio::queue::pop", "by name, from Z on");
    drive.click_on("self");
    assert_eq!(functions(&drive).0, "kv::store::Map<K, V>::get");
    drive.click_on("self");
    assert!(drive.state.functions.rising);
}

#[test]
fn a_search_finds_lights_up_and_sums_up() {
    let mut drive = Drive::of(picture(1));
    drive.keys("2/checksum\n");
    assert_eq!(functions(&drive).1, "net::checksum::sum");
    assert!(drive.shows("matched 10.0%"), "{}", drive.screen());
    drive.keys("4");
    assert!(drive.shows("matched 10.0%"), "{}", drive.screen());
    // In two places of the flame graph.
    drive.keys("n");
    let first = drive.state.flame.selected.clone();
    drive.keys("n");
    assert_ne!(drive.state.flame.selected, first);
    drive.keys("n");
    assert_eq!(drive.state.flame.selected, first);
    drive.keys("N/nowhere\n");
    assert!(drive.shows("nothing here matches nowhere"), "{}", drive.screen());
    drive.key(KeyCode::Esc);
    assert!(!drive.state.search.is_on());
}

#[test]
fn a_capital_letter_is_looked_for_as_it_is() {
    let mut drive = Drive::of(picture(1));
    drive.keys("2/TALC\n");
    assert!(drive.shows("nothing here matches"));
    drive.keys("/Talc\n");
    assert_eq!(functions(&drive).1, "talc::Talc<O>::malloc");
}

#[test]
fn the_tree_folds_and_keeps_its_place() {
    let mut drive = Drive::of(picture(1));
    drive.keys("3");
    assert!(
        drive.shows("core::hash::Hasher::write (inlined)"),
        "the main path is unfolded\n{}",
        drive.screen()
    );
    drive.keys("jj");
    drive.key(KeyCode::Left);
    assert!(!drive.shows("core::hash::Hasher::write"));
    assert!(drive.selected_line().is_some_and(|line| line.contains("▶ kv::serve::run")));
    drive.picture(with_cpu(2, &[("z;other", 5_000), ("server;kernel::thread::entry;kv::serve::run;x", 7)]));
    assert!(drive.selected_line().is_some_and(|line| line.contains("kv::serve::run")), "{}", drive.screen());
    drive.key(KeyCode::Right);
    assert!(drive.shows(" x"), "{}", drive.screen());
    // Folded twice: to the caller.
    drive.key(KeyCode::Left);
    drive.key(KeyCode::Left);
    assert!(drive.selected_line().is_some_and(|line| line.contains("kernel::thread::entry")));
}

#[test]
fn a_selected_call_that_is_gone_leaves_its_caller_selected() {
    let mut drive = Drive::of(with_cpu(1, &[("m;a;b", 30)]));
    drive.keys("3jj");
    assert!(drive.selected_line().is_some_and(|line| line.contains(" b")), "{}", drive.screen());
    drive.picture(with_cpu(2, &[("m;a;c", 30)]));
    assert!(drive.selected_line().is_some_and(|line| line.contains("a")));
    drive.picture(with_cpu(3, &[("m;a;b", 30), ("m;a;c", 90)]));
    assert!(drive.selected_line().is_some_and(|line| line.contains(" b")), "{}", drive.screen());
}

#[test]
fn callers_of_a_function_are_one_key_away() {
    let mut drive = Drive::of(picture(1));
    drive.keys("2/memcpy\nb");
    assert_eq!(drive.state.pane, Pane::Tree);
    assert!(drive.selected_line().is_some_and(|line| line.contains("memcpy")), "{}", drive.screen());
    assert!(drive.shows("net::tcp::Socket::send") && drive.shows("callers"), "{}", drive.screen());
    drive.keys("i");
    assert!(drive.shows("callees"));
}

#[test]
fn the_flame_graph_zooms_and_comes_back() {
    let mut drive = Drive::of(picture(1));
    drive.keys("4");
    drive.click_on("put");
    let wide = |drive: &Drive, text: &str| {
        let row = drive.lines().into_iter().find(|line| line.contains(text)).unwrap_or_default();
        row.matches('▏').count()
    };
    assert_eq!(wide(&drive, "kv::store::Map<K, V>::put"), 1, "{}", drive.screen());
    assert!(drive.shows("kv::store::Map<K, V>::put: 23.0%"), "{}", drive.screen());
    drive.picture(Picture { number: 2, ..picture(2) });
    assert_eq!(wide(&drive, "kv::store::Map<K, V>::put"), 1, "a new picture stays zoomed");
    drive.key(KeyCode::Down);
    assert!(drive.shows("talc::Talc<O>::malloc: 15.0%"), "{}", drive.screen());
    for _ in 0..9 {
        drive.key(KeyCode::Esc);
    }
    assert!(drive.state.flame.zoom.is_empty());
    // From a frame to the ones beside it.
    drive.key(KeyCode::Home);
    drive.key(KeyCode::Down);
    assert!(drive.shows("server: 81.0%"));
    drive.key(KeyCode::Left);
    assert!(drive.shows("net: 13.0%"), "{}", drive.screen());
}

#[test]
fn other_profiles_say_why_they_have_nothing() {
    let mut drive = Drive::of(picture(1));
    drive.keys("2p");
    assert!(drive.shows("kernel::sleep") && drive.shows("blocked time"), "{}", drive.screen());
    drive.keys("p");
    assert!(drive.shows("No lock is recorded: e, then lock"), "{}", drive.screen());
    drive.click_on("heap");
    assert!(drive.shows("live bytes"), "{}", drive.screen());
}

#[test]
fn paused_means_that_nothing_moves_until_a_moment_is_asked_for() {
    let mut drive = Drive::of(with_cpu(1, &[("m;first", 1)]));
    drive.keys("2 ");
    assert_eq!(drive.asked, [Request::Show(Shown::At(723.4))]);
    assert!(drive.shows("PAUSED"));
    drive.picture(with_cpu(2, &[("m;second", 1)]));
    assert!(drive.shows("first") && !drive.shows("second"));
    // The past, as it was asked for.
    drive.keys("[");
    assert_eq!(drive.asked.last(), Some(&Request::Show(Shown::At(722.4))));
    drive.keys("{");
    assert_eq!(
        drive.asked.last(),
        Some(&Request::Show(Shown::At(712.4))),
        "steps add up before answers come"
    );
    let past = Time { at: 712.4, runs: false, ..picture(1).time };
    drive.picture(Picture { time: past, ..with_cpu(3, &[("m;past", 1)]) });
    assert!(drive.shows("past") && drive.shows("PAUSED 11:52.4"), "{}", drive.screen());
    drive.keys(" ");
    assert_eq!(drive.asked.last(), Some(&Request::Show(Shown::Now)));
    drive.picture(with_cpu(4, &[("m;second", 1)]));
    assert!(drive.shows("second") && drive.shows("LIVE"));
}

#[test]
fn a_live_guest_is_not_seen_before_its_first_moment_or_after_its_last() {
    let mut drive = Drive::of(picture(1));
    for _ in 0..20 {
        drive.keys("{");
    }
    assert_eq!(drive.asked.last(), Some(&Request::Show(Shown::At(600.0))));
    for _ in 0..20 {
        drive.keys("}");
    }
    assert_eq!(drive.asked.last(), Some(&Request::Show(Shown::Now)));
    assert!(!drive.state.paused);
}

#[test]
fn a_replay_plays_pauses_and_goes_faster() {
    let mut drive = Drive::of(recording(700.0, true));
    drive.keys(" ");
    assert_eq!(drive.asked, [Request::Speed(0.0)]);
    drive.picture(Picture { number: 2, ..recording(700.0, false) });
    assert!(drive.shows("REPLAY paused"), "{}", drive.screen());
    drive.keys(">");
    drive.keys(" ");
    assert_eq!(drive.asked.last(), Some(&Request::Speed(2.0)));
    drive.picture(Picture { number: 3, ..recording(701.0, true) });
    drive.keys("<<");
    assert_eq!(drive.asked.last(), Some(&Request::Speed(0.5)));
    // The bar of time: its middle is the middle of the recording.
    let (area, _) = *drive
        .state
        .screen
        .hits
        .iter()
        .find(|(_, target)| *target == crate::state::Target::Slider)
        .expect("a bar");
    drive.click(area.x + area.width / 2, area.y);
    match drive.asked.last() {
        Some(Request::Show(Shown::At(at))) => assert!((at - 700.0).abs() < 3.0, "{at}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_core_has_one_moment() {
    let mut drive =
        Drive::of(Picture { subject: subject(|subject| subject.kind = Kind::Core), ..picture(1) });
    drive.keys(" [{");
    assert_eq!(drive.asked, []);
    assert!(drive.shows("CORE") && drive.shows("one moment only"), "{}", drive.screen());
}

#[test]
fn sums_go_over_the_next_span() {
    let mut drive = Drive::of(picture(1));
    drive.keys("ttt");
    let spans = [Span::Decay(10.0), Span::All, Span::Last(1.0)].map(Request::Span);
    assert_eq!(drive.asked, spans);
}

#[test]
fn the_rate_is_changed_by_steps_and_by_number() {
    let mut drive = Drive::of(picture(1));
    drive.keys("+-");
    assert_eq!(drive.asked, [Request::Rate(1999), Request::Rate(999)]);
    drive.keys("r12x\n");
    assert!(drive.shows("a number from 0"), "{}", drive.screen());
    assert_eq!(drive.asked.len(), 2, "a mistake asks for nothing");
    drive.key(KeyCode::Backspace);
    drive.key(KeyCode::Enter);
    assert_eq!(drive.asked.last(), Some(&Request::Rate(12)));
    assert!(drive.state.prompt.is_none());
}

#[test]
fn what_cannot_be_done_is_said_with_its_reason() {
    let can = Can {
        control: Err("read-only: no control page".into()),
        core: Err("no QMP: start QEMU with -qmp".into()),
    };
    let mut drive = Drive::of(Picture { subject: subject(|subject| subject.can = can), ..picture(1) });
    drive.keys("+");
    assert!(drive.shows("read-only: no control page"), "{}", drive.screen());
    drive.keys("e");
    assert!(drive.state.popup.is_none() && drive.shows("read-only"));
    drive.keys("c");
    assert!(drive.shows("no QMP: start QEMU with -qmp"), "{}", drive.screen());
    assert_eq!(drive.asked, []);
}

#[test]
fn events_are_switched_by_name_and_by_pattern() {
    let mut drive = Drive::of(picture(1));
    let record = |what: &str, on| Request::Record { what: what.into(), on };
    drive.keys("e ");
    assert_eq!(drive.asked, [record("irq", false)]);
    drive.keys("put");
    assert!(drive.shows("kv.put") && !drive.shows("kv.get  "), "{}", drive.screen());
    drive.keys("\n");
    assert_eq!(drive.asked.last(), Some(&record("kv.put", true)));
    for _ in 0..3 {
        drive.key(KeyCode::Backspace);
    }
    drive.keys("-kv.*\n");
    assert_eq!(drive.asked.last(), Some(&record("kv.*", false)));
    drive.key(KeyCode::Up);
    drive.picture(picture(2));
    drive.keys(" ");
    assert_eq!(drive.asked.last(), Some(&record("kv.get", false)));
    drive.click_on("off-cpu");
    assert_eq!(drive.asked.last(), Some(&record("off-cpu", true)));
    drive.key(KeyCode::Esc);
    assert!(drive.state.popup.is_none());
}

#[test]
fn a_filter_is_asked_for_and_its_mistake_shown() {
    let mut drive = Drive::of(picture(1));
    drive.keys("6fduration >\n");
    assert_eq!(drive.asked, [Request::Filter("duration >".into())]);
    let mut events = (**picture(2).events.as_ref().expect("has events")).clone();
    events.filter = Err("a duration is missing after `>`".into());
    drive.picture(Picture { events: Ok(Arc::new(events)), ..picture(2) });
    assert!(drive.shows("a duration is missing after `>`"), "{}", drive.screen());
    // From the names.
    drive.keys("v\n");
    assert_eq!(drive.asked.last(), Some(&Request::Filter("kv.get".into())));
}

#[test]
fn the_last_events_are_followed_until_one_is_selected() {
    let mut drive = Drive::of(picture(1));
    drive.keys("6");
    assert!(drive.shows("follows the newest") && drive.shows(" 700.020000"));
    drive.key(KeyCode::Up);
    let selected = drive.selected_line().expect("one is selected");
    assert!(selected.contains("700.019900"), "{selected}");
    let mut events = (**picture(2).events.as_ref().expect("has events")).clone();
    events.tail.drain(..100);
    for number in 201..=300 {
        events.tail.push(crate::picture::EventLine { number, at: 701.0, ..events.tail[0].clone() });
    }
    drive.picture(Picture { events: Ok(Arc::new(events)), ..picture(2) });
    assert_eq!(drive.selected_line(), Some(selected), "{}", drive.screen());
    drive.key(KeyCode::End);
    assert!(drive.shows("follows the newest") && drive.shows("701.000000"), "{}", drive.screen());
}

#[test]
fn threads_lead_to_whom_they_wait_for() {
    let mut drive = Drive::of(picture(1));
    drive.keys("5/flusher\n");
    assert!(drive.shows("kernel::sync::Mutex::lock"), "its stack\n{}", drive.screen());
    drive.keys("w");
    assert!(drive.selected_line().is_some_and(|line| line.contains("server")));
    drive.keys("7w");
    assert_eq!(drive.state.pane, Pane::Threads);
    assert!(drive.selected_line().is_some_and(|line| line.contains("server")));
}

#[test]
fn lines_of_a_function_are_asked_for_and_shown() {
    let mut drive = Drive::of(picture(1));
    drive.keys("2\n");
    assert_eq!(drive.asked, [Request::Listing(Some("kv::store::Map<K, V>::get".into()))]);
    assert!(drive.shows("being looked for"));
    // Of another function: too late.
    let other = crate::picture::Listing { function: "other".into(), ..listing() };
    drive.input(Input::Answer(Answer::Listing(Arc::new(other))));
    assert!(drive.shows("being looked for"));
    drive.input(Input::Answer(Answer::Listing(Arc::new(listing()))));
    drive.keys("h");
    assert!(drive.shows("57.0%    43     while let"), "{}", drive.screen());
    assert_eq!(drive.state.list(ListId::Source).row(), Some(3));
    drive.keys("h");
    assert_eq!(drive.state.list(ListId::Source).row(), Some(4));
    drive.keys("v");
    assert!(!drive.shows("mov rax") && drive.shows("while let"));
    drive.keys("v");
    assert!(drive.shows("mov rax") && !drive.shows("while let"));
    drive.key(KeyCode::Esc);
    assert_eq!(drive.state.pane, Pane::Functions);
    assert_eq!(drive.asked.last(), Some(&Request::Listing(None)), "nobody looks any more");
    drive.keys("9");
    assert_eq!(drive.asked.last(), Some(&Request::Listing(Some("kv::store::Map<K, V>::get".into()))));
    assert!(drive.shows("mov rax"), "what came before is shown meanwhile");
}

#[test]
fn what_is_seen_is_saved_as_one_wants() {
    let mut drive = Drive::of(picture(1));
    drive.keys("sh\n");
    let seen = |pane, measured| Seen { pane, measured };
    assert_eq!(drive.asked, [Request::Save(SaveAs::Html, None, seen(Pane::Overview, Measured::Cpu))]);
    drive.keys("srnight.uniprof\n");
    let path = Some(PathBuf::from("night.uniprof"));
    let asked = Request::Save(SaveAs::Recording, path, seen(Pane::Overview, Measured::Cpu));
    assert_eq!(drive.asked.last(), Some(&asked));
    for (keys, pane, measured) in [
        ("4psv\n", Pane::Flame, Measured::OffCpu),
        ("ppsv\n", Pane::Flame, Measured::LiveHeap),
        ("7sv\n", Pane::Locks, Measured::Locks),
        ("8sv\n", Pane::Memory, Measured::LiveHeap),
        ("5sv\n", Pane::Threads, Measured::Cpu),
    ] {
        drive.keys(keys);
        assert_eq!(drive.asked.last(), Some(&Request::Save(SaveAs::Svg, None, seen(pane, measured))));
    }
    drive.input(Input::Answer(Answer::Said { done: false, text: "disk full".into() }));
    assert!(drive.shows("disk full"));
}

#[test]
fn a_core_is_taken_only_when_one_means_it() {
    let mut drive = Drive::of(picture(1));
    drive.keys("cn");
    assert_eq!(drive.asked, []);
    drive.keys("c\n");
    assert_eq!(drive.asked, [Request::Core]);
}

#[test]
fn a_guest_that_dies_while_one_looks_back_is_told_of() {
    let mut drive = Drive::of(with_cpu(1, &[("m;first", 1)]));
    drive.keys("2 ");
    let gone = Picture { fate: Fate::VmmGone(Some("killed".into())), ..with_cpu(2, &[("m;second", 1)]) };
    drive.picture(gone);
    assert!(drive.shows("The guest's VMM is gone: killed") && drive.shows("first"), "{}", drive.screen());
    drive.input(Input::Unwatched);
    assert!(drive.shows("Nobody watches the guest any more"));
    drive.keys("q");
    assert!(drive.quit);
}

#[test]
fn keys_do_nothing_bad_before_anything_has_come() {
    let mut drive = Drive::new((80, 24), super::drive::PLAIN);
    assert!(drive.shows("Waiting for the first picture"));
    drive.keys("1234567 8[]{}L<>t+-re\nsr\ncn/x\nnN59jkgGoOfv\n");
    assert_eq!(drive.asked.iter().filter(|request| matches!(request, Request::Core)).count(), 0);
    drive.picture(empty(1));
    drive.keys("3jkuUid4jkhl\n5w7w8jk9hv");
}
