//! The command line as a whole.

use clap::{Parser, Subcommand};

use crate::command;

const EXAMPLES: &str = "\
Examples:
  uniprof demo                                  a flame graph of a real unikernel, in ./uniprof-demo
  uniprof doctor                                what this machine lacks for that

Exit codes:
  0  done                       3  no such guest, or several that could be meant
  1  failed                     4  the image is not the one that the guest runs
  2  wrong command line         5  a --fail-if of `diff` is true
  6  `net`, `pcap`: the guest has no network
  `ping`: 0 alive, 10 wedged, 11 dead, 12 paused, 13 starved of the host's CPU

Defaults come from $XDG_CONFIG_HOME/uniprof/config.toml; UNIPROF_* variables go over it, and flags over both.";

/// See inside a unikernel: record it, and draw where its time goes
#[derive(Debug, Parser)]
#[command(name = "uniprof", version, after_help = EXAMPLES, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Boot the bundled unikernel, record it, draw a flame graph, say what to try next
    Demo(command::demo::Args),
    /// Boot a unikernel in QEMU, ready to be observed
    Run(command::run::Args),
    /// See a running guest live, a recording replayed, or what a core shows
    #[command(visible_alias = "top")]
    Attach(command::attach::Args),
    /// List the guests on this host
    Ls(command::ls::Args),
    /// End a guest
    Stop(command::stop::Args),
    /// Say whether a guest is alive, paused, starved, wedged or dead
    Ping(command::ping::Args),
    /// Change what a running guest records, or see who asks for what
    Ctl(command::ctl::Args),
    /// List event sites: kind, name, arguments, place in the source, on or off
    List(command::list::Args),
    /// Write a recording
    Record(command::record::Args),
    /// Draw a flame graph
    Flame(command::flame::Args),
    /// Top functions, vCPUs, threads, loss and own cost
    Report(command::report::Args),
    /// Say what changed between two recordings, and how sure that is
    Diff(command::diff::Args),
    /// Write a profile in another tool's format
    Export(command::export::Args),
    /// Print a guest's console and log lines
    Logs(command::logs::Args),
    /// Print events, spans, switches and log lines in the order of the guest's clock
    Trace(command::trace::Args),
    /// Print what every thread and vCPU is doing
    Stacks(command::core::stacks::Args),
    /// List threads: state, vCPU, CPU time
    Ps(command::core::ps::Args),
    /// Print the value of an expression, by its type
    Print(command::core::print::Args),
    /// List connections with state, queues and threads, and interfaces with counters
    Net(command::net::Args),
    /// Write packets as the guest saw them, for Wireshark
    Pcap(command::pcap::Args),
    /// Say who waits for whom, and name deadlocks
    Locks(command::core::locks::Args),
    /// Say what the heap is made of, and what nobody points to
    Heap(command::core::heap::Args),
    /// Print the registers of every vCPU
    Regs(command::core::regs::Args),
    /// Print memory, with names for what it points to
    Mem(command::core::mem::Args),
    /// Look for a value in memory
    Find(command::core::find::Args),
    /// Take a core of a guest that runs; it goes on afterwards
    Dump(command::dump::Args),
    /// Say what a dump of a dead guest still tells
    Core(command::core::Args),
    /// Turn addresses into names, in a list or in a text
    Symbolize(command::symbolize::Args),
    /// Say which images name a recording's addresses
    Symbols(command::symbols::Args),
    /// Write the bundled unikernel's ELF file, with its debug info
    Kernel(command::kernel::Args),
    /// Say what this machine lacks, and the command that mends it
    Doctor(command::doctor::Args),
    /// Print a completion script for a shell
    Completions(command::completions::Args),
    /// Print the manual page, or write all of them
    Man(command::man::Args),
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    /// The words of a line, as a shell takes them apart at blanks outside quotes.
    fn words(line: &str) -> Vec<String> {
        let (mut words, mut quote) = (vec![String::new()], None);
        for c in line.chars() {
            match quote {
                Some(open) if c == open => quote = None,
                None if c == '\'' || c == '"' => quote = Some(c),
                None if c.is_whitespace() => words.push(String::new()),
                _ => words.last_mut().expect("a word").push(c),
            }
        }
        words.retain(|word| !word.is_empty());
        words
    }

    /// Every example in `--help` is accepted by the parser: documentation that can fail.
    #[test]
    fn examples_are_real() {
        let mut root = Cli::command();
        root.build();
        let commands: Vec<_> =
            root.get_subcommands().filter(|command| command.get_name() != "help").collect();
        let verbs = commands.iter().flat_map(|command| command.get_subcommands());
        let verbs: Vec<_> = verbs.filter(|verb| verb.get_name() != "help").collect();
        assert!(verbs.len() > 5, "`core` has verbs");
        for command in commands.iter().copied().chain(verbs).chain([&root]) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let lines: Vec<&str> =
                help.lines().filter_map(|line| line.trim_start().strip_prefix("uniprof ")).collect();
            assert!(!lines.is_empty(), "`{}` has no example", command.get_name());
            for line in lines {
                // Two spaces start the explanation; a shell's part begins at a pipe or a redirection.
                let end = ["  ", " | ", " > ", " && "].iter().filter_map(|mark| line.find(mark)).min();
                let parsed =
                    Cli::try_parse_from(words(&format!("uniprof {}", &line[..end.unwrap_or(line.len())])));
                assert!(parsed.is_ok(), "uniprof {line}\n{}", parsed.unwrap_err());
            }
        }
    }

    /// So is every command in the tables of the guide for people who know perf.
    #[test]
    fn the_guide_from_perf_is_true() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/from-perf.md");
        // A packaged crate lies alone.
        let Ok(guide) = std::fs::read_to_string(path) else { return };
        let commands: Vec<&str> =
            guide.split('`').skip(1).step_by(2).filter_map(|code| code.strip_prefix("uniprof ")).collect();
        assert!(commands.len() > 20, "{commands:?}");
        for line in commands {
            let line = line.split(" < ").next().unwrap_or_default();
            let parsed = Cli::try_parse_from(words(&format!("uniprof {line}")));
            assert!(parsed.is_ok(), "uniprof {line}\n{}", parsed.unwrap_err());
        }
    }

    /// And every command that the walk through a crash types.
    #[test]
    fn the_walk_through_a_crash_is_true() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/post-mortem.md");
        let Ok(walk) = std::fs::read_to_string(path) else { return };
        let typed = walk.lines().filter_map(|line| line.strip_prefix("$ uniprof "));
        let named = walk.split('`').skip(1).step_by(2).filter_map(|code| code.strip_prefix("uniprof "));
        let commands: Vec<&str> = typed.chain(named.filter(|code| !code.contains('\n'))).collect();
        assert!(commands.len() > 20, "{commands:?}");
        for line in commands {
            let parsed = Cli::try_parse_from(["uniprof"].into_iter().chain(line.split_whitespace()));
            assert!(parsed.is_ok(), "uniprof {line}\n{}", parsed.unwrap_err());
        }
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }
}
