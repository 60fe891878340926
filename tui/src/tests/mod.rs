//! Panes as they are drawn, keys as they act, and anything at all in between.

mod any_input;
mod bounded;
mod drive;
mod guest;
mod keys;
mod panes;
mod reading;
