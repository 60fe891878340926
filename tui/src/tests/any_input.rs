//! Anything at all, in any order: nothing panics, nothing is drawn where a terminal has no cells.

use std::sync::Arc;

use proptest::prelude::*;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};

use super::drive::{Drive, PLAIN};
use super::guest::{empty, listing, picture, with_cpu};
use crate::options::{Colours, Options};
use crate::picture::*;
use crate::talk::Answer;
use crate::update::Input;

#[derive(Debug, Clone)]
enum Step {
    Input(Input),
    Size(u16, u16),
    Stacks(Vec<(String, u64)>),
    Empty,
    Full,
    Odd(Vec<f64>),
    Threads(Vec<(u32, String)>),
}

fn key() -> impl Strategy<Value = Input> {
    let code = prop_oneof![
        8 => proptest::char::range(' ', '~').prop_map(KeyCode::Char),
        1 => any::<char>().prop_map(KeyCode::Char),
        4 => prop::sample::select(vec![
            KeyCode::Up, KeyCode::Down, KeyCode::Left, KeyCode::Right, KeyCode::Enter, KeyCode::Esc, KeyCode::Backspace,
            KeyCode::PageUp, KeyCode::PageDown, KeyCode::Home, KeyCode::End, KeyCode::Tab, KeyCode::BackTab, KeyCode::F(1),
        ]),
    ];
    let modifiers = prop::sample::select(vec![
        KeyModifiers::NONE,
        KeyModifiers::NONE,
        KeyModifiers::CONTROL,
        KeyModifiers::ALT,
    ]);
    (code, modifiers).prop_map(|(code, modifiers)| Input::Key(KeyEvent::new(code, modifiers)))
}

fn mouse() -> impl Strategy<Value = Input> {
    let kind = prop::sample::select(vec![
        MouseEventKind::Down(MouseButton::Left),
        MouseEventKind::Down(MouseButton::Right),
        MouseEventKind::Drag(MouseButton::Left),
        MouseEventKind::ScrollUp,
        MouseEventKind::ScrollDown,
    ]);
    (kind, 0..200u16, 0..60u16).prop_map(|(kind, column, row)| {
        Input::Mouse(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE })
    })
}

fn step() -> impl Strategy<Value = Step> {
    let name = || prop_oneof!["[a-c]", "(a|b|c)::(x|y)<Z>", any::<String>()];
    let stack = prop::collection::vec(name(), 1..6).prop_map(|names| names.join(";"));
    let figure = prop_oneof![any::<f64>(), 0.0..2.0f64];
    prop_oneof![
        12 => key().prop_map(Step::Input),
        4 => mouse().prop_map(Step::Input),
        1 => any::<String>().prop_map(|text| Step::Input(Input::Paste(text))),
        1 => Just(Step::Input(Input::Answer(Answer::Listing(Arc::new(listing()))))),
        1 => any::<String>().prop_map(|text| Step::Input(Input::Answer(Answer::Said { done: true, text }))),
        1 => Just(Step::Input(Input::Unwatched)),
        2 => (0..200u16, 0..60u16).prop_map(|(x, y)| Step::Size(x, y)),
        3 => prop::collection::vec((stack, 0..1u64 << 40), 0..12).prop_map(Step::Stacks),
        1 => Just(Step::Empty),
        2 => Just(Step::Full),
        1 => prop::collection::vec(figure, 8..80).prop_map(Step::Odd),
        1 => prop::collection::vec((any::<u32>(), name()), 0..5).prop_map(Step::Threads),
    ]
}

/// Figures that no guest should have.
fn odd(number: u64, figures: &[f64]) -> Picture {
    let of = |at: usize| figures[at % figures.len()];
    let mut picture = picture(number);
    picture.time = Time {
        at: of(0),
        wall_ns: Some(of(1).to_bits()),
        range: (of(2), of(3)),
        runs: of(4) > 1.0,
        speed: of(5),
    };
    picture.span = Span::Decay(of(6));
    picture.fate =
        if of(7) > 1.0 { Fate::EndOfRecording("end".into()) } else { Fate::Exited(Some("off".into())) };
    let subject = Subject {
        kind: if of(6) > 1.0 { Kind::Recording } else { Kind::Live },
        ..(*picture.subject).clone()
    };
    picture.subject = Arc::new(subject);
    let vcpu = |id| VcpuNow {
        id,
        busy: of(1),
        irq: Some(of(2)),
        idle: of(3),
        interrupts: Some(of(4)),
        thread: Some(id),
    };
    let vcpus = (0..figures.len() as u32).map(vcpu).collect();
    let history = figures.iter().map(|figure| [*figure; 4]).collect();
    picture.overview =
        Overview { vcpus, history, samples_rate: of(5), own_cost: Some(of(6)), ..picture.overview };
    picture
}

fn threads(number: u64, names: &[(u32, String)]) -> Picture {
    let row = |(id, name): &(u32, String)| ThreadRow {
        id: *id,
        name: name.clone(),
        state: "blocked",
        vcpu: *id,
        cpu_share: Some(f64::from(*id)),
        cpu_seconds: Some(-1.0),
        since_seconds: Some(f64::INFINITY),
        waits_for: Some(name.clone()),
        held_by: Some(id.wrapping_add(1)),
        function: None,
        stack: vec![name.clone(); 30].into(),
    };
    Picture { threads: Ok(names.iter().map(row).collect()), ..picture(number) }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn nothing_panics(steps in prop::collection::vec(step(), 1..80), ascii: bool, colours in 0..3usize) {
        let colours = [Colours::None, Colours::Indexed, Colours::Full][colours];
        let mut drive = Drive::new((80, 24), Options { ascii, colours, ..PLAIN });
        for (number, step) in (1u64..).zip(steps) {
            match step {
                Step::Input(input) => drive.input(input),
                Step::Size(x, y) => {
                    drive.size = (x, y);
                    drive.input(Input::Resize);
                }
                Step::Stacks(stacks) => {
                    let stacks: Vec<(&str, u64)> = stacks.iter().map(|(stack, amount)| (stack.as_str(), *amount)).collect();
                    drive.picture(with_cpu(number, &stacks));
                }
                Step::Empty => drive.picture(empty(number)),
                Step::Full => drive.picture(picture(number)),
                Step::Odd(figures) => drive.picture(odd(number, &figures)),
                Step::Threads(names) => drive.picture(threads(number, &names)),
            }
            for cell in drive.buffer.content() {
                prop_assert!(!cell.symbol().contains(char::is_control), "{:?}", cell.symbol());
                prop_assert!(!ascii || cell.symbol().is_ascii(), "{:?}", cell.symbol());
            }
        }
    }
}
