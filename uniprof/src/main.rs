#![forbid(unsafe_code)]
//! `uniprof`: see inside a unikernel.
//!
//! This binary is glue. Each command is one file in [`command`]; what turns a recording into a profile is in
//! [`profile`]; everything that knows a format or a guest lies in the libraries.

mod attachment;
mod bundled;
mod cache;
mod cli;
mod command;
mod config;
mod debuginfod;
mod exit;
mod guest;
mod identity;
mod input;
mod interrupt;
mod kernel;
mod monitor;
mod network;
mod options;
mod output;
mod profile;
mod progress;
mod recorder;
mod selection;
mod sites;
mod subject;
mod supervisor;
mod target;
mod values;
mod visitors;

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    match command::run(cli::Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of a pipe has seen enough: `uniprof report | head`.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let sentence = sentence(&error);
            if !sentence.is_empty() {
                // A closed stderr leaves nothing to say and no one to say it to.
                let _ = writeln!(io::stderr(), "uniprof: {sentence}");
            }
            exit::code(&error).into()
        }
    }
}

/// An error and its causes. Many of the libraries' errors name their cause themselves; those are not repeated.
fn sentence(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// Whether standard output was closed. Other pipes, such as a FIFO that a recording is written to, come with a context.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let first = error.chain().next().and_then(|error| error.downcast_ref::<io::Error>());
    first.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use std::io;

    use anyhow::Context as _;

    use super::{is_broken_pipe, sentence};

    #[test]
    fn only_standard_output_may_be_closed() {
        let closed = || io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(is_broken_pipe(&closed().into()));
        let fifo: Result<(), _> = Err(closed());
        assert!(!is_broken_pipe(&fifo.context("cannot write the recording").unwrap_err()));
    }

    #[test]
    fn a_cause_that_is_named_already_is_not_repeated() {
        let error =
            anyhow::anyhow!("disk full").context("cannot write r.svg: disk full").context("no picture");
        assert_eq!(sentence(&error), "no picture: cannot write r.svg: disk full");
    }
}
