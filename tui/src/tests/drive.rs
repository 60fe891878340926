//! A terminal without a terminal: keys go in, the screen comes out.

use std::sync::Arc;

use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::Rect;
use unicode_width::UnicodeWidthStr;

use crate::options::{Colours, Options};
use crate::picture::Picture;
use crate::state::{Pane, State};
use crate::tables::prepare;
use crate::talk::{Answer, Request};
use crate::update::{Effect, Input, update};
use crate::view::{self, Look};

pub(super) struct Drive {
    pub(super) state: State,
    pub(super) asked: Vec<Request>,
    pub(super) quit: bool,
    pub(super) options: Options,
    pub(super) size: (u16, u16),
    pub(super) buffer: Buffer,
}

pub(super) const PLAIN: Options = Options { ascii: false, colours: Colours::None, pane: Pane::Overview };

impl Drive {
    pub(super) fn new(size: (u16, u16), options: Options) -> Self {
        let mut drive = Self {
            state: State::new(options.pane),
            asked: Vec::new(),
            quit: false,
            options,
            size,
            buffer: Buffer::empty(Rect::new(0, 0, size.0, size.1)),
        };
        drive.draw();
        drive
    }

    /// A terminal of 80x24 that shows a picture.
    pub(super) fn of(picture: Picture) -> Self {
        let mut drive = Self::new((80, 24), PLAIN);
        drive.picture(picture);
        drive
    }

    pub(super) fn picture(&mut self, picture: Picture) {
        self.input(Input::Answer(Answer::Picture(Arc::new(picture))));
    }

    /// What the loop does with an input, without its threads.
    pub(super) fn input(&mut self, input: Input) {
        let mut effects = update(&mut self.state, input);
        loop {
            let wants: Vec<_> = self.state.want().into_iter().collect();
            let before = self.state.shown.clone();
            let picture = match self.state.next.take() {
                Some(next) => next,
                None if self.state.is_working() => {
                    Arc::clone(&before.as_ref().expect("something is shown").picture)
                }
                None => break,
            };
            let prepared = prepare(picture, &wants, before.as_deref());
            effects.extend(update(&mut self.state, Input::Prepared(Arc::new(prepared))));
        }
        for effect in effects {
            match effect {
                Effect::Ask(request) => self.asked.push(request),
                Effect::Quit => self.quit = true,
                Effect::Suspend => {}
            }
        }
        self.draw();
    }

    pub(super) fn draw(&mut self) {
        self.buffer = Buffer::empty(Rect::new(0, 0, self.size.0, self.size.1));
        let screen = view::draw(&self.state, Look::new(&self.options), &mut self.buffer);
        self.state.drawn(screen);
    }

    pub(super) fn key(&mut self, code: KeyCode) {
        self.input(Input::Key(KeyEvent::new(code, KeyModifiers::NONE)));
    }

    /// Characters as keys; `\n` is Enter.
    pub(super) fn keys(&mut self, text: &str) {
        for c in text.chars() {
            self.key(if c == '\n' { KeyCode::Enter } else { KeyCode::Char(c) });
        }
    }

    pub(super) fn click(&mut self, x: u16, y: u16) {
        let kind = MouseEventKind::Down(MouseButton::Left);
        self.input(Input::Mouse(MouseEvent { kind, column: x, row: y, modifiers: KeyModifiers::NONE }));
    }

    /// Clicks on the first place where a text is.
    pub(super) fn click_on(&mut self, text: &str) {
        let (y, line) = self
            .lines()
            .into_iter()
            .enumerate()
            .find(|(_, line)| line.contains(text))
            .unwrap_or_else(|| panic!("{text} is not on the screen:\n{}", self.screen()));
        let x = line[..line.find(text).expect("found above")].chars().count();
        self.click(x as u16, y as u16);
    }

    pub(super) fn lines(&self) -> Vec<String> {
        let area = self.buffer.area;
        (0..area.height)
            .map(|y| {
                let mut line = String::new();
                let mut x = 0;
                while x < area.width {
                    let symbol = self.buffer[(x, y)].symbol();
                    line.push_str(symbol);
                    // What is two cells wide hides the one after it.
                    x += symbol.width().max(1) as u16;
                }
                line.trim_end().to_owned()
            })
            .collect()
    }

    pub(super) fn screen(&self) -> String {
        self.lines().join("\n") + "\n"
    }

    pub(super) fn shows(&self, text: &str) -> bool {
        self.screen().contains(text)
    }

    /// The first line that is drawn reversed from its first cell to its last.
    pub(super) fn selected_line(&self) -> Option<String> {
        let area = self.buffer.area;
        let reversed = |x, y| self.buffer[(x, y)].modifier.contains(ratatui::style::Modifier::REVERSED);
        let y = (2..area.height).find(|y| (2..area.width - 2).all(|x| reversed(x, *y)))?;
        Some(self.lines()[y as usize].clone())
    }
}
