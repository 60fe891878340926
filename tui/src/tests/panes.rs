//! Every pane as it is drawn, beside how it was drawn before. `UNIPROF_BLESS=1` takes what is drawn now.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ratatui::style::Color;

use super::drive::{Drive, PLAIN};
use super::guest::{empty, listing, picture};
use crate::options::{Colours, Options};
use crate::picture::{Fate, Kind, Picture, Shorter, Subject, Time};
use crate::state::Pane;
use crate::talk::Answer;
use crate::update::Input;

const SIZES: [(u16, u16); 2] = [(80, 24), (140, 40)];

fn golden(name: &str, drive: &Drive) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/tests/golden").join(format!("{name}.txt"));
    let drawn = drive.screen();
    if std::env::var_os("UNIPROF_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new("."))).expect("the folder can be made");
        std::fs::write(&path, &drawn).expect("the golden can be written");
    }
    let before = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; UNIPROF_BLESS=1 writes it", path.display()));
    assert!(before == drawn, "{name} is drawn otherwise; before:\n{before}\nnow:\n{drawn}");
}

fn open(pane: Pane, size: (u16, u16), options: Options, picture: Picture) -> Drive {
    let mut drive = Drive::new(size, Options { pane, ..options });
    if pane == Pane::Source {
        drive.state.function = Some(listing().function);
    }
    drive.picture(picture);
    if pane == Pane::Source {
        drive.input(Input::Answer(Answer::Listing(Arc::new(listing()))));
    }
    drive
}

fn every_pane(suffix: &str, options: Options, sizes: &[(u16, u16)], of: fn(u64) -> Picture) {
    for pane in Pane::ALL {
        for size in sizes {
            let drive = open(pane, *size, options, of(1));
            let name = format!("{}-{}x{}{suffix}", pane.title().to_lowercase(), size.0, size.1);
            golden(&name, &drive);
        }
    }
}

#[test]
fn every_pane_is_drawn_as_before() {
    every_pane("", PLAIN, &SIZES, picture);
}

#[test]
fn every_pane_is_drawn_in_ascii() {
    let ascii = Options { ascii: true, ..PLAIN };
    every_pane("-ascii", ascii, &SIZES[..1], picture);
    for pane in Pane::ALL {
        let drive = open(pane, (80, 24), ascii, picture(1));
        assert!(drive.screen().is_ascii(), "{}", drive.screen());
    }
}

#[test]
fn every_pane_says_why_it_has_nothing() {
    every_pane("-empty", PLAIN, &SIZES[..1], empty);
}

#[test]
fn without_colours_there_is_none() {
    for pane in Pane::ALL {
        let mut drive = open(pane, (80, 24), PLAIN, picture(1));
        drive.keys("/get");
        for cell in drive.buffer.content() {
            assert_eq!((cell.fg, cell.bg), (Color::Reset, Color::Reset), "{pane:?}");
        }
    }
}

#[test]
fn with_colours_there_are_some_and_text_stays_the_same() {
    for pane in Pane::ALL {
        let plain = open(pane, (80, 24), PLAIN, picture(1));
        for colours in [Colours::Indexed, Colours::Full] {
            let drive = open(pane, (80, 24), Options { colours, ..PLAIN }, picture(1));
            assert!(drive.buffer.content().iter().any(|cell| cell.fg != Color::Reset), "{pane:?}");
            let full = drive.buffer.content().iter().any(|cell| matches!(cell.bg, Color::Rgb(..)));
            assert_eq!(full, pane == Pane::Flame && colours == Colours::Full);
            if pane != Pane::Flame {
                assert_eq!(drive.screen(), plain.screen());
            }
        }
    }
}

#[test]
fn a_replay_has_a_bar_of_time() {
    let recording = |runs, at| {
        let subject = Subject {
            kind: Kind::Recording,
            pid: None,
            transport: "file".into(),
            ..(*picture(1).subject).clone()
        };
        let time = Time { at, range: (600.0, 800.0), runs, ..picture(1).time };
        let fate = Fate::EndOfRecording("Ctrl-C".into());
        Picture { subject: Arc::new(subject), time, fate, ..picture(1) }
    };
    golden("replay-80x24", &Drive::of(recording(true, 650.0)));
    golden("replay-end-80x24", &Drive::of(recording(false, 800.0)));
}

#[test]
fn a_dead_guest_is_shown_as_it_was_last() {
    let crashed = Fate::Crashed("panicked at src/store.rs:43: index out of bounds".into());
    golden("crashed-80x24", &Drive::of(Picture { fate: crashed, ..picture(1) }));
    golden("gone-140x40", &{
        let fate = Fate::VmmGone(Some("killed by signal 9".into()));
        open(Pane::Threads, (140, 40), PLAIN, Picture { fate, ..picture(1) })
    });
}

#[test]
fn popups_lie_over_panes() {
    let mut drive = Drive::of(picture(1));
    for (key, name) in [("?", "help"), ("e", "switches"), ("s", "save"), ("c", "core")] {
        drive.keys(key);
        golden(&format!("popup-{name}-80x24"), &drive);
        drive.key(ratatui::crossterm::event::KeyCode::Esc);
    }
}

#[test]
fn a_terminal_too_small_says_what_it_needs() {
    let mut drive = Drive::of(picture(1));
    drive.size = (40, 10);
    drive.input(Input::Resize);
    golden("too-small-40x10", &drive);
    drive.size = (80, 24);
    drive.input(Input::Resize);
    golden("overview-80x24", &drive);
}

#[test]
fn names_of_any_kind_leave_the_columns_where_they_are() {
    let names = [
        "\x1b[2J\x1b[31mevil",
        "日本語の関数名でとても長いものを書いてみる::関数",
        "e\u{301}\u{202e}\u{200d}\u{feff}",
        "🦀🦀🦀::crab",
    ];
    let stacks: Vec<(String, u64)> =
        names.iter().enumerate().map(|(at, name)| (format!("main;{name}"), 100 - at as u64)).collect();
    let stacks: Vec<(&str, u64)> = stacks.iter().map(|(stack, amount)| (stack.as_str(), *amount)).collect();
    for pane in [Pane::Functions, Pane::Tree, Pane::Flame] {
        let drive = open(pane, (80, 24), PLAIN, super::guest::with_cpu(1, &stacks));
        for cell in drive.buffer.content() {
            assert!(!cell.symbol().contains(char::is_control), "{pane:?}: {:?}", cell.symbol());
        }
        golden(&format!("{}-names-80x24", pane.title().to_lowercase()), &drive);
    }
}

#[test]
fn waits_of_less_than_the_span_say_of_which_time_they_are() {
    let said = "of the last 12.3 s: older waits are not kept";
    let shorter = Shorter { off_cpu: Some(said.into()), locks: Some(said.into()) };
    let is_said = |pane, shorter: &Shorter| {
        let mut drive = open(pane, (100, 30), PLAIN, Picture { shorter: shorter.clone(), ..picture(1) });
        let before = drive.shows(said);
        drive.keys("p");
        (before, drive.shows(said))
    };
    assert_eq!(is_said(Pane::Functions, &shorter), (false, true), "what ran is whole");
    assert_eq!(is_said(Pane::Locks, &shorter), (true, true));
    assert_eq!(is_said(Pane::Locks, &Shorter::default()), (false, false));
}
