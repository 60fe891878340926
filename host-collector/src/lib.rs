//! Finds and starts unikernels, reads their observation region, writes and reads recordings.
pub mod cancel;
pub mod clock;
pub mod console;
pub mod memory;
pub mod qmp;
