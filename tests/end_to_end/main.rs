//! The binary as a user runs it, and real guests in QEMU.

mod bad_input;
mod cost;
mod demo;
mod guests;
mod loss;
mod offline;
mod ratio;
mod recordings;
