//! Folded stacks in the place of a recording: told by what is in the file, not by its name.

use std::fs::File;
use std::io::{BufRead, BufReader, stdin};

use anyhow::Context as _;
use uniprof_flamegraph::read_folded;

use super::{Aside, Figures, Named, View};
use crate::input::Input;
use crate::sites::Sites;

/// How much is looked at to tell text from a recording.
const HEAD: usize = 4096;

/// The profile in `input` where that is text; `None` where it is something else.
pub(crate) fn read(input: &Input) -> anyhow::Result<Option<Named>> {
    match input {
        Input::Stdin => named(input, "standard input", stdin().lock()).map(Some),
        Input::File(path) => {
            // One that cannot be opened has its error from the reader of recordings, which knows of partial ones.
            let Ok(file) = File::open(path) else { return Ok(None) };
            let mut file = BufReader::with_capacity(HEAD, file);
            let is_text = file.fill_buf().is_ok_and(looks_like_text);
            if is_text { named(input, &path.display().to_string(), file).map(Some) } else { Ok(None) }
        }
        Input::Sample | Input::Core(_) | Input::Guest(_) | Input::Recovered(_) => Ok(None),
    }
}

/// A recording has a zero byte early on, and so has an ELF file or a core.
fn looks_like_text(head: &[u8]) -> bool {
    let is_control = |byte: &u8| *byte < b' ' && !matches!(byte, b'\t' | b'\n' | b'\r');
    !head.is_empty() && !head.iter().any(is_control)
}

fn named(input: &Input, place: &str, text: impl BufRead) -> anyhow::Result<Named> {
    let read = read_folded(text)
        .with_context(|| format!("{place} is neither a recording nor text that can be used in its place"))?;
    let mut figures = Figures::default();
    figures.session.guest = input.stem();
    figures.threads.extend(read.profile.thread_name(0).map(|name| (0, name.to_owned())));
    if let Some(first) = read.first_skipped {
        let count = read.skipped;
        let lines = if count == 1 { "1 line is no stack and was" } else { "lines that are no stacks were" };
        let number = if count == 1 { String::new() } else { format!("{count} ") };
        figures.notes.push(format!("{number}{lines} passed over: in {place}, {first}"));
    }
    let (view, aside, sites) = (View::Cpu, Aside::default(), Sites::default());
    Ok(Named { profile: read.profile, figures, view, aside, sites })
}
