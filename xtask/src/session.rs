//! A session of `uniprof attach` in a real terminal with a real guest, for the picture in the README.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::{screen, setup, step, tasks};

const SIZE: (usize, usize) = (100, 30);
const LIMIT: Duration = Duration::from_secs(120);

/// What is typed, and what has to be on the screen before it is taken.
const SCREENS: &[(&[&str], &str)] = &[
    (&[], "Functions "),
    (&["2", "o", "j", "j"], "total"),
    (&["3", "/", "k", "v", ":", ":", "s", "t", "o", "r", "e", "Enter"], "matched"),
    (&["4"], "matched"),
    (&["Escape", "5"], "stack of"),
    (&["6", "v"], "last events"),
    (&["2", "o", "o", "o", "Home", "Enter", "h"], "instructions "),
];

/// Draws `docs/attach.svg` anew.
pub(crate) fn draw(yes: bool) -> Result<(), String> {
    setup::programs(setup::GUEST, yes)?;
    setup::programs(&[("tmux", "tmux")], yes)?;
    let binary = match env::var_os("UNIPROF_TEST_BIN") {
        Some(file) => PathBuf::from(file),
        None => tasks::build_uniprof()?,
    };
    let dir = env::temp_dir().join(format!("uniprof-session-{}", std::process::id()));
    fs::create_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    let mut session = Session { binary, dir, guest: None };
    let taken = session.take();
    session.end();
    let picture = screen::svg(&taken?, SIZE.0, SIZE.1);
    let path = step::root().join("docs/attach.svg");
    fs::write(&path, picture).map_err(|error| format!("{}: {error}", path.display()))
}

struct Session {
    binary: PathBuf,
    dir: PathBuf,
    guest: Option<Child>,
}

impl Session {
    /// All screens, one after the other.
    fn take(&mut self) -> Result<Vec<String>, String> {
        let mut run = self.command(&self.binary);
        run.args([
            "run",
            "bundled",
            "--name",
            "web",
            "--vcpus",
            "2",
            "--",
            "workload=kv",
            "uniprof.events=kv.*",
        ]);
        self.guest =
            Some(run.stdout(Stdio::null()).stderr(Stdio::null()).spawn().map_err(|error| error.to_string())?);
        self.until("a guest", |session| session.uniprof(&["ls"]).contains("web"))?;
        let (columns, rows) = (SIZE.0.to_string(), SIZE.1.to_string());
        let line = format!("exec {} attach web", self.binary.display());
        self.tmux(&["-u", "-f", "/dev/null", "new-session", "-d", "-x", &columns, "-y", &rows, &line]);
        self.tmux(&["set", "-g", "status", "off"]);
        self.until("the first picture", |session| session.tmux(&["capture-pane", "-p"]).contains(" LIVE "))?;
        // Long enough for lines of the last minute to have a shape.
        sleep(Duration::from_secs(20));
        let mut screens = Vec::new();
        for (keys, expected) in SCREENS {
            for key in *keys {
                self.tmux(&["send-keys", key]);
                sleep(Duration::from_millis(300));
            }
            self.until(expected, |session| session.tmux(&["capture-pane", "-p"]).contains(expected))?;
            sleep(Duration::from_secs(2));
            screens.push(self.tmux(&["capture-pane", "-p", "-e", "-N"]));
        }
        Ok(screens)
    }

    /// Nothing of it is left running.
    fn end(&mut self) {
        self.tmux(&["kill-server"]);
        self.uniprof(&["stop", "web"]);
        if let Some(mut guest) = self.guest.take() {
            let _ = guest.wait();
        }
        let _ = fs::remove_dir_all(&self.dir);
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env("XDG_RUNTIME_DIR", &self.dir).env("TERM", "xterm-256color").env("COLORTERM", "truecolor");
        command.env("LC_ALL", "C.UTF-8").env_remove("NO_COLOR").current_dir(&self.dir);
        command
    }

    fn output(&self, mut command: Command) -> String {
        let output = command.stderr(Stdio::null()).output();
        output.map_or(String::new(), |output| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn uniprof(&self, args: &[&str]) -> String {
        let mut command = self.command(&self.binary);
        command.args(args);
        self.output(command)
    }

    fn tmux(&self, args: &[&str]) -> String {
        let mut command = self.command(Path::new("tmux"));
        command.arg("-S").arg(self.dir.join("tmux")).args(args);
        self.output(command)
    }

    fn until(&self, what: &str, reached: impl Fn(&Self) -> bool) -> Result<(), String> {
        let limit = Instant::now() + LIMIT;
        while !reached(self) {
            if Instant::now() > limit {
                return Err(format!("no {what}; the screen:\n{}", self.tmux(&["capture-pane", "-p"])));
            }
            sleep(Duration::from_millis(200));
        }
        Ok(())
    }
}
