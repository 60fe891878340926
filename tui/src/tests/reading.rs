//! What has to be readable, whatever names and sentences are like.

use std::sync::Arc;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseEvent, MouseEventKind};

use super::drive::{Drive, PLAIN};
use super::guest::picture;
use crate::options::Options;
use crate::picture::{Can, Fate, Memory, Picture, Subject, ThreadRow};
use crate::state::ListId;
use crate::talk::{Answer, Request};
use crate::update::Input;

/// A screen's words in one line: what was broken over several is whole again.
fn words(drive: &Drive) -> String {
    drive.screen().split_whitespace().collect::<Vec<_>>().join(" ")
}

fn at(size: (u16, u16), picture: Picture) -> Drive {
    let mut drive = Drive::new(size, PLAIN);
    drive.picture(picture);
    drive
}

fn row(id: u32, name: &str, waits_for: &str, held_by: Option<u32>) -> ThreadRow {
    ThreadRow {
        id,
        name: name.into(),
        state: "blocked",
        vcpu: 0,
        cpu_share: Some(0.0),
        cpu_seconds: Some(0.0),
        since_seconds: Some(0.25),
        waits_for: Some(waits_for.into()),
        held_by,
        function: Some("uniprof_sample_kernel::workload::deadlock::take_both".into()),
        stack: (0..30).map(|frame| format!("frame_{frame}")).collect(),
    }
}

fn deadlock() -> Picture {
    let rows = [
        row(7, "left-worker", "the lock uniprof_sample_kernel::workload::deadlock::SECOND", Some(8)),
        row(8, "right-worker", "the lock uniprof_sample_kernel::workload::deadlock::FIRST", Some(7)),
        row(9, "http-3", "an event at uniprof_sample_kernel::workload::http::server::REQUESTS+0x10", None),
        row(10, "joiner", "the end of thread 7, left-worker", Some(7)),
    ];
    Picture { threads: Ok(rows.into()), ..picture(1) }
}

#[test]
fn a_thread_says_what_it_waits_for_and_who_has_that() {
    for size in [(80, 24), (120, 40)] {
        let mut drive = at(size, deadlock());
        drive.keys("5");
        let lines = drive.lines();
        let line = |name: &str| {
            lines.iter().find(|line| line.contains(name) && line.contains("blocked ")).expect("a row").clone()
        };
        let cell = |name: &str| line(name).chars().take(usize::from(size.0) * 2 / 3).collect::<String>();
        let table = |name: &str| if size.0 < 120 { line(name) } else { cell(name) };
        let left = table(" 7 left-worker");
        assert!(left.contains("lock SECOND") && left.contains("right-worker"), "{}", drive.screen());
        assert!(table("http-3").contains("REQUESTS+0x10"), "{}", drive.screen());
        let joiner = table("joiner");
        assert!(joiner.contains("end of thread 7"), "{}", drive.screen());
        drive.keys("/right\n");
        let all = "blocked for 250 ms: waits for the lock uniprof_sample_kernel::workload::deadlock::FIRST, held by \
                   left-worker (7), which is blocked; in uniprof_sample_kernel::workload::deadlock::take_both";
        if size.0 < 120 {
            assert!(words(&drive).contains(all), "{}", drive.screen());
        } else {
            // Beside the table: what is drawn there, line by line.
            let beside: Vec<String> =
                drive.lines().iter().map(|line| line.chars().skip(81).collect::<String>()).collect();
            let beside: String = beside.concat().split_whitespace().collect();
            let all: String = all.split_whitespace().collect();
            assert!(beside.contains(&all), "{}", drive.screen());
        }
    }
}

#[test]
fn a_stack_is_read_to_its_end() {
    let shift = |code| Input::Key(KeyEvent::new(code, KeyModifiers::SHIFT));
    let mut drive = at((80, 24), deadlock());
    drive.keys("5");
    assert!(drive.shows(" frame_0\n") && !drive.shows(" frame_29\n"), "{}", drive.screen());
    drive.keys("JJ");
    assert!(drive.shows(" frame_2\n") && !drive.shows(" frame_1\n"), "{}", drive.screen());
    drive.input(shift(KeyCode::Down));
    assert!(!drive.shows(" frame_2\n") && drive.shows(" frame_3\n"), "{}", drive.screen());
    drive.input(shift(KeyCode::Up));
    drive.keys("K");
    assert!(drive.shows(" frame_1\n"), "{}", drive.screen());
    drive.keys(&"J".repeat(60));
    assert!(drive.shows(" frame_29\n") && drive.shows(" of 30"), "{}", drive.screen());
    // No further than that: one key goes back at once.
    drive.keys("K");
    assert!(!drive.shows(" frame_29\n") && drive.shows(" frame_28\n"), "{}", drive.screen());
    // Another picture leaves it, another thread begins with its own first frame.
    drive.picture(Picture { number: 2, ..deadlock() });
    assert!(drive.shows(" frame_28\n"), "{}", drive.screen());
    drive.keys("j");
    assert!(drive.shows(" frame_0\n"), "{}", drive.screen());
    let y = drive.lines().iter().position(|line| line == " frame_0").expect("the stack") as u16;
    let kind = MouseEventKind::ScrollDown;
    drive.input(Input::Mouse(MouseEvent { kind, column: 3, row: y, modifiers: KeyModifiers::NONE }));
    assert!(drive.shows(" frame_3\n") && !drive.shows(" frame_0\n"), "the wheel\n{}", drive.screen());
}

#[test]
fn what_is_estimated_of_the_heap_is_said_to_be_and_what_is_not_known_is_not_zero() {
    let mut memory: Memory = (**picture(1).memory.as_ref().expect("has one")).clone();
    memory.sites[2].growth_rate = -0.3;
    memory.allocated_rate = None;
    let shown = |ascii| {
        let mut drive = Drive::new((80, 24), Options { ascii, ..PLAIN });
        drive.picture(Picture { memory: Ok(Arc::new(memory.clone())), ..picture(1) });
        drive.keys("8");
        drive
    };
    let drive = shown(false);
    assert!(drive.shows("≈bytes▼ ≈blocks") && drive.shows("estimated"), "{}", drive.screen());
    assert!(drive.shows("allocated - [") && !drive.shows("-0"), "{}", drive.screen());
    assert!(shown(true).shows("~bytesv ~blocks"));
}

#[test]
fn a_verdict_is_read_in_full() {
    let why = "page fault: a read of 0xdead0000, which is not mapped, by uniprof_sample_kernel::workload::crash::go";
    for size in [(80, 24), (120, 30)] {
        let mut drive = at(size, Picture { fate: Fate::Crashed(why.into()), ..picture(1) });
        drive.keys("5");
        let banner: Vec<String> = drive.lines()[2..6]
            .iter()
            .map(|line| line.split("  c core").next().unwrap_or_default().trim().to_owned())
            .collect();
        let banner: String = banner.join(" ").split_whitespace().collect();
        let why: String = why.split_whitespace().collect();
        assert!(banner.contains(&why), "{}", drive.screen());
        assert!(drive.shows("c core  s save  q end"));
    }
    // One that never ends leaves room for the pane.
    let endless = "word ".repeat(400);
    let mut drive = at((80, 24), Picture { fate: Fate::Crashed(endless), ..picture(1) });
    drive.keys("5");
    assert!(drive.shows("waits for") && drive.shows("…"), "{}", drive.screen());
}

#[test]
fn a_refusal_is_read_in_full() {
    let why = "the guest is read-only: its region was found in the process's memory, which only a control page could \
               change; `uniprof doctor handy` says how it could be asked for more";
    let can = Can { control: Err(why.into()), core: Err("no".into()) };
    let subject = Subject { can, ..(*picture(1).subject).clone() };
    for size in [(80, 24), (120, 30)] {
        let mut drive = at(size, Picture { subject: Arc::new(subject.clone()), ..picture(1) });
        drive.keys("+");
        assert!(words(&drive).contains(why), "{}", drive.screen());
        drive.keys("2");
        assert!(!drive.shows("read-only"), "{}", drive.screen());
    }
}

#[test]
fn of_a_guest_that_has_crashed_the_thread_that_did_is_first() {
    let crashed = |number| Picture { culprit: Some(9), number, ..deadlock() };
    let mut drive = at((80, 24), crashed(1));
    drive.keys("5");
    assert!(drive.selected_line().is_some_and(|line| line.contains("http-3")), "{}", drive.screen());
    // Where one has gone from there, one stays.
    drive.keys("j");
    drive.picture(crashed(2));
    assert!(drive.selected_line().is_some_and(|line| line.contains("joiner")), "{}", drive.screen());
    let mut drive = at((80, 24), deadlock());
    drive.keys("5j");
    drive.picture(crashed(2));
    assert!(drive.selected_line().is_some_and(|line| line.contains("right-worker")), "{}", drive.screen());
}

#[test]
fn the_overview_has_the_heaviest_functions_however_their_table_is_sorted() {
    let mut drive = Drive::of(picture(1));
    let before = drive.screen();
    drive.keys("2oo1");
    assert_eq!(drive.screen(), before);
    assert_eq!(drive.state.list(ListId::Functions).column, 2, "by name");
}

#[test]
fn rates_have_one_limit_and_steps_add_up_before_answers_come() {
    let mut drive = Drive::of(picture(1));
    drive.keys("++");
    assert_eq!(drive.asked, [Request::Rate(1999), Request::Rate(2999)]);
    drive.picture(Picture { rate: Some(2999), ..picture(2) });
    drive.picture(Picture { rate: Some(99), ..picture(3) });
    drive.keys("+");
    assert_eq!(drive.asked.last(), Some(&Request::Rate(249)), "what is in effect now");
    drive.input(Input::Answer(Answer::Said { done: false, text: "refused".into() }));
    drive.keys("-");
    assert_eq!(drive.asked.last(), Some(&Request::Rate(49)), "what was refused is not asked for");
    drive.keys("r20001\n");
    assert!(drive.shows("a number from 0 (off) to 20000"), "{}", drive.screen());
    drive.key(KeyCode::Esc);
    drive.keys("r20000\n");
    assert_eq!(drive.asked.last(), Some(&Request::Rate(20_000)));
    drive.keys("+");
    assert_eq!(drive.asked.last(), Some(&Request::Rate(20_000)));
    drive.keys("--+");
    assert_eq!(drive.asked.last(), Some(&Request::Rate(19_999)), "steps go as far");
}

#[test]
fn a_rate_that_is_not_known_is_not_off() {
    let drive = Drive::of(Picture { rate: None, ..picture(1) });
    assert!(drive.shows("rate not known") && !drive.shows("sampling off"), "{}", drive.screen());
}

#[test]
fn help_cuts_nothing() {
    let mut drive = Drive::of(picture(1));
    let mut read = String::new();
    drive.keys("?");
    for _ in 0..80 {
        read += &drive.screen();
        drive.key(KeyCode::Down);
    }
    let read: String = read.replace('│', " ");
    let shown: std::collections::HashSet<&str> = read.split_whitespace().collect();
    for (_, does) in crate::view::every_key(&drive.state) {
        for word in does.split_whitespace() {
            assert!(shown.contains(word), "{word} of {does:?} is cut");
        }
    }
}

#[test]
fn a_core_is_offered_only_where_there_is_memory_to_take() {
    let gone = |core| {
        let can = Can { control: Err("gone".into()), core };
        let subject = Subject { can, ..(*picture(1).subject).clone() };
        let fate = Fate::VmmGone(None);
        let drive = Drive::of(Picture { fate, subject: Arc::new(subject), ..picture(1) });
        drive.lines().last().expect("a line of keys").contains("c core")
    };
    assert!(gone(Ok(())));
    assert!(!gone(Err("its memory is gone with it".into())));
}
