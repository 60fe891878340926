//! Dumps written by hand, byte by byte, without the layouts of the code that reads them.

mod bytes;
mod elf;
mod kdump;
mod kdump_writer;
mod raw;
mod xen;
