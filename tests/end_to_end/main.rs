//! The binary as a user runs it, and real guests in QEMU.

mod offline;
