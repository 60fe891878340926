#![forbid(unsafe_code)]
//! What the end-to-end tests stand on: the binary as a user runs it, in a world of its own, under time limits.
//!
//! A test opens a [`Scene`]: a temporary home, runtime directory and working directory. Every `uniprof` that it starts
//! belongs to that scene. A program that outlives its limit is killed and fails the test, and so does a QEMU that is
//! still there when the scene closes. Guests run one at a time ([`Scene::with_guest`]): two cores are all that a test
//! machine may have, and shares of CPU time are among the things measured.
//!
//! This crate holds no test itself; they are in `end_to_end/`.

mod binary;
mod browser;
pub mod c_library;
pub mod consumers;
pub mod frames;
pub mod kdump;
pub mod kernels;
pub mod process;
mod profile_document;
mod program;
pub mod records;
mod scene;
mod schema;
mod stopped;
mod terminal;
pub mod web;
pub mod words;

pub use binary::{example, uniprof};
pub use browser::Browser;
pub use profile_document::{Counts, ProfileDocument};
pub use program::{Ended, Running};
pub use scene::Scene;
pub use schema::assert_matches_its_schema;
pub use stopped::{Qmp, Stopped};
pub use terminal::Terminal;
