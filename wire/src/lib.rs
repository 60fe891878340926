#![no_std]
//! What guest and host agree on.
pub mod address;
