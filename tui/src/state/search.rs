//! What is looked for in all panes.

/// What is looked for. Letters match in either case as long as none of them is a capital.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Search {
    text: String,
    exact: bool,
}

impl Search {
    pub(crate) fn new(text: &str) -> Self {
        Self { text: text.to_owned(), exact: text.chars().any(char::is_uppercase) }
    }

    pub(crate) fn is_on(&self) -> bool {
        !self.text.is_empty()
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn matches(&self, name: &str) -> bool {
        self.is_on()
            && if self.exact { name.contains(&self.text) } else { name.to_lowercase().contains(&self.text) }
    }
}
