//! The terminal: taken over, and given back as it was, whatever happens.

use std::io::{self, IsTerminal, Stdout, Write};
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::event::{
    DisableBracketedPaste, DisableMouseCapture, EnableBracketedPaste, EnableMouseCapture,
};
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::crossterm::{cursor, execute};

use crate::error::TuiError;

/// Whether the terminal is ours: a panic anywhere gives it back, once.
static TAKEN: AtomicBool = AtomicBool::new(false);
/// Whether some thread has panicked meanwhile: then the message is on the screen, and must stay readable.
static PANICKED: AtomicBool = AtomicBool::new(false);

/// A terminal that is taken over for as long as this lives.
pub(crate) struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
}

impl Screen {
    pub(crate) fn take() -> Result<Self, TuiError> {
        for (is_terminal, name) in
            [(io::stdin().is_terminal(), "standard input"), (io::stdout().is_terminal(), "standard output")]
        {
            if !is_terminal {
                return Err(TuiError::NotATerminal(name));
            }
        }
        hook_panics();
        enter()?;
        let terminal = Terminal::new(CrosstermBackend::new(io::stdout())).map_err(|source| {
            leave();
            TuiError::terminal("measured")(source)
        })?;
        Ok(Self { terminal })
    }

    pub(crate) fn draw(&mut self, render: impl FnOnce(&mut ratatui::buffer::Buffer)) -> Result<(), TuiError> {
        if PANICKED.load(Ordering::Acquire) {
            return Ok(());
        }
        let drawn = self.terminal.draw(|frame| render(frame.buffer_mut()));
        drawn.map(|_| ()).map_err(TuiError::terminal("drawn on"))
    }

    /// Gives the terminal back, stops this process as Ctrl-Z does, and takes the terminal again when it goes on.
    pub(crate) fn suspend(&mut self) -> Result<(), TuiError> {
        leave();
        let stopped = signal_hook::low_level::emulate_default_handler(signal_hook::consts::SIGTSTP);
        stopped.map_err(TuiError::terminal("left"))?;
        enter()?;
        self.terminal.clear().map_err(TuiError::terminal("cleared"))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        leave();
    }
}

/// Whether some thread has panicked since the terminal was taken.
pub(crate) fn panicked() -> bool {
    PANICKED.load(Ordering::Acquire)
}

fn enter() -> Result<(), TuiError> {
    enable_raw_mode().map_err(TuiError::terminal("made raw"))?;
    TAKEN.store(true, Ordering::Release);
    let entered =
        execute!(io::stdout(), EnterAlternateScreen, EnableMouseCapture, EnableBracketedPaste, cursor::Hide);
    entered.map_err(|source| {
        leave();
        TuiError::terminal("taken over")(source)
    })
}

/// Best effort: where the terminal is gone there is nothing to give back.
fn leave() {
    if !TAKEN.swap(false, Ordering::AcqRel) {
        return;
    }
    let mut out = io::stdout();
    let _ = execute!(out, cursor::Show, DisableBracketedPaste, DisableMouseCapture, LeaveAlternateScreen);
    let _ = out.flush();
    let _ = disable_raw_mode();
}

/// Gives the terminal back before a panic is told, so that it can be read.
fn hook_panics() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if TAKEN.load(Ordering::Acquire) {
            PANICKED.store(true, Ordering::Release);
            leave();
        }
        before(info);
    }));
}
