//! Colours and characters, for terminals of every kind.

use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::border;

use crate::options::{Colours, Options};

/// What a piece of the screen says by its style.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Plain,
    /// Less important than what is around it.
    Dim,
    /// Names of things.
    Title,
    /// The head of a table.
    Head,
    Good,
    Warning,
    Bad,
    /// Keys, and what can be chosen.
    Key,
    /// What a search has found.
    Match,
    /// What is chosen.
    Selected,
    /// A bar's part that threads ran in, and that interrupts took.
    Busy,
    Irq,
}

/// How a terminal is drawn on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    pub(crate) ascii: bool,
    colours: Colours,
}

const ASCII_BORDER: border::Set<'static> = border::Set {
    top_left: "+",
    top_right: "+",
    bottom_left: "+",
    bottom_right: "+",
    vertical_left: "|",
    vertical_right: "|",
    horizontal_top: "-",
    horizontal_bottom: "-",
};

/// Hues of the flame graph in degrees, as in the HTML viewer: one after the other far apart.
const HUES: [f64; 12] = [55., 245., 150., 310., 85., 200., 20., 275., 120., 340., 225., 175.];

impl Look {
    pub(crate) fn new(options: &Options) -> Self {
        Self { ascii: options.ascii, colours: options.colours }
    }

    pub(crate) fn border(&self) -> border::Set<'static> {
        if self.ascii { ASCII_BORDER } else { border::PLAIN }
    }

    /// Eighths of a cell from the bottom, or from the left.
    pub(crate) fn spark(&self, eighths: usize) -> char {
        let set = if self.ascii {
            [' ', '.', '.', ':', ':', '=', '+', '*', '#']
        } else {
            [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█']
        };
        set[eighths.min(8)]
    }

    pub(crate) fn bar(&self, eighths: usize) -> char {
        let set = if self.ascii {
            [' ', ' ', ' ', ' ', '|', '|', '|', '|', '|']
        } else {
            [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉', '█']
        };
        set[eighths.min(8)]
    }

    /// Between the colours of a dark and of a light terminal's paper: these are read on both.
    pub(crate) fn style(&self, role: Role) -> Style {
        let style = Style::new();
        let coloured = self.colours != Colours::None;
        let in_colour = |index: u8| if coloured { style.fg(Color::Indexed(index)) } else { style };
        match role {
            Role::Plain => style,
            Role::Dim => in_colour(244),
            Role::Title => style.add_modifier(Modifier::BOLD),
            Role::Head => style.add_modifier(Modifier::BOLD | Modifier::UNDERLINED),
            Role::Good | Role::Busy => in_colour(28),
            Role::Warning | Role::Irq => in_colour(130).add_modifier(Modifier::BOLD),
            Role::Bad => in_colour(160).add_modifier(Modifier::BOLD),
            Role::Key => in_colour(32).add_modifier(Modifier::BOLD),
            Role::Match if coloured => style.bg(Color::Indexed(162)).fg(Color::Indexed(231)),
            Role::Match => style.add_modifier(Modifier::BOLD | Modifier::UNDERLINED),
            // In one colour: a reversed line in several is a patchwork.
            Role::Selected => style.fg(Color::Reset).bg(Color::Reset).add_modifier(Modifier::REVERSED),
        }
    }

    /// A banner over the whole width.
    pub(crate) fn banner(&self, bad: bool) -> Style {
        let style = Style::new().add_modifier(Modifier::BOLD);
        match (self.colours, bad) {
            (Colours::None, _) => style.add_modifier(Modifier::REVERSED),
            (_, true) => style.bg(Color::Indexed(124)).fg(Color::Indexed(231)),
            (_, false) => style.bg(Color::Indexed(24)).fg(Color::Indexed(231)),
        }
    }

    /// A module's name where it is written on the paper.
    pub(crate) fn module(&self, place: Option<usize>) -> Style {
        match place {
            Some(place) if self.colours != Colours::None => {
                Style::new().fg(self.colour(oklch(0.6, 0.12, HUES[place % HUES.len()])))
            }
            _ => self.style(Role::Plain),
        }
    }

    /// A frame of the flame graph: of a module, by its place among them; paler where there are more modules than hues, and above what is
    /// zoomed; darker every other one.
    pub(crate) fn frame(&self, place: Option<usize>, name: &str, pale: bool, odd: bool) -> Style {
        if self.colours == Colours::None {
            return Style::new();
        }
        let hash =
            name.bytes().take(256).fold(0u32, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
        let lift = (f64::from((hash >> 3) % 5) - 2.0) * 0.01 - if odd { 0.06 } else { 0.0 };
        let (chroma, hue) = match place {
            Some(place) => (if place < HUES.len() { 0.1 } else { 0.05 }, HUES[place % HUES.len()]),
            None => (0.008, 255.0),
        };
        let (lightness, chroma) = if pale { (0.87, chroma * 0.3) } else { (0.81 + lift, chroma) };
        Style::new().bg(self.colour(oklch(lightness, chroma, hue))).fg(self.colour([0x1c, 0x21, 0x27]))
    }

    /// A frame that a search has found.
    pub(crate) fn matched_frame(&self) -> Style {
        match self.colours {
            Colours::None => Style::new().add_modifier(Modifier::BOLD | Modifier::UNDERLINED),
            _ => Style::new().bg(self.colour(oklch(0.56, 0.21, 350.0))).fg(self.colour([255, 255, 255])),
        }
    }

    /// Whether frames need marks between them, since colours don't tell them apart.
    pub(crate) fn marks_frames(&self) -> bool {
        self.colours == Colours::None
    }

    fn colour(&self, [red, green, blue]: [u8; 3]) -> Color {
        match self.colours {
            Colours::Full => Color::Rgb(red, green, blue),
            _ => Color::Indexed(nearest([red, green, blue])),
        }
    }
}

/// The nearest of xterm's colours: of its cube of six levels, or of its greys.
fn nearest(colour: [u8; 3]) -> u8 {
    const LEVELS: [u8; 6] = [0, 95, 135, 175, 215, 255];
    let distance = |other: [u8; 3]| -> u32 {
        colour.iter().zip(other).map(|(a, b)| u32::from(a.abs_diff(b)).pow(2)).sum()
    };
    let level = |value: u8| (0..6).min_by_key(|at| LEVELS[*at].abs_diff(value)).unwrap_or(0);
    let [red, green, blue] = colour.map(level);
    let in_cube = [LEVELS[red], LEVELS[green], LEVELS[blue]];
    let sum: u32 = colour.iter().map(|value| u32::from(*value)).sum();
    let grey = ((sum / 3).saturating_sub(3) / 10).min(23) as u8;
    if distance([8 + grey * 10; 3]) < distance(in_cube) {
        232 + grey
    } else {
        (16 + 36 * red + 6 * green + blue) as u8
    }
}

/// A colour by lightness, chroma and hue in degrees (B. Ottosson, "A perceptual color space for image processing", 2020).
fn oklch(lightness: f64, chroma: f64, hue: f64) -> [u8; 3] {
    let (a, b) = (chroma * hue.to_radians().cos(), chroma * hue.to_radians().sin());
    let l = (lightness + 0.396_337_777_4 * a + 0.215_803_757_3 * b).powi(3);
    let m = (lightness - 0.105_561_345_8 * a - 0.063_854_172_8 * b).powi(3);
    let s = (lightness - 0.089_484_177_5 * a - 1.291_485_548 * b).powi(3);
    let linear = [
        4.076_741_662_1 * l - 3.307_711_591_3 * m + 0.230_969_929_2 * s,
        -1.268_438_004_6 * l + 2.609_757_401_1 * m - 0.341_319_396_5 * s,
        -0.004_196_086_3 * l - 0.703_418_614_7 * m + 1.707_614_701 * s,
    ];
    linear.map(|value| {
        let value = value.clamp(0.0, 1.0);
        let gamma = if value <= 0.003_130_8 { 12.92 * value } else { 1.055 * value.powf(1.0 / 2.4) - 0.055 };
        (gamma * 255.0).round() as u8
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_those_of_the_html_viewer() {
        // oklch(0.76, 0.19, 350) in the viewer's own arithmetic.
        assert_eq!(oklch(1.0, 0.0, 0.0), [255, 255, 255]);
        assert_eq!(oklch(0.0, 0.0, 0.0), [0, 0, 0]);
        // CSS's own example of a colour in OKLCH: red.
        assert_eq!(oklch(0.627_955, 0.257_683, 29.233_9), [255, 0, 0]);
    }

    #[test]
    fn the_nearest_of_256_colours_is_near() {
        assert_eq!(nearest([255, 0, 0]), 196);
        assert_eq!(nearest([128, 128, 128]), 244);
        assert_eq!(nearest([0, 0, 0]), 16);
        assert_eq!(nearest([255, 255, 255]), 231);
    }
}
