//! Project tasks. `cargo xtask help` prints them.
//!
//! No dependency, so that the first command on a fresh checkout starts to do something within a second.

mod consumers;
mod screen;
mod session;
mod setup;
mod step;
mod tasks;

use std::process::ExitCode;

const HELP: &str = "\
Project tasks of uniprof

Usage: cargo xtask TASK [OPTIONS]

Tasks:
  test [--yes]                 format check, clippy, unit tests, doctests, end-to-end tests in QEMU
  demo [--yes] [-- ARGS]       build uniprof and run `uniprof demo ARGS`: a flame graph in ./uniprof-demo
  sample [--yes]               record uniprof/assets/sample.uniprof anew, the recording that `uniprof … sample` reads
  screen [--yes]               a session of `uniprof attach` in tmux, drawn as docs/attach.svg

Options:
  --yes    install what is missing (QEMU, by apt) without asking; for CI
";

/// What the words after `cargo xtask` ask for.
struct Request {
    task: String,
    yes: bool,
    rest: Vec<String>,
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Request, String> {
    let task = words.next().unwrap_or_else(|| "help".into());
    let mut request = Request { task, yes: false, rest: Vec::new() };
    while let Some(word) = words.next() {
        match word.as_str() {
            "--yes" | "-y" => request.yes = true,
            "--" => request.rest = words.by_ref().collect(),
            other => return Err(format!("`{other}` is not an option of `cargo xtask {}`", request.task)),
        }
    }
    if !request.rest.is_empty() && request.task != "demo" {
        return Err(format!("`cargo xtask {}` takes no arguments after `--`", request.task));
    }
    Ok(request)
}

fn run(request: &Request) -> Result<(), String> {
    match request.task.as_str() {
        "test" => tasks::test(request.yes),
        "demo" => tasks::demo(request.yes, &request.rest),
        "sample" => tasks::sample(request.yes),
        "screen" => session::draw(request.yes),
        "help" | "--help" | "-h" => {
            print!("{HELP}");
            Ok(())
        }
        other => Err(format!("no task `{other}`; `cargo xtask help` lists them")),
    }
}

fn main() -> ExitCode {
    match parse(std::env::args().skip(1)).and_then(|request| run(&request)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("xtask: {reason}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    fn words(line: &str) -> impl Iterator<Item = String> {
        line.split_whitespace().map(str::to_owned).collect::<Vec<_>>().into_iter()
    }

    #[test]
    fn words_after_the_dashes_belong_to_the_demo() {
        let request = parse(words("demo --yes -- -d 2 --yes")).unwrap();
        assert!(request.yes);
        assert_eq!(request.rest, ["-d", "2", "--yes"]);
    }

    #[test]
    fn unknown_words_are_refused_by_name() {
        assert!(parse(words("test --fast")).err().unwrap().contains("--fast"));
        assert!(parse(words("test -- -d 2")).is_err());
    }
}
