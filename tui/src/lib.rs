//! A guest in a terminal: live, replayed from a recording, or as a core left it.
//!
//! ```text
//!   whoever watches the guest ──Answer──► State ──update──► State ──view──► terminal
//!             ▲                              ▲  │
//!             └───────────Request────────────┼──┘
//!                                        key, mouse
//! ```
//!
//! A [`Picture`](picture::Picture) is all that is known of a guest at one moment. It is made elsewhere, a few times a second, and never
//! changes afterwards; keys move a state over it. Nothing here knows a guest, a file or a symbol: what has to be done there is a
//! [`Request`], and what comes of it an [`Answer`].

#![forbid(unsafe_code)]

pub mod picture;
mod talk;

pub use talk::{Answer, Request, SaveAs};
