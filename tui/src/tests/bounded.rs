//! Large profiles: what a key or a drawing costs depends on what is seen, not on what there is.

use std::time::{Duration, Instant};

use ratatui::crossterm::event::KeyCode;

use super::drive::Drive;
use super::guest::with_cpu;
use crate::picture::Picture;

/// So many different stacks, of some ten thousand functions.
fn large(stacks: usize) -> Picture {
    let stacks: Vec<(String, u64)> = (0..stacks)
        .map(|at| {
            let (a, b, c, d) = (at % 7, at / 7 % 60, at / 420 % 300, at / 126_000);
            (
                format!("thread {a};kernel::entry;m{b}::run;m{b}::f{c};leaf{};end{d}", at % 20_011),
                1 + at as u64 % 97,
            )
        })
        .collect();
    let stacks: Vec<(&str, u64)> = stacks.iter().map(|(stack, amount)| (stack.as_str(), *amount)).collect();
    with_cpu(1, &stacks)
}

/// The least time that a key and the drawing after it take; the least, since others use the machine too.
fn fastest(drive: &mut Drive, keys: &[KeyCode]) -> Duration {
    let once = |drive: &mut Drive| {
        let begin = Instant::now();
        for key in keys {
            drive.key(*key);
        }
        begin.elapsed() / keys.len() as u32
    };
    (0..12).map(|_| once(drive)).min().expect("tried several times")
}

#[test]
fn keys_are_as_fast_with_many_stacks_as_with_few() {
    let (mut few, mut many) = (Drive::of(large(500)), Drive::of(large(100_000)));
    for (pane, keys) in [
        ("2", [KeyCode::Down, KeyCode::PageDown, KeyCode::Up].as_slice()),
        ("3", &[KeyCode::Down, KeyCode::Right, KeyCode::Left, KeyCode::Up]),
        ("4", &[KeyCode::Down, KeyCode::Enter, KeyCode::Esc, KeyCode::Up]),
    ] {
        few.keys(pane);
        many.keys(pane);
        let (short, long) = (fastest(&mut few, keys), fastest(&mut many, keys));
        // Two hundred times as many; a pane that walked them all at each key would take a hundred times as long.
        assert!(long < short * 20 + Duration::from_millis(5), "pane {pane}: {long:?} rather than {short:?}");
    }
}

#[test]
fn stacks_are_merged_that_no_screen_can_tell_apart() {
    let mut drive = Drive::of(large(60_000));
    drive.keys("3");
    let tree = drive.state.pane_tree().expect("a tree is shown");
    assert!(tree.nodes.len() <= 150_000, "{}", tree.nodes.len());
    assert!(tree.merged > 0 && drive.shows("too light to be told apart"), "{}", drive.screen());
    let roots: u64 = tree.children(crate::tables::NONE).map(|root| tree.nodes[root as usize].total).sum();
    assert_eq!(roots, tree.total, "merging loses nothing");
}
