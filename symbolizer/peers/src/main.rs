//! Measures symbolizers on the same addresses of one image, each in a process of its own, and compares what they say:
//!
//! ```text
//! cd symbolizer/peers && cargo run --release -- IMAGE [ADDRESSES]
//! ```
//!
//! Times are those of the clock, then those of the processor in brackets, which say more on a busy machine.

mod answers;
mod players;

use std::path::Path;
use std::process::{Command, Stdio};

use answers::Answers;
use players::PLAYERS;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["play", player, image, count, out] => {
            players::play(player, Path::new(image), parsed(count), Path::new(out));
        }
        [image] => compare(image, "20000"),
        [image, count] => compare(image, count),
        _ => eprintln!("usage: peers IMAGE [ADDRESSES]"),
    }
}

fn parsed(count: &str) -> usize {
    count.parse().expect("a number of addresses")
}

/// Lets everybody play, then compares the answers with ours.
fn compare(image: &str, count: &str) {
    let folder = std::env::temp_dir().join(format!("uniprof-peers-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a temporary folder");
    let this = std::env::current_exe().expect("a path");
    for player in PLAYERS {
        let status = Command::new(&this)
            .args(["play", player, image, count])
            .arg(folder.join(player))
            .stdin(Stdio::null())
            .status()
            .expect("this program runs");
        if !status.success() {
            println!("{player:16} did not play");
        }
    }
    let read = |player: &str| Answers::read(&folder.join(player));
    let ours = read("table").expect("the table has answers");
    for player in PLAYERS.iter().filter(|player| **player != "table") {
        if let Some(theirs) = read(player) {
            println!("\n{player}: {}", ours.compare(&theirs));
        }
    }
    let _ = std::fs::remove_dir_all(folder);
}
