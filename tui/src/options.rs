//! What a terminal can show.

use std::env;

use crate::state::Pane;

/// Which colours a terminal is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colours {
    /// None: bold, underlined and reversed text only, as [`NO_COLOR`](https://no-color.org) asks for.
    None,
    /// The 256 of xterm.
    Indexed,
    /// Any.
    Full,
}

/// How to draw, and where to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Draws with ASCII only.
    pub ascii: bool,
    /// Which colours are used.
    pub colours: Colours,
    /// The pane that is shown first.
    pub pane: Pane,
}

impl Options {
    /// As the environment tells: `NO_COLOR`, `COLORTERM` and `TERM`; `LC_ALL`, `LC_CTYPE` and `LANG`, of which the first that is set says whether
    /// the terminal reads UTF-8.
    #[must_use]
    pub fn from_environment() -> Self {
        Self::from_variables(|name| env::var(name).ok())
    }

    /// As [`Self::from_environment`], with variables from elsewhere.
    #[must_use]
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let term = set("TERM").unwrap_or_default();
        let full = set("COLORTERM").is_some_and(|value| matches!(value.as_str(), "truecolor" | "24bit"))
            || term.ends_with("-direct");
        let colours = match (set("NO_COLOR"), full) {
            (Some(_), _) => Colours::None,
            _ if matches!(term.as_str(), "dumb" | "vt100" | "vt220") => Colours::None,
            (None, true) => Colours::Full,
            (None, false) => Colours::Indexed,
        };
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set).unwrap_or_default();
        let locale = locale.to_ascii_lowercase();
        let ascii = !(locale.contains("utf-8") || locale.contains("utf8"));
        Self { ascii, colours, pane: Pane::Overview }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> (bool, Colours) {
        let find =
            |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        let options = Options::from_variables(find);
        (options.ascii, options.colours)
    }

    #[test]
    fn the_environment_tells_what_a_terminal_can() {
        assert_eq!(
            of(&[("LANG", "C.UTF-8"), ("TERM", "xterm-256color"), ("COLORTERM", "truecolor")]),
            (false, Colours::Full)
        );
        assert_eq!(of(&[("LANG", "de_DE.utf8"), ("TERM", "screen")]), (false, Colours::Indexed));
        assert_eq!(
            of(&[("LANG", "C.UTF-8"), ("LC_ALL", "C"), ("NO_COLOR", "1"), ("COLORTERM", "24bit")]),
            (true, Colours::None)
        );
        // An empty NO_COLOR asks for nothing.
        assert_eq!(
            of(&[("NO_COLOR", ""), ("TERM", "xterm"), ("LC_CTYPE", "C.UTF-8")]),
            (false, Colours::Indexed)
        );
        assert_eq!(of(&[("TERM", "dumb")]), (true, Colours::None));
    }
}
