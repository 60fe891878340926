//! What `print` says of real programs' values, and of damaged ones.

mod agreement;
mod circles;
mod damaged;
mod gdb;
mod hostile;
mod oracle;
mod plain;
