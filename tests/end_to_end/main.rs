//! The binary as a user runs it, and real guests in QEMU.

mod bad_input;
mod by_hand;
mod capture;
mod cores;
mod cost;
mod demo;
mod diff;
mod dump_kinds;
mod exports;
mod gdb;
mod guests;
mod heap;
mod hooks;
mod html;
mod loss;
mod metrics;
mod offline;
mod print;
mod ratio;
mod recordings;
mod snapshots;
mod symbolize;
mod symbols;
mod trace;
mod unwinding;
mod verdicts;
