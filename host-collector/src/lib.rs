//! Finds and starts unikernels, reads their observation region, writes and reads recordings.
pub mod accounting;
pub mod attach;
pub mod cancel;
pub mod clock;
pub mod console;
pub mod drain;
pub mod guests;
pub mod ledger;
pub mod memory;
pub mod qemu;
pub mod qmp;
pub mod recording;
pub mod session;
pub mod tables;
