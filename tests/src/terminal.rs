//! A terminal of its own, whose screen can be read: tmux.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::scene::Scene;

/// Longer than anything on a screen should take on a slow machine.
const LIMIT: Duration = Duration::from_secs(90);
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);
/// What the shell says when it waits for a command.
const PROMPT: &str = "ready>";

/// A shell in a terminal.
#[derive(Debug)]
pub struct Terminal<'a> {
    scene: &'a Scene,
    socket: PathBuf,
}

impl<'a> Terminal<'a> {
    /// Opens one of so many columns and rows, with environment variables of its own.
    #[must_use]
    pub fn open(scene: &'a Scene, size: (u16, u16), variables: &[(&str, &str)]) -> Self {
        let terminal = Self { scene, socket: scene.path("tmux.socket") };
        let (columns, rows) = (size.0.to_string(), size.1.to_string());
        // `-u`: UTF-8 whatever the locale of whoever runs the tests.
        let mut command = terminal.command(&[
            "-u",
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            &columns,
            "-y",
            &rows,
            "sh",
        ]);
        command.env("LC_ALL", "C.UTF-8").env_remove("NO_COLOR").env_remove("COLORTERM");
        command.envs(variables.iter().copied());
        scene.run_command(&mut command).ok();
        terminal.tmux(&["set", "-g", "status", "off"]);
        terminal.tmux(&["set", "-g", "escape-time", "0"]);
        // Not by the environment: a shell of root's has its own.
        terminal.run(&format!("PS1='{PROMPT} '"));
        terminal.until_prompt();
        terminal
    }

    fn command(&self, args: &[&str]) -> Command {
        let socket = self.socket.display().to_string();
        self.scene.program(Path::new("tmux"), &[&["-S", &socket], args].concat())
    }

    fn tmux(&self, args: &[&str]) -> String {
        self.scene.run_command(&mut self.command(args)).ok().stdout
    }

    /// Types a command line.
    pub fn run(&self, line: &str) {
        self.tmux(&["send-keys", "-l", line]);
        self.tmux(&["send-keys", "Enter"]);
    }

    /// Presses keys by tmux's names, one character or a word such as `Enter`.
    pub fn keys(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    /// Types characters.
    pub fn text(&self, text: &str) {
        self.tmux(&["send-keys", "-l", text]);
    }

    /// Another size.
    pub fn resize(&self, columns: u16, rows: u16) {
        self.tmux(&["resize-window", "-x", &columns.to_string(), "-y", &rows.to_string()]);
    }

    /// What is on the screen.
    #[must_use]
    pub fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// The same with colours, as escape sequences.
    #[must_use]
    pub fn coloured_screen(&self) -> String {
        self.tmux(&["capture-pane", "-p", "-e"])
    }

    /// Looks until the screen is as `wanted` says; gives it.
    pub fn until(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let limit = Instant::now() + LIMIT;
        loop {
            let screen = self.screen();
            if wanted(&screen) {
                return screen;
            }
            assert!(Instant::now() < limit, "{what} shall be on the screen:\n{screen}");
            sleep(BETWEEN_LOOKS);
        }
    }

    /// Looks until a text is on the screen.
    pub fn shows(&self, text: &str) -> String {
        self.until(text, |screen| screen.contains(text))
    }

    /// What may have been left behind in a terminal, each with its state: `stty`'s settings, the other screen, the cursor, the mouse.
    /// The shell has to wait for a command.
    #[must_use]
    pub fn state(&self) -> String {
        let file = self.scene.path("stty");
        let _ = std::fs::remove_file(&file);
        self.run("stty -g > stty.new; mv stty.new stty");
        let limit = Instant::now() + LIMIT;
        let mut state = loop {
            match std::fs::read_to_string(&file) {
                Ok(settings) => break settings,
                Err(_) => assert!(Instant::now() < limit, "the shell does nothing:\n{}", self.screen()),
            }
            sleep(BETWEEN_LOOKS);
        };
        let flags = "alternate #{alternate_on} cursor #{cursor_flag} mouse #{mouse_any_flag}#{mouse_button_flag}#{mouse_sgr_flag}";
        let _ = write!(state, "{}", self.tmux(&["display-message", "-p", flags]));
        state
    }

    /// Waits until the shell has the terminal again.
    pub fn until_prompt(&self) -> String {
        self.until("the shell", |screen| {
            let last = screen.lines().rfind(|line| !line.trim().is_empty());
            // What was typed before the shell was ready stands before it.
            last.is_some_and(|line| line.trim_end().ends_with(PROMPT))
        })
    }

    /// Closes it, as a window is closed or a connection lost.
    pub fn close(&self) {
        self.tmux(&["kill-server"]);
    }

    /// The process that the shell has started.
    #[must_use]
    pub fn child(&self) -> u32 {
        let shell = self.tmux(&["display-message", "-p", "#{pane_pid}"]);
        let shell = shell.trim();
        let children =
            std::fs::read_to_string(format!("/proc/{shell}/task/{shell}/children")).unwrap_or_default();
        let child = children.split_whitespace().next().and_then(|pid| pid.parse().ok());
        child.unwrap_or_else(|| panic!("the shell has started nothing:\n{}", self.screen()))
    }
}

impl Drop for Terminal<'_> {
    fn drop(&mut self) {
        let _ = self.command(&["kill-server"]).output();
    }
}
