//! Finds and starts unikernels, reads their observation region, writes and reads recordings.
pub mod accounting;
pub mod cancel;
pub mod clock;
pub mod console;
pub mod guests;
pub mod memory;
pub mod qemu;
pub mod qmp;
pub mod recording;
