//! Finds and starts unikernels, reads their observation region, writes and reads recordings. Runs on the host.
//!
//! ```text
//!   qemu ── starts a guest, paused ──► guests ── its entry, for ls, stop and record
//!    │
//!    ▼
//!   attach ── waits for the region ──► memory ── ivshmem file, or guest RAM in a shared file
//!    │
//!    ▼
//!   session ── drain thread ──► channel ──► writer thread ──► recording
//!                (drain)                      (ledger)
//! ```
//!
//! - Guests are read, never written to, but for the slot in which [`control`] asks for a rate; [`memory`] opens every file
//!   read-only.
//! - Whatever comes from a guest or a file is copied once, then validated, and every size is bounded.
//! - Nothing outlives its owner: a dropped [`qemu::Guest`] is killed, reaped and its files removed; a killed owner takes QEMU
//!   with it.
//! - A live guest and a recording are the same stream of [`recording::Message`]s; [`ledger::Ledger`] accounts for either.
//!
//! **Not here:** symbols and stacks (`uniprof-symbolizer`), profiles and pictures (`uniprof-flamegraph`), the layout of
//! the region (`uniprof-wire`), Ctrl-C (the binary sets a [`cancel::Cancel`]). Guests that other tools have
//! started are found by [`discover`], and get an entry as those of [`guests`] have ([`vmm::Vmm::entry`]).
//!
//! A recording, written and read back; `examples/record.rs` makes one of a real guest:
//!
//! ```
//! use uniprof_collector::clock::HostTime;
//! use uniprof_collector::ledger::Ledger;
//! use uniprof_collector::recording::{Body, Item, Message, Reader, SessionInfo, Writer};
//!
//! let session = SessionInfo { guest: "web".into(), vcpus: 2, ..SessionInfo::default() };
//! let mut writer = Writer::new(Vec::new(), &session)?;
//! let line = Body::Console { continued: false, bytes: b"hello"[..].into() };
//! writer.write(&Message { at: HostTime::now(), session: 0, body: line })?;
//! let file = writer.finish()?;
//!
//! let mut reader = Reader::new(&file[..])?;
//! let mut ledger = Ledger::new();
//! while let Some(item) = reader.next()? {
//!     match item {
//!         Item::Session(session) => assert_eq!(session.guest, "web"),
//!         Item::Attachment(attachment) => println!("{}", attachment.name),
//!         Item::Message(message) => ledger.feed(&message, |ring, record| println!("{ring} {record:?}")),
//!         Item::Gap => ledger.gap(),
//!     }
//! }
//! // It has no end message, as after SIGKILL: that is said, not silently passed over.
//! assert_eq!(reader.damage().len(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod accounting;
pub mod allocator;
pub mod attach;
pub mod cancel;
pub mod capture;
pub mod clock;
pub mod console;
pub mod control;
pub mod cpu;
pub mod discover;
pub mod drain;
pub mod dump;
pub mod guests;
pub mod histograms;
pub mod ledger;
pub mod live;
pub mod live_blocks;
pub mod memory;
pub mod network;
pub mod paging;
pub mod ping;
pub mod port;
pub mod qemu;
pub mod qmp;
pub mod recording;
pub mod session;
pub mod tables;
pub mod vmm;

#[cfg(test)]
mod lab;
