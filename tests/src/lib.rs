//! End-to-end tests: real guests in QEMU and the binary as a user runs it
